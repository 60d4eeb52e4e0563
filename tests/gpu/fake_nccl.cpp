#include "fake_nccl.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <utility>

#include "base/text.h"
#include "cluster/rank_reduction.h"

namespace micrec {
namespace {

constexpr int kLooksToJoin = 5;
constexpr int kLooksToBegin = 3;
constexpr int kLooksToFinish = 17;
constexpr int kNoise = 0xcb;

template <typename T>
void reduce_all(Reduction reduction, std::byte* into, const std::byte* parts, std::int64_t count,
                int ranks) {
  const T* const from = reinterpret_cast<const T*>(parts);
  T* const to = reinterpret_cast<T*>(into);
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = reduction == Reduction::sum   ? reduced_over_ranks<T, 0>(from, count, ranks, i)
            : reduction == Reduction::min ? reduced_over_ranks<T, 1>(from, count, ranks, i)
                                          : reduced_over_ranks<T, 2>(from, count, ranks, i);
  }
}

void reduce_all(c10::ScalarType dtype, Reduction reduction, std::byte* into, const std::byte* parts,
                std::int64_t count, int ranks) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return reduce_all<float>(reduction, into, parts, count, ranks);
    case c10::ScalarType::Double:
      return reduce_all<double>(reduction, into, parts, count, ranks);
    case c10::ScalarType::Int:
      return reduce_all<std::int32_t>(reduction, into, parts, count, ranks);
    case c10::ScalarType::Long:
      return reduce_all<std::int64_t>(reduction, into, parts, count, ranks);
    default:
      ADD_FAILURE() << dtype;
  }
}

}  // namespace

class FakeNccl::Link final : public NcclLink {
 public:
  Link(FakeNccl& hub, int rank_in_run, c10::Device device)
      : hub_(hub), rank_in_run_(rank_in_run), device_(device) {}
  ~Link() override;

  c10::Device device() const override { return device_; }
  Versions versions() const override {
    count_call();
    return hub_.faults_.versions;
  }
  std::unique_ptr<NcclLink> another() const override { return hub_.link(rank_in_run_, device_); }
  NcclId make_id() override {
    count_call();
    return hub_.make_id();
  }

  void begin_join(const NcclId& id, int rank, int size) override {
    EXPECT_FALSE(joined_);
    EXPECT_GT(size, 1) << "a rank alone has no NCCL";
    count_call();
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    room_ = &hub_.rooms_[id];
    rank_ = rank;
    size_ = size;
    ++room_->joined;
    joined_ = true;
    looks_left_ = kLooksToJoin;
    joining_ = true;
  }

  Progress progress() override {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (!joined_ || gone_) refuse("ncclCommGetAsyncError");
    if (failed_) return {State::failed, "unhandled system error"};
    if (looks_left_ > 0) --looks_left_;
    if (looks_left_ > 0) return {State::in_progress, ""};
    if (joining_) {
      if (hub_.faults_.never_joins || room_->joined < size_) return {State::in_progress, ""};
      joining_ = false;
    }
    if (beginning_) {
      stream_.push_back(std::exchange(beginning_, nullptr));
      looks_to_finish_.push_back(kLooksToFinish);
      if (failed_) return {State::failed, "unhandled system error"};
    }
    return {};
  }

  void follow_current_stream() override {
    check_gpu();
    follows_ = true;
  }
  void keep(const at::Tensor& tensor) override { kept_.push_back(tensor); }

