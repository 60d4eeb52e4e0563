#pragma once

#include <httplib.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace micrec {

/// One connection, as httplib reads and writes it, with limits that httplib does not have: on the
/// time that a whole request may take to come in and its answer to leave, and on the length of its
/// headers. What is written leaves in one piece, when it is flushed or before the next read.
class HttpStream final : public httplib::Stream {
 public:
  /// The descriptor stays the caller's.
  HttpStream(int socket, double timeout_seconds);

  /// Waits for the first byte of a request. False where none comes in so long, the other side has
  /// closed, or `stop` becomes readable first.
  bool wait(int stop, double seconds);
  /// The time and the headers of a request begin.
  void begin_request();
  /// Its headers have been read.
  void begin_body();
  /// Bytes read since.
  std::int64_t body_read() const { return taken_; }
  /// Reads and forgets; false where they do not come.
  bool skip(std::int64_t bytes);
  /// Sends what was written; false where it does not leave.
  bool flush();
  /// Says that nothing more is sent and reads for a moment what is on its way, so that the other
  /// side gets to read the answer.
  void close_gently();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* out, std::size_t size) override;
  ssize_t write(const char* bytes, std::size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool fill();
  bool wait_for(short events) const;

  int socket_;
  Clock::duration timeout_;
  Clock::time_point deadline_;
  bool is_in_head_ = true;
  std::int64_t taken_ = 0;    // bytes of the head, then of the body
  std::vector<char> buffer_;  // read from the socket, not taken yet from next_ on
  std::size_t next_ = 0;
  std::string out_;
};

}  // namespace micrec
