#include "fake_nccl.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "cluster/rank_reduction.h"

namespace micrec {
namespace {

constexpr int kLooksToJoin = 5;
constexpr int kLooksToBegin = 3;

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

}  // namespace

class FakeNccl::Link final : public NcclLink {
 public:
  Link(FakeNccl& hub, int rank_in_run, c10::Device device)
      : hub_(hub), rank_in_run_(rank_in_run), device_(device) {}
  ~Link() override { EXPECT_TRUE(gone_ || !joined_) << "destroyed without abort or leave"; }

  c10::Device device() const override { return device_; }
  Versions versions() const override { return hub_.faults_.versions; }
  std::unique_ptr<NcclLink> another() const override { return hub_.link(rank_in_run_, device_); }
  NcclId make_id() override { return hub_.make_id(); }

  void begin_join(const NcclId& id, int rank, int size) override {
    EXPECT_FALSE(joined_);
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
    EXPECT_FALSE(gone_);
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    if (failed_) return {State::failed, "unhandled system error"};
    if (looks_left_ > 0) --looks_left_;
    if (looks_left_ > 0) return {State::in_progress, ""};
    if (joining_) {
      if (hub_.faults_.never_joins || room_->joined < size_) return {State::in_progress, ""};
      joining_ = false;
    }
    if (group_ended_) {
      give_group_to_stream();
      group_ended_ = false;
      if (failed_) return {State::failed, "unhandled system error"};
    }
    return {};
  }

  void follow_current_stream() override { follows_ = true; }
  void keep(const at::Tensor& tensor) override { kept_.push_back(tensor); }

