#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/neighbour_sum.h"
#include "kernels/neighbour_sum_row.h"
#include "kernels/pattern.h"
#include "kernels/upload.h"

namespace micrec {

/// The hubs among the output rows of a call, as lists.
struct HubLists {
  std::vector<HubPiece> pieces;
  std::vector<Hub> hubs;

  void add(std::int64_t output_row, std::int64_t begin, std::int64_t end);
};

/// A call of neighbour_sum that only has to be run, and what it reads besides its arguments.
struct PreparedSum {
  SumCall call;
  HubLists hubs;
  std::vector<at::Tensor> kept;

  PreparedSum() = default;
  PreparedSum(PreparedSum&&) = default;  // no copies: the call points into the lists
};

/// Where the call reads the host's lists: the pattern, numbers of rows and sets of them.
enum class ListsOf { host, device };

/// Lets a pattern's numbers go to the device of a batch with the others of it, so that sums find
/// them there once it is sent.
void add_pattern(const Pattern& pattern, UploadBatch& batch);

/// The same for the hubs among some of its rows, which a sum of these rows will ask for. On the
/// device of the pattern they stay until the next such batch is sent.
void add_hubs(const Pattern& pattern, const RowList& rows, UploadBatch& batch);

/// Checks the arguments of neighbour_sum_into and makes a call of them.
///
/// `lists`: where a tensor of x's device is. On a device the pattern, the numbers of its rows, its
/// hubs and their order by falling degree where all rows of a range are wanted, and a set of rows
/// are copied only the first time.
PreparedSum prepare_sum(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                        const SumOptions& options, ListsOf lists);

}  // namespace micrec
