#include "serve/http/http_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace micrec {
namespace {

constexpr std::int64_t kMostHeadBytes = 64 << 10;
constexpr std::size_t kBufferBytes = 16 << 10;
constexpr std::size_t kMostUnsentBytes = 1 << 20;
constexpr std::int64_t kMostLingeringBytes = 4 << 20;

std::chrono::steady_clock::duration seconds_long(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

int milliseconds_until(std::chrono::steady_clock::time_point end) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

/// Repeats what a signal interrupts.
int poll_until(pollfd* polled, nfds_t count, std::chrono::steady_clock::time_point end) {
  while (true) {
    const int ready = poll(polled, count, milliseconds_until(end));
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

}  // namespace

HttpStream::HttpStream(int socket, double timeout_seconds)
    : socket_(socket), timeout_(seconds_long(timeout_seconds)) {
  begin_request();
}

bool HttpStream::wait(int stop, double seconds) {
  if (next_ < buffer_.size()) return true;
  pollfd polled[] = {{socket_, POLLIN, 0}, {stop, POLLIN, 0}};
  if (poll_until(polled, 2, Clock::now() + seconds_long(seconds)) <= 0) return false;
  if ((polled[1].revents & POLLIN) != 0) return false;
  begin_request();
  return fill();
}

void HttpStream::begin_request() {
  deadline_ = Clock::now() + timeout_;
  is_in_head_ = true;
  taken_ = 0;
}

void HttpStream::begin_body() {
  is_in_head_ = false;
  taken_ = 0;
}

bool HttpStream::skip(std::int64_t bytes) {
  char piece[4096];
  while (bytes > 0) {
    const auto size = static_cast<std::size_t>(std::min<std::int64_t>(bytes, sizeof piece));
    const ssize_t got = read(piece, size);
    if (got <= 0) return false;
    bytes -= got;
  }
  return true;
}

bool HttpStream::flush() {
  deadline_ = Clock::now() + timeout_;
  std::size_t sent = 0;
  while (sent < out_.size()) {
    if (!wait_for(POLLOUT)) break;
    const ssize_t some =
        send(socket_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (some < 0 && errno != EAGAIN && errno != EINTR) break;
    if (some > 0) sent += static_cast<std::size_t>(some);
  }
  const bool all = sent == out_.size();
  out_.clear();
  return all;
}

void HttpStream::close_gently() {
  if (shutdown(socket_, SHUT_WR) != 0) return;
  deadline_ = Clock::now() + std::min<Clock::duration>(timeout_, std::chrono::seconds(1));
  is_in_head_ = false;
  skip(kMostLingeringBytes);
}

bool HttpStream::wait_for(short events) const {
  pollfd polled = {socket_, events, 0};
  return poll_until(&polled, 1, deadline_) > 0;
}

bool HttpStream::fill() {
  buffer_.resize(kBufferBytes);
  next_ = 0;
  while (true) {
    const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || (errno == EAGAIN && wait_for(POLLIN)))) continue;
    buffer_.resize(std::max<ssize_t>(got, 0));
    return got > 0;
  }
}

bool HttpStream::is_readable() const { return next_ < buffer_.size() || wait_for(POLLIN); }

bool HttpStream::is_writable() const { return wait_for(POLLOUT); }

ssize_t HttpStream::read(char* out, std::size_t size) {
  if (!out_.empty() && !flush()) return -1;
  if (is_in_head_ && taken_ >= kMostHeadBytes) return -1;
  if (next_ == buffer_.size() && !fill()) return buffer_.empty() ? 0 : -1;
  const std::size_t some = std::min(size, buffer_.size() - next_);
  std::copy_n(buffer_.data() + next_, some, out);
  next_ += some;
  taken_ += static_cast<std::int64_t>(some);
  return static_cast<ssize_t>(some);
}

ssize_t HttpStream::write(const char* bytes, std::size_t size) {
  out_.append(bytes, size);
  if (out_.size() > kMostUnsentBytes && !flush()) return -1;
  return static_cast<ssize_t>(size);
}

// The page and the API need no addresses, and to ask for them costs system calls.
void HttpStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

void HttpStream::get_local_ip_and_port(std::string& ip, int& port) const {
  get_remote_ip_and_port(ip, port);
}

}  // namespace micrec
