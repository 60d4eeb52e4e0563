#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace micrec {

/// One thread that runs the tasks given to it, one after the other. It starts with the first.
/// A task must not throw.
class BackgroundThread {
 public:
  BackgroundThread() = default;
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  /// Waits for the task that runs.
  ~BackgroundThread() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  /// Gives it a task; the one before must have ended.
  void start(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = std::move(task);
    }
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
    changed_.notify_all();
  }

  /// Whether nothing runs. What the task has written may be read then.
  bool idle() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return !task_;
  }

  /// Waits until nothing runs, at most for so long.
  bool wait_until_idle(double seconds) const {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                             [this] { return !task_; });
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return task_ || ending_; });
      if (!task_) return;
      lock.unlock();
      task_();  // start() does not touch it until it has ended
      lock.lock();
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::function<void()> task_;  // empty: idle
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace micrec
