#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cluster/communicator.h"
#include "kernels/upload.h"

namespace micrec {

/// Rows that every rank of a column group has some columns of, and the way to whole rows and back:
/// each rank gets all columns of the rows of its part. In a group of one both are the same tensor,
/// and nothing travels.
class ColumnExchange {
 public:
  /// `part_of_row`: the rank of the group that gets the whole row; the same list on all of them.
  /// `columns` may be null for a group of one, and otherwise outlives this.
  ColumnExchange(const std::vector<std::int32_t>& part_of_row, Communicator* columns);

  std::int64_t rows() const { return plan_->rows; }
  std::int64_t whole_rows() const { return plan_->whole_rows; }  ///< of this rank's part

  /// Shapes   x: (rows, width) or (rows), any dtype; returns (whole_rows, width * ranks), the rows
  /// of this rank's part in the order of the list; of a vector, which is the same on all ranks, it
  /// picks them. Differentiable in float32 matrices: backward is to_columns. Ranks: collective, one
  /// exchange each way (none for a vector).
  at::Tensor to_whole(const char* name, const at::Tensor& x) const;

  /// The way back. Shapes   whole: (whole_rows, width * ranks) or (whole_rows); returns (rows,
  /// width) or (rows). Ranks: collective, one exchange.
  at::Tensor to_columns(const char* name, const at::Tensor& whole) const;

  /// Lets its lists go to a device with others.
  void add_to(UploadBatch& batch) const {
    batch.add(plan_->by_part);
    batch.add(plan_->place_of_row);
  }

 private:
  struct Plan {
    Communicator* columns = nullptr;
    std::int64_t rows = 0;
    std::int64_t whole_rows = 0;
    RowList by_part;                            // (rows) rows of part 0, of part 1, ...
    RowList place_of_row;                       // (rows) where by_part has each
    std::vector<std::int64_t> rows_of_part;     // (ranks)
    std::vector<std::int64_t> rows_from_ranks;  // (ranks) whole_rows each

    at::Tensor to_whole(const char* name, const at::Tensor& x) const;
    at::Tensor to_columns(const char* name, const at::Tensor& whole) const;
  };
  std::shared_ptr<const Plan> plan_;
};

/// All columns of a small tensor that every row part has: the last dimension of all ranks, rank 0's
/// columns first. Shapes   x: (..., width); returns (..., width * ranks). Ranks: collective;
/// `columns` null: x.
at::Tensor gather_columns(Communicator* columns, const char* name, const at::Tensor& x);

}  // namespace micrec
