#include "kernels/neighbour_sum.h"

#include <glog/logging.h>

#include <algorithm>
#include <thread>

#include "base/parallel.h"
#include "kernels/kernels.h"
#include "kernels/row_sum_call.h"
#include "kernels/rows.h"

namespace micrec {
namespace {

static_assert(kHubChunk <= kMaxHubChunk);
static_assert(sizeof(GlobalNode) == sizeof(std::int32_t));

// What a row costs beside its neighbours, in neighbours.
constexpr std::int64_t kRowCost = 4;
// Enough tasks for the last ones to end together, each long enough to be worth handing out.
constexpr std::int64_t kTasksPerThread = 16;
constexpr std::int64_t kMinimumTask = 4096;

// An undefined tensor is always right.
void check_matrix(const char* what, const at::Tensor& tensor, c10::Device device,
                  std::int64_t least_rows, std::int64_t columns,
                  at::ScalarType other_dtype = at::kFloat) {
  if (!tensor.defined()) return;
  const at::ScalarType dtype = tensor.scalar_type();
  CHECK((dtype == at::kFloat || dtype == other_dtype) && tensor.is_contiguous() &&
        tensor.device() == device)
      << what << " must be contiguous " << (other_dtype == dtype ? dtype : at::kFloat) << " on "
      << device << ", but is " << dtype << " on " << tensor.device();
  CHECK_GE(tensor.size(0), least_rows) << "rows of " << what;
  CHECK_EQ(tensor.numel(), tensor.size(0) * columns) << "numbers in " << what;
}

const float* data_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

// Boundaries of `tasks` shares of about the same cost; cost_before(row) is rising.
template <typename CostBefore>
std::vector<std::int64_t> equal_shares(std::int64_t rows, std::int64_t tasks,
                                       const CostBefore& cost_before) {
  std::vector<std::int64_t> begins(tasks + 1, rows);
  const std::int64_t total = cost_before(rows);
  for (std::int64_t t = 0; t < tasks; ++t) {
    const std::int64_t target = total / tasks * t;
    std::int64_t low = t == 0 ? 0 : begins[t - 1];
    std::int64_t high = rows;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (cost_before(middle) < target) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    begins[t] = low;
  }
  return begins;
}

// A piece of a row that is too long for one thread.
struct HubChunk {
  std::int64_t output_row;
  Range nonzeros;
};

void run(const SumWork& work, std::int64_t output_rows, const std::function<void()>& meanwhile,
         int threads) {
  const Kernels& kernel = kernels();
  const auto row_of = [&](std::int64_t i) { return work.rows ? std::int64_t{work.rows[i]} : i; };
  std::vector<HubChunk> chunks;
  std::vector<std::int64_t> hub_begins = {0};  // of each hub's chunks
  std::vector<std::int64_t> costs;             // before each wanted row, where only some are
  if (work.rows) costs.resize(output_rows + 1, 0);
  for (std::int64_t i = 0; i < output_rows; ++i) {
    const std::int64_t row = row_of(i);
    const std::int64_t begin = work.offsets[row];
    const std::int64_t end = work.offsets[row + 1];
    if (work.rows) costs[i + 1] = costs[i] + end - begin + kRowCost;
    if (end - begin <= work.hub_chunk) continue;
    for (std::int64_t at = begin; at < end; at += work.hub_chunk) {
      chunks.push_back({i, {at, std::min(end, at + work.hub_chunk)}});
    }
    hub_begins.push_back(static_cast<std::int64_t>(chunks.size()));
  }
  const auto cost_before = [&](std::int64_t i) {
    return work.rows ? costs[i] : work.offsets[i] - work.offsets[0] + kRowCost * i;
  };
  const std::int64_t tasks = std::clamp<std::int64_t>(cost_before(output_rows) / kMinimumTask, 1,
                                                      kTasksPerThread * threads);
  const std::vector<std::int64_t> shares = equal_shares(output_rows, tasks, cost_before);

  const std::thread::id caller = std::this_thread::get_id();
  const auto chunk_count = static_cast<std::int64_t>(chunks.size());
  std::vector<float> partials(chunk_count * work.dim);
  parallel_for(chunk_count + tasks, 1, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      if (task < chunk_count) {
        const HubChunk& chunk = chunks[task];
        kernel.sum_chunk(work, chunk.output_row, chunk.nonzeros.begin, chunk.nonzeros.end,
                         partials.data() + task * work.dim);
      } else {
        kernel.sum_rows(work, shares[task - chunk_count], shares[task - chunk_count + 1]);
      }
      if (meanwhile && std::this_thread::get_id() == caller) meanwhile();
    }
  });
  for (std::size_t hub = 0; hub + 1 < hub_begins.size(); ++hub) {
    const std::int64_t first = hub_begins[hub];
    kernel.finish_hub(work, chunks[first].output_row, partials.data() + first * work.dim,
                      hub_begins[hub + 1] - first);
  }
}

}  // namespace