  void exchange(const std::vector<Message>& sends, const std::vector<Message>& receives) override {
    begin_work(&Seen::groups, "ncclSend in a group");
    std::vector<std::pair<int, std::shared_ptr<FakeNccl::Message>>> sent;
    for (const Message& send : sends) {
      check_message(send);
      auto message = std::make_shared<FakeNccl::Message>();
      message->from = send.data;
      message->bytes = send.bytes;
      sent.emplace_back(send.peer, std::move(message));
    }
    for (const Message& receive : receives) {
      check_message(receive);
      make_noise(receive.data, receive.bytes, sends);
    }
    give_nccl([this, posted = false, sends = std::move(sent), receives = receives]() mutable {
      if (!posted) {
        for (const auto& [peer, message] : sends) {
          room_->messages[{rank_, peer}].push_back(message);
          hub_.seen_[rank_in_run_].bytes_sent += message->bytes;
        }
        posted = true;
      }
      for (auto receive = receives.begin(); receive != receives.end();) {
        auto& messages = room_->messages[{receive->peer, rank_}];
        if (messages.empty()) {
          ++receive;
          continue;
        }
        FakeNccl::Message& message = *messages.front();
        EXPECT_EQ(message.bytes, receive->bytes) << "NCCL would hang or mix messages up";
        std::memcpy(receive->data, message.from,
                    static_cast<std::size_t>(std::min(message.bytes, receive->bytes)));
        message.taken = true;
        messages.pop_front();
        receive = receives.erase(receive);
      }
      if (!receives.empty()) return false;
      return std::all_of(sends.begin(), sends.end(),
                         [](const auto& send) { return send.second->taken; });
    });
  }

