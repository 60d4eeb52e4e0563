#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/dispatch.h"

// Scores of users and items, and the choice of the best. The product of two rows is the sum over
// columns 0, 1, 2, ... with one fused multiply-add each, in float32, from zero. Its bits therefore
// depend on the two rows alone: neither on the tile, the instruction set nor the number of threads.
// So it is with a score, which is that product, a sum of coefficients (history_sums.h), or both: a
// fused multiply-add of the sum's weight, the sum and the product (score_mix.h).
namespace micrec {

inline constexpr std::int64_t kItemLanes = 32;  // items a panel: two AVX-512 registers
inline constexpr std::int64_t kUserLanes = 12;  // users a panel: 2 x 12 sums fill the registers
inline constexpr std::int64_t kTileUsers = 2 * kUserLanes;   // that are scored at a time
inline constexpr std::int64_t kTileItems = 16 * kItemLanes;  // with them

/// All products of some panels of users and of items; see RowPanels.
struct ScoreTile {
  const float* users;  // (user_panels, dim, kUserLanes)
  std::int64_t user_panels;
  const float* items;  // (item_panels, dim, kItemLanes)
  std::int64_t item_panels;
  std::int64_t dim;
  float* scores;  // (user_panels * kUserLanes, item_panels * kItemLanes), written
};

/// Rows as the kernels read them: panels of a fixed number of rows, `lanes`, column by column, so
/// that one load brings the same column of neighbouring rows.
class RowPanels {
 public:
  RowPanels() = default;
  /// The rows row_of(0), row_of(1), ...; the last panel is filled up with zeros.
  RowPanels(std::int64_t rows, std::int64_t dim, std::int64_t lanes,
            const std::function<const float*(std::int64_t)>& row_of);

  std::int64_t rows() const { return rows_; }
  std::int64_t dim() const { return dim_; }
  std::int64_t panels() const { return (rows_ + lanes_ - 1) / lanes_; }
  const float* panel(std::int64_t number) const { return values_.data() + number * dim_ * lanes_; }
  /// Column k of a row is at [k * lanes].
  const float* columns_of(std::int64_t row) const { return panel(row / lanes_) + row % lanes_; }

 private:
  std::int64_t rows_ = 0;
  std::int64_t dim_ = 0;
  std::int64_t lanes_ = 1;
  std::vector<float> values_;  // (panels, dim, lanes)
};

/// The products of a user and the items [begin, begin + count), which it may write to.
using UseScores =
    std::function<void(std::int64_t user, std::int64_t begin, std::int64_t count, float* scores)>;

/// Multiplies every user with all items, tile by tile, each user's in rising order of the items.
///
/// Shapes   users: in panels of kUserLanes, items: of kItemLanes.
/// Cost     2 * users * items * dim operations near the processor's peak; one tile is stored.
void for_each_tile(const RowPanels& users, const RowPanels& items, const UseScores& use);

struct ScoredItem {
  std::int32_t item = 0;
  float score = 0;
};

/// Whether a comes before b: by the higher score, of equal ones by the smaller number.
bool is_better(const ScoredItem& a, const ScoredItem& b);

/// The k items with the highest scores of those offered, of equal ones the smaller numbers.
class TopK {
 public:
  explicit TopK(std::int64_t k) : k_(k) {}

  /// An item with this score is never taken.
  static constexpr float kNever = -std::numeric_limits<float>::infinity();

  /// Shapes   scores, items: (count).
  void offer(const float* scores, const std::int32_t* items, std::int64_t count);

  /// The best first. Nothing can be offered afterwards.
  std::vector<ScoredItem> take();

 private:
  bool is_full() const { return static_cast<std::int64_t>(heap_.size()) == k_; }

  std::int64_t k_;
  std::vector<ScoredItem> heap_;  // the worst in front
};

}  // namespace micrec
