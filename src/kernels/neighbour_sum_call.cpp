#include "kernels/neighbour_sum_call.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "kernels/upload.h"

namespace micrec {
namespace {

// In the memory of a device, of some rows: the hubs among them, and the order in which they are
// taken.
struct DeviceTasks {
  std::int64_t piece_count = 0;
  std::int64_t hub_count = 0;
  at::Tensor bytes;        // the pieces, then the hubs, then the order, int32
  bool has_order = false;  // else the rows are taken as they come
};

}  // namespace

struct DevicePattern {
  // Which numbers it is a copy of.
  const std::int64_t* host_offsets = nullptr;
  const std::int32_t* host_columns = nullptr;
  std::int64_t rows = 0;
  std::int64_t nonzeros = 0;
  c10::Device device{c10::kCPU};

  at::Tensor bytes;                // offsets (rows + 1) int64, then columns (nonzeros) int32
  std::vector<std::int32_t> hubs;  // rows with more than kHubChunk nonzeros, rising
  std::map<std::pair<std::int64_t, std::int64_t>, DeviceTasks> tasks_of_range;
  bool is_planned = false;  // went there with a step's plan, for which it pays to sort nothing
  RowList planned_rows;     // those of add_hubs()
  DeviceTasks planned_tasks;

  // Global numbers of the local rows, of the vector at this place.
  const GlobalNode* host_numbers = nullptr;
  std::int64_t number_count = 0;
  at::Tensor numbers;  // (local rows) int32
};

namespace {

static_assert(sizeof(GlobalNode) == sizeof(std::int32_t));

template <typename T>
const T* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}

// One copy costs less than two, however little they are.
template <typename... T>
std::vector<std::byte> bytes_of(const std::vector<T>&... lists) {
  std::vector<std::byte> all;
  all.reserve((... + (lists.size() * sizeof(T))));
  const auto append = [&](const void* data, std::size_t bytes) {
    const auto* const from = static_cast<const std::byte*>(data);
    all.insert(all.end(), from, from + bytes);
  };
  (append(lists.data(), lists.size() * sizeof(T)), ...);
  return all;
}

// What is known of it before its numbers are on the device.
std::shared_ptr<DevicePattern> describe(const Pattern& pattern, c10::Device device) {
  auto made = std::make_shared<DevicePattern>();
  made->host_offsets = pattern.offsets.data();
  made->host_columns = pattern.columns.data();
  made->rows = pattern.rows();
  made->nonzeros = pattern.nonzeros();
  made->device = device;
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    if (pattern.degree(row) > kHubChunk) made->hubs.push_back(static_cast<std::int32_t>(row));
  }
  return made;
}

DevicePattern& device_pattern(const Pattern& pattern, c10::Device device) {
  std::shared_ptr<DevicePattern>& made = pattern.on_device;
  if (made && made->host_offsets == pattern.offsets.data() &&
      made->host_columns == pattern.columns.data() && made->rows == pattern.rows() &&
      made->nonzeros == pattern.nonzeros() && made->device == device) {
    return *made;
  }
  made = describe(pattern, device);
  made->bytes = upload(bytes_of(pattern.offsets, pattern.columns), device);
  return *made;
}

const std::int32_t* device_numbers(DevicePattern& pattern, const std::vector<GlobalNode>& numbers) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  if (pattern.host_numbers != numbers.data() || pattern.number_count != count) {
    pattern.host_numbers = numbers.data();
    pattern.number_count = count;
    pattern.numbers = upload(numbers, pattern.device);
  }
  return pointer<std::int32_t>(pattern.numbers);
}

// `range`: of the rows of the pattern, where not some are wanted; its first is output row 0.
HubLists wanted_hubs(const Pattern& pattern, const std::vector<std::int32_t>& hub_rows,
                     const std::vector<std::int32_t>* rows, Range range) {
  HubLists wanted;
  for (const std::int32_t row : hub_rows) {
    std::int64_t output_row = row - range.begin;
    if (!rows && !range.contains(row)) continue;
    if (rows) {
      const auto found = std::lower_bound(rows->begin(), rows->end(), row);
      if (found == rows->end() || *found != row) continue;
      output_row = found - rows->begin();
    }
    wanted.add(output_row, pattern.offsets[row], pattern.offsets[row + 1]);
  }
  return wanted;
}