  void all_gather(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    begin_work(&Seen::all_gathers, "ncclAllGather");
    check_memory(to, bytes * size_);
    make_noise(to, bytes * size_, {{const_cast<std::byte*>(from), bytes, rank_}});
    together(text("all_gather of ", bytes), from, bytes, [=](const Together& all) {
      for (const auto& [rank, brought] : all.brought) {
        std::memcpy(to + rank * bytes, brought.data(), brought.size());
      }
    });
  }
  void all_reduce(c10::ScalarType dtype, Reduction reduction, std::byte* values,
                  std::int64_t count) override {
    EXPECT_TRUE(reduction == Reduction::sum || !c10::isFloatingType(dtype))
        << "NCCL would lose a NaN";
    begin_work(&Seen::all_reduces, "ncclAllReduce");
    const auto bytes = count * static_cast<std::int64_t>(c10::elementSize(dtype));
    together(text("all_reduce of ", count, " ", dtype, ", ", static_cast<int>(reduction)), values,
             bytes, [=, this](const Together& all) {
               reduce_all(dtype, reduction, values, in_other_order(all).data(), count, size_);
             });
  }
  void broadcast(std::byte* data, std::int64_t bytes, int root) override {
    begin_work(&Seen::broadcasts, "ncclBroadcast");
    together(text("broadcast of ", bytes, " by ", root), data, bytes, [=](const Together& all) {
      std::memcpy(data, all.brought.at(root).data(), static_cast<std::size_t>(bytes));
    });
  }

  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    check_memory(to, bytes);
    check_memory(from, bytes);
    give([=] {
      std::memcpy(to, from, static_cast<std::size_t>(bytes));
      return true;
    });
  }

  void reduce(c10::ScalarType dtype, Reduction reduction, std::byte* into, const std::byte* parts,
              std::int64_t count, int ranks) override {
    const auto element = static_cast<std::int64_t>(c10::elementSize(dtype));
    check_memory(into, count * element);
    check_memory(parts, count * element * ranks);
    give([=] {
      reduce_all(dtype, reduction, into, parts, count, ranks);
      return true;
    });
  }

  std::shared_ptr<Mark> mark() override;

  void abort() noexcept override {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (gone_) return;
    gone_ = true;
    stream_.clear();
    beginning_ = nullptr;
    if (!joined_) return;
    ++hub_.seen_[rank_in_run_].aborts;
    // What this rank had to send is never taken now, and its memory may go.
    for (auto& [pair, messages] : room_->messages) {
      if (pair.first == rank_) messages.clear();
    }
  }
  void leave(double /*seconds*/) noexcept override {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    EXPECT_TRUE(joined_ && stream_.empty() && !beginning_ && !gone_);
    gone_ = true;
    ++hub_.seen_[rank_in_run_].leaves;
  }

 private:
  friend class FakeNccl::FakeMark;
  friend class FakeNccl;

  void count_call() const {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    ++hub_.seen_[rank_in_run_].calls;
  }

  [[noreturn]] static void refuse(const std::string& call) {
    throw Error(Cause::cluster, text("NCCL refused ", call, ": invalid argument"));
  }

  void check_gpu() const {
    if (broken_) throw Error(Cause::cluster, "CUDA refused a call: an illegal memory access");
  }

  // The stream runs in order, and here only while somebody looks. Under the lock.
  void run_stream() {
    if (gone_ || stream_.empty() || --looks_to_finish_.front() > 0) return;
    while (!stream_.empty() && looks_to_finish_.front() <= 0 && stream_.front()()) {
      stream_.pop_front();
      looks_to_finish_.pop_front();
      ++passed_;
    }
  }

  void check_memory(const std::byte* begin, std::int64_t bytes) const {
    if (bytes == 0) return;
    bool is_kept = false;
    for (const at::Tensor& tensor : kept_) {
      const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
      is_kept |= data <= begin && begin + bytes <= data + tensor.nbytes();
    }
    EXPECT_TRUE(is_kept) << "memory outside the tensors that are kept";
  }

  void check_message(const Message& message) const {
    EXPECT_GE(message.bytes, 1);
    EXPECT_NE(message.peer, rank_);
    check_memory(message.data, message.bytes);
  }

  // Where something will be written that nothing given so far still reads.
  void make_noise(std::byte* to, std::int64_t bytes, const std::vector<Message>& read) const {
    if (nccl_under_way_ > 0) return;
    for (const Message& other : read) {
      if (to < other.data + other.bytes && other.data < to + bytes) return;
    }
    std::memset(to, kNoise, static_cast<std::size_t>(bytes));
  }

  void begin_work(int Seen::*count, const char* call) {
    check_gpu();
    EXPECT_TRUE(follows_) << "work that does not wait for the current stream";
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (!joined_ || joining_ || gone_) refuse(call);
    EXPECT_FALSE(beginning_) << "work before the last is on the stream";
    Seen& seen = hub_.seen_[rank_in_run_];
    ++seen.calls;
    number_ = seen.work();
    ++(seen.*count);
    const Faults& faults = hub_.faults_;
    if (rank_in_run_ != faults.failing_rank) return;
    if (number_ == faults.refused) refuse(call);
    failed_ = number_ == faults.fails_in;
    broken_ = number_ == faults.breaks_in;
  }

  void give_nccl(std::function<bool()> work) {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    const bool is_stuck = number_ == hub_.faults_.never_moves_from;
    ++nccl_under_way_;
    beginning_ = [this, is_stuck, work = std::move(work)]() mutable {
      if (is_stuck || failed_ || !work()) return false;
      --nccl_under_way_;
      return true;
    };
    looks_left_ = kLooksToBegin;
    ++given_;
  }

  void together(const std::string& kind, const std::byte* from, std::int64_t bytes,
                std::function<void(const Together&)> end) {
    check_memory(from, bytes);
    EXPECT_GE(bytes, 1);
    const int number = together_++;
    give_nccl([this, kind, from, bytes, number, end = std::move(end), came = false]() mutable {
      Together& all = room_->together[number];
      if (!came) {
        if (all.kind.empty()) all.kind = kind;
        EXPECT_EQ(all.kind, kind) << "NCCL would hang or mix collectives up";
        all.brought[rank_] = {from, from + bytes};
        came = true;
      }
      if (static_cast<int>(all.brought.size()) < size_) return false;
      end(all);
      return true;
    });
  }

  // What each rank brought, the last rank's first.
  static std::vector<std::byte> in_other_order(const Together& all) {
    std::vector<std::byte> parts;
    for (auto rank = all.brought.rbegin(); rank != all.brought.rend(); ++rank) {
      parts.insert(parts.end(), rank->second.begin(), rank->second.end());
    }
    return parts;
  }

  void give(std::function<bool()> work) {
    check_gpu();
    EXPECT_TRUE(follows_) << "work that does not wait for the current stream";
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (gone_) return;
    EXPECT_FALSE(beginning_) << "work before NCCL's is on the stream";
    stream_.push_back(std::move(work));
    looks_to_finish_.push_back(1);
    ++given_;
  }

  FakeNccl& hub_;
  const int rank_in_run_;
  const c10::Device device_;
  Room* room_ = nullptr;
  int rank_ = 0;
  int size_ = 1;
  bool joined_ = false;
  bool joining_ = false;
  std::function<bool()> beginning_;  // NCCL's work that is not yet on the stream
  bool follows_ = false;
  bool failed_ = false;
  std::atomic<bool> broken_ = false;
  bool gone_ = false;
  int looks_left_ = 0;
  int number_ = 0;    // of the work, over all links of the rank
  int together_ = 0;  // collectives of NCCL's own
  std::atomic<int> nccl_under_way_ = 0;
  std::int64_t given_ = 0;   // pieces of work the stream was given ...
  std::int64_t passed_ = 0;  // ... and has done
  std::vector<at::Tensor> kept_;
  std::deque<std::function<bool()>> stream_;
  std::deque<int> looks_to_finish_;  // of each
};

