#include "evaluate/gathered_rows.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <numeric>

#include "kernels/upload.h"

namespace micrec {

SparseRows to_host(const DeviceRows& rows) {
  SparseRows here;
  for (const std::int32_t length : download<std::int32_t>(rows.lengths)) {
    here.offsets.push_back(here.offsets.back() + length);
  }
  here.column = download<std::int32_t>(rows.columns);
  here.value = download<float>(rows.values);
  return here;
}

DeviceRows gather_rows(const char* name, const SparseRows& matrix,
                       std::span<const std::int64_t> own,
                       const std::vector<std::int64_t>& rows_per_rank, c10::Device device,
                       Communicator& communicator) {
  CHECK_EQ(static_cast<std::int64_t>(own.size()), rows_per_rank[communicator.rank()]);
  std::vector<std::int32_t> lengths;
  std::vector<std::int32_t> columns;
  std::vector<float> values;
  for (const std::int64_t row : own) {
    const std::int64_t begin = row < 0 ? 0 : matrix.offsets[row];
    const std::int64_t end = row < 0 ? 0 : matrix.offsets[row + 1];
    lengths.push_back(static_cast<std::int32_t>(end - begin));
    columns.insert(columns.end(), matrix.column.begin() + begin, matrix.column.begin() + end);
    values.insert(values.end(), matrix.value.begin() + begin, matrix.value.begin() + end);
  }
  DeviceRows gathered;
  gathered.lengths = communicator.all_gather(name, upload(lengths, device), rows_per_rank);
  const std::vector<std::int32_t> all_lengths = download<std::int32_t>(gathered.lengths);
  std::vector<std::int64_t> coefficients_per_rank;
  auto next = all_lengths.begin();
  for (const std::int64_t rows : rows_per_rank) {
    coefficients_per_rank.push_back(std::accumulate(next, next + rows, std::int64_t{0}));
    next += rows;
  }
  gathered.columns = communicator.all_gather(name, upload(columns, device), coefficients_per_rank);
  gathered.values = communicator.all_gather(name, upload(values, device), coefficients_per_rank);
  return gathered;
}

}  // namespace micrec
