#include "cluster/health/verdict_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>
#include <type_traits>

#include "base/text.h"
#include "base/timer.h"

namespace micrec {
namespace {

struct Message {
  std::uint64_t token;
  std::int32_t rank;  // -1: only shows the token
  std::int32_t exit_code;
  std::array<char, 1024> text;
};
static_assert(std::is_trivially_copyable_v<Message>);

void send_message(int socket, const Message& message) {
  // It fits into the buffer of a connection that has carried next to nothing.
  const ssize_t sent = ::send(socket, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
  static_cast<void>(sent);  // a peer that is gone has ended its ranks already
}

std::string numeric(const sockaddr* address, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  if (getnameinfo(address, length, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return "";
  }
  return host.data();
}

}  // namespace

std::string VerdictAddress::to_text() const {
  return text(token, " ", port, " ", join(addresses, " "));
}

VerdictAddress VerdictAddress::from_text(const std::string& text) {
  const std::vector<std::string> parts = split(text, ' ');
  VerdictAddress address;
  if (parts.size() < 2) return address;
  address.token = static_cast<std::uint64_t>(parse_integer(parts[0]).value_or(0));
  address.port = static_cast<std::uint16_t>(parse_integer(parts[1]).value_or(0));
  address.addresses.assign(parts.begin() + 2, parts.end());
  return address;
}

int listen_for_verdicts(VerdictAddress& address) {
  std::random_device random;
  // Positive, so that it is a number to parse_integer.
  address.token = (std::uint64_t{random()} << 31 | random()) & 0x7fffffffffffffff;
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return -1;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t length = sizeof any;
  if (bind(socket, reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 ||
      listen(socket, SOMAXCONN) != 0 ||
      getsockname(socket, reinterpret_cast<sockaddr*>(&any), &length) != 0) {
    ::close(socket);
    return -1;
  }
  address.port = ntohs(any.sin_port);
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) == 0) {
    std::vector<std::string> loopback;
    for (const ifaddrs* one = interfaces; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
      const std::string name = numeric(one->ifa_addr, sizeof(sockaddr_in));
      if (name.empty()) continue;
      ((one->ifa_flags & IFF_LOOPBACK) != 0 ? loopback : address.addresses).push_back(name);
    }
    freeifaddrs(interfaces);
    // Last: elsewhere it is another machine's own, which does not know the token.
    address.addresses.insert(address.addresses.end(), loopback.begin(), loopback.end());
    if (address.addresses.size() > VerdictAddress::kMostAddresses) {
      address.addresses.resize(VerdictAddress::kMostAddresses);
    }
  }
  return socket;
}

int connect_for_verdicts(const VerdictAddress& address, double seconds) {
  if (address.port == 0) return -1;
  const Timer timer;
  for (const std::string& name : address.addresses) {
    const double left = seconds - timer.seconds();
    if (left <= 0) break;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    if (inet_pton(AF_INET, name.c_str(), &to.sin_addr) != 1) continue;
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0) return -1;
    int error = 0;
    if (connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      error = errno;
      if (error == EINPROGRESS) {
        pollfd wait = {socket, POLLOUT, 0};
        socklen_t length = sizeof error;
        error = ETIMEDOUT;
        const int ready = poll(&wait, 1, static_cast<int>(std::min(left, 1.0) * 1000));
        if (ready == 1) getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
    if (error == 0) {
      send_message(socket, {address.token, -1, 0, {}});
      return socket;
    }
    ::close(socket);
  }
  return -1;
}

VerdictLink::VerdictLink(int socket, bool is_hub, std::uint64_t token) : token_(token) {
  if (is_hub) {
    listening_ = socket;
  } else {
    peers_.push_back({socket, {}, true});
  }
}

VerdictLink::~VerdictLink() {
  if (listening_ >= 0) ::close(listening_);
  for (const Peer& peer : peers_) ::close(peer.socket);
}

void VerdictLink::accept_peers() {
  while (listening_ >= 0) {
    const int socket = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) return;
    peers_.push_back({socket, {}, false});
  }
}

void VerdictLink::receive(Peer& peer, ProgressBoard& board) {
  while (peer.socket >= 0) {
    std::array<char, sizeof(Message)> buffer;
    const ssize_t count =
        ::recv(peer.socket, buffer.data(), sizeof(Message) - peer.received.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (count > 0) peer.received.insert(peer.received.end(), buffer.data(), buffer.data() + count);
    Message message{};
    const bool is_whole = peer.received.size() == sizeof message;
    if (is_whole) {
      std::memcpy(&message, peer.received.data(), sizeof message);
      peer.received.clear();
    }
    if (count <= 0 || (is_whole && message.token != token_)) {
      ::close(peer.socket);
      peer.socket = -1;
      return;
    }
    if (!is_whole) continue;
    peer.is_known = true;
    if (message.rank < 0) continue;
    message.text.back() = '\0';
    board.give_verdict({message.rank, message.exit_code, message.text.data(), 0});
  }
}

void VerdictLink::send_to_all(const Verdict& verdict) {
  Message message{token_, verdict.rank, verdict.exit_code, {}};
  std::memcpy(message.text.data(), verdict.message.data(),
              std::min(verdict.message.size(), message.text.size() - 1));
  for (const Peer& peer : peers_) {
    if (peer.is_known) send_message(peer.socket, message);
  }
}

void VerdictLink::exchange(ProgressBoard& board) {
  accept_peers();
  for (Peer& peer : peers_) receive(peer, board);
  std::erase_if(peers_, [](const Peer& peer) { return peer.socket < 0; });
  if (has_sent_) return;
  // A verdict that came from a peer goes back to it too, where it is the first already.
  if (const std::optional<Verdict> verdict = board.verdict()) {
    send_to_all(*verdict);
    has_sent_ = true;
  }
}

}  // namespace micrec