// The rows of a range, those with the most neighbours first and else rising, so that what a block's
// warps have to do differs little and the last blocks have little: from the range's first on.
std::vector<std::int32_t> by_falling_degree(const Pattern& pattern, Range range) {
  std::vector<std::int32_t> order(range.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](std::int32_t row) { return pattern.degree(range.begin + row); });
  return order;
}

DeviceTasks tasks_of(const HubLists& hubs) {
  DeviceTasks tasks;
  tasks.piece_count = static_cast<std::int64_t>(hubs.pieces.size());
  tasks.hub_count = static_cast<std::int64_t>(hubs.hubs.size());
  return tasks;
}

DeviceTasks device_tasks(DevicePattern& there, const Pattern& pattern,
                         const std::vector<std::int32_t>* rows, Range range) {
  if (rows == &there.planned_rows.rows() && !rows->empty()) return there.planned_tasks;
  // Of all rows of a range they are always the same.
  const auto key = std::make_pair(range.begin, range.end);
  const auto known = there.tasks_of_range.find(key);
  if (!rows && known != there.tasks_of_range.end()) return known->second;
  const HubLists wanted = wanted_hubs(pattern, there.hubs, rows, range);
  DeviceTasks made = tasks_of(wanted);
  std::vector<std::int32_t> order;
  if (!rows && !there.is_planned) order = by_falling_degree(pattern, range);
  made.has_order = !order.empty();
  if (made.hub_count > 0 || made.has_order) {
    made.bytes = upload(bytes_of(wanted.pieces, wanted.hubs, order), there.device);
  }
  if (!rows) there.tasks_of_range.emplace(key, made);
  return made;
}

// The lists of a call where the host has them.
void take_lists(const Pattern& pattern, const SumOptions& options, Range range, PreparedSum& sum) {
  SumCall& call = sum.call;
  call.offsets = pattern.offsets.data();
  call.columns = pattern.columns.data();
  if (!pattern.row_at.empty()) {
    call.row_at = pattern.row_at.data();
    call.place_of = pattern.place_of.data();
  }
  if (options.rows) call.rows = options.rows->rows().data();
  if (options.local_to_global) {
    call.global_numbers = reinterpret_cast<const std::int32_t*>(options.local_to_global->data());
  }
  if (options.active_columns) call.active_columns = options.active_columns->words();
  if (options.horner.addend_rows) call.addend_rows = options.horner.addend_rows->words();
  for (std::int64_t i = 0; i < call.output_rows; ++i) {
    const std::int64_t place = options.rows ? place_of_row(call, call.rows[i]) : range.begin + i;
    const std::int64_t begin = pattern.offsets[place];
    const std::int64_t end = pattern.offsets[place + 1];
    if (end - begin <= kHubChunk) continue;
    const bool is_own_row = !options.rows && call.row_at;
    sum.hubs.add(is_own_row ? std::int64_t{call.row_at[place]} : i, begin, end);
  }
  call.hubs.pieces = sum.hubs.pieces.data();
  call.hubs.piece_count = static_cast<std::int64_t>(sum.hubs.pieces.size());
  call.hubs.hubs = sum.hubs.hubs.data();
  call.hubs.hub_count = static_cast<std::int64_t>(sum.hubs.hubs.size());
}

