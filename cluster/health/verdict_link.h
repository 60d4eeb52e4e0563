#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/health/progress_board.h"

namespace micrec {

/// Where the watchdogs of a run find each other, as it travels to all ranks.
struct VerdictAddress {
  static constexpr std::size_t kMostAddresses = 16;

  std::uint64_t token = 0;  ///< known to this run alone
  std::uint16_t port = 0;   ///< 0: there is nothing to connect to
  std::vector<std::string> addresses;

  std::string to_text() const;
  static VerdictAddress from_text(const std::string& text);
};

/// TCP between the watchdogs of the machines of a run, a star around that of rank 0: it carries
/// nothing but the verdict, so that a failure on one machine ends the ranks of all, also under a
/// launcher that would only ask them to end. A run can do without.
///
/// Ranks    local; one a machine. Errors: none thrown; a connection that fails is left out.
class VerdictLink {
 public:
  /// Takes over the socket of listen_for_verdicts (is_hub) or of connect_for_verdicts.
  VerdictLink(int socket, bool is_hub, std::uint64_t token);
  ~VerdictLink();
  VerdictLink(const VerdictLink&) = delete;
  VerdictLink& operator=(const VerdictLink&) = delete;

  /// Gives the board the verdict of another machine, and other machines the board's, once. Never
  /// waits.
  void exchange(ProgressBoard& board);

 private:
  struct Peer {
    int socket;
    std::vector<char> received;
    bool is_known;  ///< has shown the token
  };

  void accept_peers();
  void receive(Peer& peer, ProgressBoard& board);
  void send_to_all(const Verdict& verdict);

  int listening_ = -1;
  std::uint64_t token_;
  std::vector<Peer> peers_;
  bool has_sent_ = false;
};

/// A socket that listens on all interfaces of this machine; -1, and port 0, where there is none.
int listen_for_verdicts(VerdictAddress& address);
/// A socket connected to it that has shown the token; -1 where no address answers in `seconds`.
int connect_for_verdicts(const VerdictAddress& address, double seconds);

}  // namespace micrec