void neighbour_sum_into(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                        const SumOptions& options, int threads) {
  CHECK_EQ(x.dim(), 2);
  const std::int64_t dim = x.size(1);
  CHECK_GE(dim, 1);
  const std::int64_t output_rows =
      options.rows ? static_cast<std::int64_t>(options.rows->size()) : pattern.rows();
  const Range range = options.range.value_or(Range{0, output_rows});
  CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= output_rows);
  const std::int64_t local_rows =
      options.active_columns ? options.active_columns->universe() : x.size(0);
  const Horner& horner = options.horner;
  const c10::Device device = x.device();
  const at::ScalarType stored = device.is_cpu() ? at::kFloat : at::kBFloat16;
  check_matrix("x", x, device, options.active_columns ? options.active_columns->size() : 0, dim,
               stored);
  check_matrix("out", out, device, output_rows, dim, stored);
  check_matrix("the row scale", options.scaling.row, device, pattern.rows(), 1);
  check_matrix("the column scale", options.scaling.column, device, local_rows, 1);
  check_matrix("the edge weights", options.edge_weights, device, pattern.nonzeros(), 1);
  check_matrix("the addend", horner.addend, device,
               horner.addend_rows ? horner.addend_rows->size() : pattern.rows(), dim);
  check_matrix("the addend's scale", horner.scale, device, pattern.rows(), 1);
  const EdgeDropout& dropout = options.dropout;
  CHECK(dropout.probability >= 0 && dropout.probability < 1)
      << "dropout of " << dropout.probability;
  if (options.local_to_global) {
    CHECK_EQ(static_cast<std::int64_t>(options.local_to_global->size()), local_rows);
  }
  if (range.begin == range.end) return;
  if (options.range) {
    CHECK(!options.rows && dropout.probability == 0) << "a range of all rows, without dropout";
    CHECK_EQ(range.begin % kRangeStep, 0);
  }
  CHECK(out.const_data_ptr() != x.const_data_ptr()) << "out must not be x";
  CHECK(!horner.addend.defined() || out.const_data_ptr() != horner.addend.const_data_ptr())
      << "out must not be the addend";
  if (!device.is_cpu()) return neighbour_sum_on_gpu(out, pattern, x, options);

  SumWork work{};
  work.offsets = pattern.offsets.data();
  work.columns = pattern.columns.data();
  work.nonzeros = pattern.nonzeros();
  work.x = x.const_data_ptr<float>();
  work.dim = dim;
  work.out = out.mutable_data_ptr<float>();
  work.rows = options.rows ? options.rows->data() : nullptr;
  work.row_scale = data_of(options.scaling.row);
  work.column_scale = data_of(options.scaling.column);
  work.skips_zero_columns = options.scaling.skip_zero_columns;
  work.edge_weights = data_of(options.edge_weights);
  work.active_columns = options.active_columns ? options.active_columns->words() : nullptr;
  work.global_numbers = options.local_to_global
                            ? reinterpret_cast<const std::int32_t*>(options.local_to_global->data())
                            : nullptr;
  work.has_dropout = dropout.probability > 0;
  work.transposed_dropout = dropout.transposed;
  work.dropout_key = dropout_key(dropout.seed);
  work.dropout_threshold = dropout_threshold(dropout.probability);
  work.kept_scale = 1.0F / (1.0F - dropout.probability);
  work.addend = data_of(horner.addend);
  work.addend_scale = data_of(horner.scale);
  work.addend_rows = horner.addend_rows ? horner.addend_rows->words() : nullptr;
  work.factor = horner.factor;
  work.hub_chunk = kHubChunk;
  if (range.begin > 0) {  // Row range.begin becomes row 0 of all that is indexed by rows.
    static_assert(kRangeStep % 64 == 0, "rows of a word of a RowSet");
    work.offsets += range.begin;
    work.out += range.begin * dim;
    if (work.row_scale) work.row_scale += range.begin;
    if (work.addend_scale) work.addend_scale += range.begin;
    if (work.addend_rows) {
      work.addend_rows += range.begin / 64;
    } else if (work.addend) {
      work.addend += range.begin * dim;
    }
  }
  run(work, range.end - range.begin, options.meanwhile, threads);
}

at::Tensor neighbour_sum(const Pattern& pattern, const at::Tensor& x, const SumOptions& options,
                         int threads) {
  const std::int64_t rows =
      options.rows ? static_cast<std::int64_t>(options.rows->size()) : pattern.rows();
  at::Tensor out = empty_rows({rows, x.size(1)}, x.options());
  neighbour_sum_into(out, pattern, x, options, threads);
  return out;
}

}  // namespace micrec
