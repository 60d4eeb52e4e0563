#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace micrec {

/// "'halo.propagation' (collective 12) of 'grid.rows'"; no group, or "", is the whole run.
std::string place_of(const char* collective, std::uint64_t number, const char* group);

/// Where one rank is, as other processes of its machine see it without its help.
struct RankProgress {
  enum class State : int {
    starting,  ///< has no line yet
    outside,   ///< of any collective: it computes, reads or writes
    waiting,   ///< in a collective
    failing,   ///< has met an error and is about to end
    ended,     ///< needs nobody any more
  };

  int rank = -1;  ///< in the whole run
  pid_t process = 0;
  State state = State::starting;
  std::string collective;     ///< the latest it entered; empty where there was none
  std::uint64_t number = 0;   ///< of that collective
  std::string group;          ///< of ranks, that it is in; empty: the whole run
  std::uint64_t entered = 0;  ///< collectives so far, of all groups
  double seconds = 0;         ///< since it is in this state

  /// "has waited for 31 s in 'halo.propagation' (collective 12)", for a sentence about a rank.
  std::string describe() const;
  /// "in 'halo.propagation' (collective 12)" or "in no collective, 31 s after ...".
  std::string where() const;
};

/// The failure that ends a run.
struct Verdict {
  int rank = -1;  ///< that met it
  int exit_code = 1;
  std::string message;  ///< at most 1 KiB of it is kept
  double seconds = 0;   ///< since it was given
};

/// A few pages of shared memory of the ranks of one machine, one line each: what a rank is doing,
/// readable while it is stopped, stuck or dead.
///
/// Each line is written by its rank alone and read by anybody, in other processes too, without
/// locks between them. Cost     about 50 ns a collective.
class ProgressBoard {
 public:
  static constexpr int kMostLines = 4096;

  /// Makes the memory under a name of this process in /dev/shm.
  /// Errors   Error(Cause::io) where there is no room.
  static std::unique_ptr<ProgressBoard> create(int lines);
  /// Opens what another process of this machine has made. Errors: Error(Cause::io).
  static std::unique_ptr<ProgressBoard> open(const std::string& name);
  /// Takes over an open descriptor of one.
  static std::unique_ptr<ProgressBoard> adopt(int descriptor);

  ~ProgressBoard();
  ProgressBoard(const ProgressBoard&) = delete;
  ProgressBoard& operator=(const ProgressBoard&) = delete;

  const std::string& name() const { return name_; }
  int descriptor() const { return descriptor_; }
  int lines() const;
  /// Removes the name, once all have opened it; the memory goes with its last user.
  void remove_name();

  /// Makes a line this process's own; what follows writes to it.
  void take_line(int line, int rank);
  int own_line() const { return own_line_; }
  /// `group` is what split() called the ranks' group; null: the whole run.
  void enter(const char* collective, std::uint64_t number, const char* group = nullptr);
  void leave();
  void set_state(RankProgress::State state);

  /// Counts a collective that goes on beside what the rank does. Returns its place among all.
  std::uint64_t begin(const char* collective, std::uint64_t number, const char* group);
  /// From any thread: shows a rank that is in no other collective as waiting in one that it has
  /// begun so. `who` asks, and takes it back alone. What this says of a rank that waits is for
  /// find_suspect: it has entered no more than that one, however far it has run ahead.
  void wait_beside(const void* who, const char* collective, std::uint64_t number, const char* group,
                   std::uint64_t begun);
  void leave_beside(const void* who);

  RankProgress read(int line) const;
  std::vector<RankProgress> read_all() const;

  /// Makes `verdict` the one that ends the run, unless there is one already. Returns whether it is
  /// now.
  bool give_verdict(const Verdict& verdict);
  std::optional<Verdict> verdict() const;

 private:
  struct Line;
  struct Memory;

  ProgressBoard(std::string name, int descriptor);
  struct Latest {
    const char* collective = nullptr;
    std::uint64_t number = 0;
    const char* group = nullptr;
  };
  void write(RankProgress::State state, const Latest* collective);

  std::string name_;
  int descriptor_;
  Memory* memory_ = nullptr;
  std::size_t bytes_ = 0;
  int own_line_ = -1;
  std::mutex mutex_;           // of what this process writes to its line, and of the next three
  std::uint64_t entered_ = 0;  // or begun, collectives so far
  Latest latest_;              // of them
  const void* waits_beside_ = nullptr;  // who shows the line as waiting beside the rank's thread
};

/// A rank that the others are waiting for.
struct Suspect {
  int rank = -1;
  std::string sentence;  ///< "rank 2 of 4 has not reached ..., where the others wait: ..."
};

/// Who keeps the waiting ranks of this machine waiting, from their lines: a rank whose process is
/// gone or stopped, else one that is in no collective, the longest first, else the one that has
/// entered the fewest. Nothing where no rank is behind. `ranks` is the size of the run.
std::optional<Suspect> find_suspect(const ProgressBoard& board, int ranks);

}  // namespace micrec
