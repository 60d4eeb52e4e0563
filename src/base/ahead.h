#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/parallel.h"

namespace micrec {

/// Values that follow each other, each made on a thread beside while the one before it is used; or
/// when it is taken, where there is no such thread. That thread computes with as many threads
/// (compute_threads()) as the one that has started it by take().
template <typename Value>
class Ahead {
 public:
  enum class Where { on_a_thread, in_place };

  /// `make(n)` makes value n. It is never called twice at a time, and what it reads outlives this.
  Ahead(std::function<Value(std::int64_t)> make, Where where)
      : make_(std::move(make)), where_(where) {}

  /// Waits for what is being made.
  ~Ahead() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  /// Value n; `next_follows`: n + 1 begins to be made. Fastest when n rises by one.
  /// Errors   what make(n) has thrown.
  Value take(std::int64_t n, bool next_follows) {
    if (where_ == Where::in_place) return make_(n);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !asked_; });
    if (made_of_ != n) make(n, lock);
    made_of_ = -1;
    std::optional<Value> value = std::exchange(value_, std::nullopt);
    if (const std::exception_ptr failure = std::exchange(failure_, nullptr)) {
      std::rethrow_exception(failure);
    }
    if (next_follows) {
      asked_ = n + 1;
      if (!thread_.joinable()) {
        thread_ = std::thread([this, threads = compute_threads()] {
          const ComputeThreads as_there(threads);
          run();
        });
      }
      changed_.notify_all();
    }
    return *std::move(value);
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ends_ || asked_; });
      if (ends_) return;
      make(*asked_, lock);
      asked_.reset();
      changed_.notify_all();
    }
  }

  // Without the lock while it makes: nobody else does, as `asked_` is set or the thread idle.
  void make(std::int64_t n, std::unique_lock<std::mutex>& lock) {
    std::optional<Value> value;
    std::exception_ptr failure;
    lock.unlock();
    try {
      value.emplace(make_(n));
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    made_of_ = n;
    value_ = std::move(value);
    failure_ = failure;
  }

  std::function<Value(std::int64_t)> make_;
  Where where_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::optional<std::int64_t> asked_;  // what the thread makes
  std::int64_t made_of_ = -1;          // the number of the value or failure below
  std::optional<Value> value_;
  std::exception_ptr failure_;
};

}  // namespace micrec
