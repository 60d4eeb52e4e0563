#include "kernels/rows.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <cstring>

#include "base/number_lists.h"
#include "base/pages.h"
#include "base/parallel.h"

namespace micrec {

at::Tensor empty_rows(at::IntArrayRef shape, const at::TensorOptions& options) {
  at::Tensor tensor = at::empty(shape, options);
  if (tensor.device().is_cpu()) advise_huge_pages(tensor.mutable_data_ptr(), tensor.nbytes());
  return tensor;
}

at::Tensor gather_rows(const at::Tensor& x, const RowList& rows) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[0] = rows.size();
  at::Tensor gathered = empty_rows(shape, x.options());
  gather_rows_into(gathered, x, rows);
  return gathered;
}

void gather_rows_into(at::Tensor& gathered, const at::Tensor& x, const RowList& list) {
  CHECK(x.is_contiguous() && x.device() == gathered.device());
  CHECK(gathered.is_contiguous() && gathered.size(0) == list.size());
  const std::vector<std::int32_t>& rows = list.rows();
  if (rows.empty()) return;
  if (!x.device().is_cpu()) {
    at::index_select_out(gathered, x, 0, list.on(x.device()));
    return;
  }
  const std::size_t row_bytes = gathered.nbytes() / rows.size();
  const auto* const from = static_cast<const char*>(x.const_data_ptr());
  auto* const to = static_cast<char*>(gathered.mutable_data_ptr());
  constexpr std::int64_t kChunkBytes = 1 << 18;
  constexpr std::int64_t kRowsAhead = 16;
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkBytes / static_cast<std::int64_t>(row_bytes + 1));
  const std::int64_t last = list.size() - 1;
  parallel_for(list.size(), chunk, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const char* const ahead = from + rows[std::min(i + kRowsAhead, last)] * row_bytes;
      for (std::size_t line = 0; line < row_bytes; line += 64) __builtin_prefetch(ahead + line);
      std::memcpy(to + i * row_bytes, from + rows[i] * row_bytes, row_bytes);
    }
  });
}

Pattern gathered_from(const std::vector<std::int32_t>& rows, std::int64_t count) {
  NumberLists places = places_by_number(rows, count);
  Pattern pattern;
  pattern.offsets = std::move(places.offsets);
  pattern.columns = std::move(places.values);
  return pattern;
}

}  // namespace micrec
