#include "evaluate/gathered_rows.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

namespace micrec {

SparseRows gather_rows(const char* name, const SparseRows& matrix,
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
  const auto gather = [&]<typename T>(std::vector<T>& numbers,
                                      const std::vector<std::int64_t>& per_rank) {
    const at::ScalarType type = c10::CppTypeToScalarType<T>::value;
    const at::Tensor local =
        at::from_blob(numbers.data(), {static_cast<std::int64_t>(numbers.size())}, type);
    const at::Tensor all =
        communicator.all_gather(name, local.to(device), per_rank).cpu().contiguous();
    return std::vector<T>(all.const_data_ptr<T>(), all.const_data_ptr<T>() + all.numel());
  };

  SparseRows gathered;
  const std::vector<std::int32_t> all_lengths = gather(lengths, rows_per_rank);
  std::vector<std::int64_t> coefficients_per_rank(rows_per_rank.size(), 0);
  std::size_t row = 0;
  for (std::size_t rank = 0; rank < rows_per_rank.size(); ++rank) {
    for (std::int64_t r = 0; r < rows_per_rank[rank]; ++r) {
      coefficients_per_rank[rank] += all_lengths[row];
      gathered.offsets.push_back(gathered.offsets.back() + all_lengths[row++]);
    }
  }
  gathered.column = gather(columns, coefficients_per_rank);
  gathered.value = gather(values, coefficients_per_rank);
  return gathered;
}

}  // namespace micrec
