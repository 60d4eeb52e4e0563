#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "io/descriptor.h"

namespace micrec {

/// Somebody met an item; keys as the data set has them.
struct ObservedEvent {
  std::string domain;
  std::string user;
  std::string item;

  bool operator==(const ObservedEvent&) const = default;
};

/// An item that came after the data set was made.
struct NewItem {
  std::string domain;
  std::string item;
  std::map<std::string, std::vector<float>> features = {};  // by modality
  std::string title = {};                                   // or empty

  bool operator==(const NewItem&) const = default;
};

/// What somebody told at once.
struct Observation {
  std::vector<ObservedEvent> events = {};
  std::vector<NewItem> items = {};

  bool is_empty() const { return events.empty() && items.empty(); }
  bool operator==(const Observation&) const = default;
};

/// The events and new items that a server was told of, in a file that is only ever appended to.
///
/// Format   text, a line a commit: 32 hexadecimal digits of the XXH3-128 of the rest of the line, a
///          space, JSON. The first line's is {"format": "micrec observed events", "format_version":
///          1}, the others' {"events": [["DOMAIN", "USER", "ITEM"], ...]} and, where there are new
///          items, "items": [{"domain": "DOMAIN", "item": "ITEM", "features": {"MODALITY": [numbers
///          that are float32]}, "title": "TITLE"}, ...], the last two where they are known. An
///          event or item may come twice; it counts once, and the first holds.
///
/// A commit is on the disk before append() returns, and before the next one begins. So a crash can
/// damage nothing but the last line, which nobody was told is kept: it is cut off by the next
/// start. Several threads may append at once; those who wait for the disk share the next commit.
class ObservedLog {
 public:
  using Use = std::function<void(const Observation& commit)>;

  /// Opens the file or makes it, and gives `use` every commit, in order. Says on `report` what was
  /// read, and what was cut off.
  ///
  /// Errors   Error(io) where it cannot be read and written or another process has it open,
  ///          Error(data) where it is of another format or damaged before its last line.
  ObservedLog(const std::string& path, const Use& use, std::ostream& report);

  /// Errors   Error(io) where the disk does not take them: then none of them is kept, and what was
  ///          kept before stays.
  void append(const Observation& observation);

  std::int64_t bytes() const;  ///< committed

 private:
  struct Commit {
    Observation observation;
    bool is_done = false;
    std::optional<std::string> failure;
  };

  void read(const Use& use, std::ostream& report);
  std::optional<std::string> write(const std::string& line);
  bool cut();

  std::string path_;
  Descriptor file_;
  std::int64_t bytes_ = 0;  // of whole commits; changed by who writes
  bool is_torn_ = false;    // something follows them

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_writing_ = false;
  std::shared_ptr<Commit> next_;  // that threads wait for and nobody writes yet; or null
};

}  // namespace micrec