  void begin_group() override {
    EXPECT_FALSE(in_group_ || group_ended_ || joining_);
    in_group_ = true;
  }
  void send(const std::byte* from, std::int64_t bytes, int peer) override {
    check_message(from, bytes, peer);
    auto message = std::make_shared<Message>();
    message->from = from;
    message->bytes = bytes;
    sends_.emplace_back(peer, std::move(message));
  }
  void receive(std::byte* to, std::int64_t bytes, int peer) override {
    check_message(to, bytes, peer);
    receives_.push_back({to, bytes, peer});
  }
  void end_group() override {
    EXPECT_TRUE(in_group_);
    in_group_ = false;
    group_ended_ = true;
    looks_left_ = kLooksToBegin;
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
      switch (dtype) {
        case c10::ScalarType::Float:
          reduce_all<float>(reduction, into, parts, count, ranks);
          return true;
        case c10::ScalarType::Double:
          reduce_all<double>(reduction, into, parts, count, ranks);
          return true;
        case c10::ScalarType::Int:
          reduce_all<std::int32_t>(reduction, into, parts, count, ranks);
          return true;
        case c10::ScalarType::Long:
          reduce_all<std::int64_t>(reduction, into, parts, count, ranks);
          return true;
        default:
          ADD_FAILURE() << dtype;
          return true;
      }
    });
  }

  std::unique_ptr<Mark> mark() override {
    EXPECT_FALSE(in_group_ || group_ended_) << "a mark before the group is on the stream";
    follows_ = false;  // what comes next must wait for what the current stream has by then
    return std::make_unique<FakeMark>(*this, given_);
  }

  void abort() noexcept override {
    if (gone_) return;
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    gone_ = true;
    stream_.clear();
    if (!joined_) return;
    ++hub_.seen_[rank_in_run_].aborts;
    // What this rank had to send is never taken now, and its memory may go.
    for (auto& [pair, messages] : room_->messages) {
      if (pair.first == rank_) messages.clear();
    }
  }
  void leave(double /*seconds*/) noexcept override {
    EXPECT_TRUE(stream_.empty() && !group_ended_ && !gone_);
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    gone_ = true;
    ++hub_.seen_[rank_in_run_].leaves;
  }

 private:
  class FakeMark final : public Mark {
   public:
    FakeMark(Link& link, std::int64_t position) : link_(link), position_(position) {}

    bool has_passed() override {
      EXPECT_FALSE(link_.gone_);
      const std::lock_guard<std::mutex> lock(link_.hub_.mutex_);
      // The stream runs in order, and here only while somebody looks.
      while (!link_.stream_.empty() && link_.stream_.front()()) {
        link_.stream_.pop_front();
        ++link_.passed_;
      }
      return link_.passed_ >= position_;
    }
    void lead_current_stream() override {}

   private:
    Link& link_;
    std::int64_t position_;
  };

  struct Receive {
    std::byte* to;
    std::int64_t bytes;
    int peer;
  };

  void check_memory(const std::byte* begin, std::int64_t bytes) const {
    if (bytes == 0) return;
    bool is_kept = false;
    for (const at::Tensor& tensor : kept_) {
      const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
      is_kept |= data <= begin && begin + bytes <= data + tensor.nbytes();
    }
    EXPECT_TRUE(is_kept) << "memory outside the tensors that are kept";
  }

  void check_message(const std::byte* data, std::int64_t bytes, int peer) const {
    EXPECT_TRUE(in_group_);
    EXPECT_GE(bytes, 1);
    EXPECT_NE(peer, rank_);
    check_memory(data, bytes);
  }

  void give(std::function<bool()> work) {
    EXPECT_TRUE(follows_) << "work that does not wait for the current stream";
    EXPECT_FALSE(in_group_ || group_ended_) << "work before the group is on the stream";
    const std::lock_guard<std::mutex> lock(hub_.mutex_);
    stream_.push_back(std::move(work));
    ++given_;
  }

  void give_group_to_stream() {
    EXPECT_TRUE(follows_) << "a group that does not wait for the current stream";
    Seen& seen = hub_.seen_[rank_in_run_];
    const int group = seen.groups++;
    failed_ = group == hub_.faults_.fails_in_group && rank_in_run_ == hub_.faults_.failing_rank;
    const bool stuck = group == hub_.faults_.never_moves_from_group;
    bool posted = false;
    ++given_;
    stream_.push_back([this, stuck, posted, sends = std::move(sends_),
                       receives = std::move(receives_), &seen]() mutable {
      if (stuck || failed_) return false;
      if (!posted) {
        for (const auto& [peer, message] : sends) {
          room_->messages[{rank_, peer}].push_back(message);
          seen.bytes_sent += message->bytes;
        }
        posted = true;
      }
      for (auto receive = receives.begin(); receive != receives.end();) {
        auto& messages = room_->messages[{receive->peer, rank_}];
        if (messages.empty()) {
          ++receive;
          continue;
        }
        Message& message = *messages.front();
        EXPECT_EQ(message.bytes, receive->bytes) << "NCCL would hang or mix messages up";
        std::memcpy(receive->to, message.from,
                    static_cast<std::size_t>(std::min(message.bytes, receive->bytes)));
        message.taken = true;
        messages.pop_front();
        receive = receives.erase(receive);
      }
      if (!receives.empty()) return false;
      for (const auto& [peer, message] : sends) {
        if (!message->taken) return false;
      }
      return true;
    });
    sends_.clear();
    receives_.clear();
  }

  FakeNccl& hub_;
  const int rank_in_run_;
  const c10::Device device_;
  Room* room_ = nullptr;
  int rank_ = 0;
  int size_ = 1;
  bool joined_ = false;
  bool joining_ = false;
  bool in_group_ = false;
  bool group_ended_ = false;
  bool follows_ = false;
  bool failed_ = false;
  bool gone_ = false;
  int looks_left_ = 0;
  std::int64_t given_ = 0;   // pieces of work the stream was given ...
  std::int64_t passed_ = 0;  // ... and has done
  std::vector<at::Tensor> kept_;
  std::vector<std::pair<int, std::shared_ptr<Message>>> sends_;
  std::vector<Receive> receives_;
  std::deque<std::function<bool()>> stream_;
};

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

FakeNccl::Seen FakeNccl::seen(int rank_in_run) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return seen_[rank_in_run];
}

}  // namespace micrec