// Copies of them on a device.
void copy_lists(const Pattern& pattern, const SumOptions& options, Range range, c10::Device device,
                PreparedSum& sum) {
  SumCall& call = sum.call;
  CHECK(pattern.row_at.empty()) << "on a device rows are stored rising";
  DevicePattern& there = device_pattern(pattern, device);
  const auto keep = [&](const at::Tensor& tensor) {
    sum.kept.push_back(tensor);
    return tensor;
  };
  const auto words_of = [&](const RowSet* set) -> const RowSet::Word* {
    if (!set) return nullptr;
    if (!set->on_device()) set->on_device() = std::make_shared<DeviceNumbers>();
    const auto bytes = set->word_count() * static_cast<std::int64_t>(sizeof(RowSet::Word));
    return pointer<RowSet::Word>(keep(set->on_device()->on(device, set->words(), bytes)));
  };
  call.offsets = pointer<std::int64_t>(there.bytes);
  call.columns = reinterpret_cast<const std::int32_t*>(call.offsets + pattern.rows() + 1);
  if (options.rows) call.rows = pointer<std::int32_t>(keep(options.rows->on(device)));
  if (options.local_to_global && options.dropout.probability > 0) {
    call.global_numbers = device_numbers(there, *options.local_to_global);
  }
  call.active_columns = words_of(options.active_columns);
  call.addend_rows = words_of(options.horner.addend_rows);
  const DeviceTasks tasks =
      device_tasks(there, pattern, options.rows ? &options.rows->rows() : nullptr, range);
  call.hubs.pieces = pointer<HubPiece>(keep(tasks.bytes));
  call.hubs.piece_count = tasks.piece_count;
  call.hubs.hubs = reinterpret_cast<const Hub*>(call.hubs.pieces + tasks.piece_count);
  call.hubs.hub_count = tasks.hub_count;
  if (tasks.has_order) {
    call.order = reinterpret_cast<const std::int32_t*>(call.hubs.hubs + tasks.hub_count);
  }
}

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

void check_arguments(const at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                     const SumOptions& options, std::int64_t wanted_rows, ListsOf lists) {
  CHECK_EQ(x.dim(), 2);
  const std::int64_t dim = x.size(1);
  CHECK_GE(dim, 1);
  const RowSet* const active = options.active_columns;
  const std::int64_t local_rows = active ? active->universe() : x.size(0);
  const Horner& horner = options.horner;
  const c10::Device device = x.device();
  const at::ScalarType stored = lists == ListsOf::host ? at::kFloat : at::kBFloat16;
  check_matrix("x", x, device, active ? active->size() : 0, dim, stored);
  check_matrix("out", out, device, wanted_rows, dim, stored);
  check_matrix("the row scale", options.scaling.row, device, pattern.rows(), 1);
  check_matrix("the column scale", options.scaling.column, device, local_rows, 1);
  check_matrix("the edge weights", options.edge_weights, device, pattern.nonzeros(), 1);
  const std::int64_t addends = horner.addend_rows ? horner.addend_rows->size() : pattern.rows();
  check_matrix("the addend", horner.addend, device, horner.addend_of.defined() ? 0 : addends, dim);
  check_matrix("the addend's scale", horner.scale, device, pattern.rows(), 1);
  if (horner.addend_of.defined()) {
    CHECK(horner.addend.defined() && !horner.addend_rows)
        << "rows of an addend that has all of them";
    CHECK(horner.addend_of.scalar_type() == at::kInt && horner.addend_of.is_contiguous() &&
          horner.addend_of.device() == device && horner.addend_of.numel() == pattern.rows())
        << "the addend's rows must be an int32 for each of the " << pattern.rows() << " on "
        << device;
  }
  const float dropout = options.dropout.probability;
  CHECK(dropout >= 0 && dropout < 1) << "dropout of " << dropout;
  if (options.local_to_global) {
    CHECK_EQ(static_cast<std::int64_t>(options.local_to_global->size()), local_rows);
  }
  const Range range = options.range.value_or(Range{0, wanted_rows});
  CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= wanted_rows);
  if (range.begin == range.end) return;
  if (options.range) {
    CHECK(!options.rows && dropout == 0) << "a range of all rows, without dropout";
    CHECK_EQ(range.begin % kRangeStep, 0);
  }
  CHECK(out.const_data_ptr() != x.const_data_ptr()) << "out must not be x";
  CHECK(!horner.addend.defined() || out.const_data_ptr() != horner.addend.const_data_ptr())
      << "out must not be the addend";
}

// Makes place `begin` place 0, and where rows are stored rising, row `begin` row 0 of all that is
// indexed by rows.
void start_at(std::int64_t begin, std::int64_t out_bytes, SumCall& call) {
  static_assert(kRangeStep % 64 == 0, "rows of a word of a RowSet");
  if (begin == 0) return;
  call.offsets += begin;
  if (call.row_at) {
    call.row_at += begin;
    return;
  }
  call.out = static_cast<char*>(call.out) + begin * call.dim * out_bytes;
  if (call.row_scale) call.row_scale += begin;
  if (call.addend_scale) call.addend_scale += begin;
  if (call.addend_of) {
    call.addend_of += begin;
  } else if (call.addend_rows) {
    call.addend_rows += begin / 64;
  } else if (call.addend) {
    call.addend += begin * call.dim;
  }
}