class FakeNccl::FakeMark final : public NcclLink::Mark,
                                 public std::enable_shared_from_this<FakeNccl::FakeMark> {
 public:
  FakeMark(FakeNccl& hub, Link* link, std::int64_t position)
      : hub_(hub), link_(link), rank_in_run_(link->rank_in_run_), position_(position) {}

  bool has_passed() override {
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (link_ == nullptr || link_->gone_) return true;
    link_->check_gpu();
    link_->run_stream();
    return link_->passed_ >= position_;
  }
  void lead_current_stream() override;

 private:
  friend class Link;
  FakeNccl& hub_;
  Link* link_;  // null once that is gone
  const int rank_in_run_;
  const std::int64_t position_;
};

FakeNccl::Link::~Link() {
  const std::lock_guard<std::mutex> lock(hub_.mutex_);
  EXPECT_TRUE(gone_ || !joined_) << "destroyed without abort or leave";
  for (const std::shared_ptr<FakeMark>& mark : hub_.current_[rank_in_run_]) {
    if (mark->link_ == this) mark->link_ = nullptr;
  }
}

std::shared_ptr<NcclLink::Mark> FakeNccl::Link::mark() {
  check_gpu();
  const std::lock_guard<std::mutex> lock(hub_.mutex_);
  EXPECT_FALSE(beginning_) << "a mark before NCCL's work is on the stream";
  follows_ = false;  // what comes next must wait for what the current stream has by then
  return std::make_shared<FakeMark>(hub_, this, given_);
}

void FakeNccl::FakeMark::lead_current_stream() {
  const std::lock_guard<std::mutex> lock(hub_.mutex_);
  if (link_ == nullptr || link_->gone_) return;
  link_->check_gpu();
  hub_.current_[rank_in_run_].push_back(shared_from_this());
}

std::unique_ptr<NcclLink> FakeNccl::link(int rank_in_run, c10::Device device) {
  return std::make_unique<Link>(*this, rank_in_run, device);
}

NcclId FakeNccl::make_id() {
  const std::lock_guard<std::mutex> lock(mutex_);
  NcclId id{};
  const std::string number = std::to_string(++ids_);
  std::memcpy(id.data(), number.data(), number.size());
  return id;
}

void FakeNccl::synchronize(int rank_in_run) {
  std::vector<std::shared_ptr<FakeMark>> marks;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    marks = std::exchange(current_[rank_in_run], {});
  }
  for (const std::shared_ptr<FakeMark>& mark : marks) {
    while (!mark->has_passed()) sched_yield();
  }
}

FakeNccl::Seen FakeNccl::seen(int rank_in_run) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return seen_[rank_in_run];
}

}  // namespace micrec
