#include "io/tables/table_blocks.h"

#include <array>
#include <exception>
#include <span>
#include <utility>
#include <vector>

#include "base/parallel.h"

namespace micrec {
namespace {

/// A block and what was taken out of it.
struct TakenBlock {
  LineBlock lines;
  std::vector<Interaction> interactions;
  InteractionsSummary summary;
  TableCounts counts;
  std::exception_ptr failure;  // that of the record behind the last interaction
};

/// Blocks that go through a step together; those behind the first `count` are kept for their
/// memory.
struct Round {
  std::vector<TakenBlock> blocks;
  std::size_t count = 0;
};

class BlockFlow {
 public:
  BlockFlow(LineReader& lines, const TableRecords& records, Delivery& delivery, TableCounts& counts)
      : lines_(lines),
        records_(records),
        delivery_(delivery),
        counts_(counts),
        most_blocks_(compute_threads() == 1 ? 1 : 4 * static_cast<std::size_t>(compute_threads())) {
  }

  void run() {
    read();
    while (read_->count > 0 || taken_->count > 0) {
      std::swap(used_, taken_);
      std::swap(taken_, read_);
      read_->count = 0;
      const auto uses = static_cast<std::int64_t>(delivery_.uses().size());
      // What takes longest comes first.
      parallel_for(1 + uses + static_cast<std::int64_t>(taken_->count), 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t task = begin; task < end; ++task) {
                       if (task < uses) {
                         use(delivery_.uses()[task]);
                       } else if (task == uses) {
                         read();
                       } else {
                         take(taken_->blocks[task - uses - 1]);
                       }
                     }
                   });
      count_taken();
    }
    if (failure_of_reading_) std::rethrow_exception(failure_of_reading_);
    if (quoted_.size > 0) lines_.give_back(quoted_);
  }

 private:
  void read() {
    while (!ended_ && read_->count < most_blocks_) {
      if (read_->blocks.size() == read_->count) read_->blocks.emplace_back();
      LineBlock& block = read_->blocks[read_->count].lines;
      try {
        ended_ = !lines_.take_lines(&block);
      } catch (...) {
        failure_of_reading_ = std::current_exception();
        ended_ = true;
      }
      if (!ended_ && !records_.may_take_lines(block.text())) {
        std::swap(quoted_, block);
        ended_ = true;
      }
      if (!ended_) ++read_->count;
    }
  }

  void take(TakenBlock& block) const {
    block.interactions.clear();
    block.counts = {};
    block.failure = nullptr;
    const std::vector<UseInteractions> uses = {[&block](std::span<const Interaction> taken) {
      block.interactions.insert(block.interactions.end(), taken.begin(), taken.end());
    }};
    Delivery delivery(delivery_, uses);
    try {
      records_.take_lines(block.lines, lines_.line_feed(), delivery, block.counts,
                          block.interactions);
    } catch (...) {
      block.failure = std::current_exception();
    }
    block.summary = delivery.summary();
  }

  void use(const UseInteractions& one) const {
    for (std::size_t b = 0; b < used_->count; ++b) one(used_->blocks[b].interactions);
  }

  /// Adds up what was counted; where a record is wrong, uses what comes before it and says so.
  void count_taken() {
    for (std::size_t b = 0; b < taken_->count; ++b) {
      const TakenBlock& block = taken_->blocks[b];
      delivery_.summary().add_counts(block.summary);
      counts_.add(block.counts);
      if (!block.failure) continue;
      taken_->count = b + 1;
      std::swap(used_, taken_);
      for (const UseInteractions& one : delivery_.uses()) use(one);
      std::rethrow_exception(block.failure);
    }
  }

  LineReader& lines_;
  const TableRecords& records_;
  Delivery& delivery_;
  TableCounts& counts_;
  std::size_t most_blocks_;
  bool ended_ = false;
  LineBlock quoted_;  // the first block that is not for us
  std::exception_ptr failure_of_reading_;
  std::array<Round, 3> rounds_;
  Round* read_ = &rounds_[0];
  Round* taken_ = &rounds_[1];
  Round* used_ = &rounds_[2];
};

}  // namespace

void take_blocks(LineReader& lines, const TableRecords& records, Delivery& delivery,
                 TableCounts& counts) {
  BlockFlow(lines, records, delivery, counts).run();
}

}  // namespace micrec