Stored stored_as(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? Stored::bfloat16 : Stored::float32;
}

}  // namespace

void HubLists::add(std::int64_t output_row, std::int64_t begin, std::int64_t end) {
  const auto first = static_cast<std::int64_t>(pieces.size());
  for (; begin < end; begin += kHubChunk) {
    pieces.push_back({output_row, begin, std::min(end, begin + kHubChunk)});
  }
  hubs.push_back({output_row, first, static_cast<std::int64_t>(pieces.size()) - first});
}

void add_pattern(const Pattern& pattern, UploadBatch& batch) {
  if (batch.device().is_cpu()) return;
  const std::shared_ptr<DevicePattern> made = describe(pattern, batch.device());
  made->is_planned = true;
  batch.add(bytes_of(pattern.offsets, pattern.columns),
            [made](at::Tensor there) { made->bytes = std::move(there); });
  pattern.on_device = made;
}

void add_hubs(const Pattern& pattern, const RowList& rows, UploadBatch& batch) {
  if (batch.device().is_cpu()) return;
  std::vector<std::int32_t> hub_rows;
  for (const std::int32_t row : rows.rows()) {
    if (pattern.degree(row) > kHubChunk) hub_rows.push_back(row);
  }
  if (hub_rows.empty()) return;
  const HubLists wanted = wanted_hubs(pattern, hub_rows, &rows.rows(), {0, rows.size()});
  batch.add(bytes_of(wanted.pieces, wanted.hubs),
            [&pattern, rows, tasks = tasks_of(wanted), device = batch.device()](at::Tensor there) {
              DevicePattern& of = device_pattern(pattern, device);
              of.planned_rows = rows;
              of.planned_tasks = tasks;
              of.planned_tasks.bytes = std::move(there);
            });
}

PreparedSum prepare_sum(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                        const SumOptions& options, ListsOf lists) {
  const std::int64_t wanted_rows = options.rows ? options.rows->size() : pattern.rows();
  check_arguments(out, pattern, x, options, wanted_rows, lists);
  const Range range = options.range.value_or(Range{0, wanted_rows});
  PreparedSum sum;
  SumCall& call = sum.call;
  call.dim = x.size(1);
  call.output_rows = range.size();
  if (call.output_rows == 0) return sum;

  call.nonzeros = pattern.nonzeros();
  call.x = x.const_data_ptr();
  call.out = out.mutable_data_ptr();
  call.x_type = stored_as(x);
  call.out_type = stored_as(out);
  call.row_scale = pointer<float>(options.scaling.row);
  call.column_scale = pointer<float>(options.scaling.column);
  call.skips_zero_columns = options.scaling.skip_zero_columns;
  call.edge_weights = pointer<float>(options.edge_weights);
  const EdgeDropout& dropout = options.dropout;
  call.dropout = {dropout_key(dropout.seed), dropout_threshold(dropout.probability),
                  dropout.transposed};
  call.kept_scale = 1.0F / (1.0F - dropout.probability);
  call.addend = pointer<float>(options.horner.addend);
  call.addend_scale = pointer<float>(options.horner.scale);
  call.addend_of = pointer<std::int32_t>(options.horner.addend_of);
  call.factor = options.horner.factor;
  if (lists == ListsOf::host) {
    take_lists(pattern, options, range, sum);
  } else {
    copy_lists(pattern, options, range, x.device(), sum);
  }
  if (call.hubs.piece_count > 0) {
    const at::Tensor partials =  // (pieces, dim) float32
        at::empty({call.hubs.piece_count, call.dim}, x.options().dtype(at::kFloat));
    call.hubs.partials = static_cast<float*>(partials.mutable_data_ptr());
    sum.kept.push_back(partials);
  }
  start_at(range.begin, static_cast<std::int64_t>(out.element_size()), call);
  return sum;
}

}  // namespace micrec
