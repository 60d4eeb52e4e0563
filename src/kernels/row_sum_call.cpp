#include "kernels/row_sum_call.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "kernels/upload.h"

namespace micrec {
namespace {

// Hubs among some rows, in the memory of a device.
struct DeviceHubs {
  std::int64_t piece_count = 0;
  std::int64_t hub_count = 0;
  at::Tensor bytes;  // the pieces, then the hubs
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
  std::map<std::pair<std::int64_t, std::int64_t>, DeviceHubs> hubs_of_range;

  // Global numbers of the local rows, of the vector at this place.
  const GlobalNode* host_numbers = nullptr;
  std::int64_t number_count = 0;
  at::Tensor numbers;  // (local rows) int32
};

namespace {

static_assert(sizeof(GlobalNode) == sizeof(std::int32_t));

template <typename T>
const T* pointer(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

const float* floats_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

DevicePattern& device_pattern(const Pattern& pattern, c10::Device device) {
  std::shared_ptr<DevicePattern>& made = pattern.on_device;
  if (made && made->host_offsets == pattern.offsets.data() &&
      made->host_columns == pattern.columns.data() && made->rows == pattern.rows() &&
      made->nonzeros == pattern.nonzeros() && made->device == device) {
    return *made;
  }
  made = std::make_shared<DevicePattern>();
  made->host_offsets = pattern.offsets.data();
  made->host_columns = pattern.columns.data();
  made->rows = pattern.rows();
  made->nonzeros = pattern.nonzeros();
  made->device = device;
  // A pattern of one step is as often small as large: one copy is worth a pass over its numbers.
  const std::size_t offset_bytes = pattern.offsets.size() * sizeof(std::int64_t);
  const std::size_t column_bytes = pattern.columns.size() * sizeof(std::int32_t);
  std::vector<std::byte> both(offset_bytes + column_bytes);
  std::memcpy(both.data(), pattern.offsets.data(), offset_bytes);
  if (column_bytes > 0) {
    std::memcpy(both.data() + offset_bytes, pattern.columns.data(), column_bytes);
  }
  made->bytes = upload(both.data(), static_cast<std::int64_t>(both.size()), device);
  for (std::int64_t row = 0; row < pattern.rows(); ++row) {
    if (pattern.degree(row) > kHubChunk) made->hubs.push_back(static_cast<std::int32_t>(row));
  }
  return *made;
}

const std::int32_t* device_numbers(DevicePattern& pattern, const std::vector<GlobalNode>& numbers) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  if (pattern.host_numbers != numbers.data() || pattern.number_count != count) {
    pattern.host_numbers = numbers.data();
    pattern.number_count = count;
    pattern.numbers = upload(numbers.data(), count * static_cast<std::int64_t>(sizeof(GlobalNode)),
                             pattern.device);
  }
  return pointer<std::int32_t>(pattern.numbers);
}

struct WantedHubs {
  std::vector<HubPiece> pieces;
  std::vector<Hub> hubs;
};

// `range`: of the rows of the pattern, where not some are wanted; its first is output row 0.
WantedHubs wanted_hubs(const Pattern& pattern, const std::vector<std::int32_t>& hub_rows,
                       const std::vector<std::int32_t>* rows, Range range) {
  WantedHubs wanted;
  for (const std::int32_t row : hub_rows) {
    std::int64_t output_row = row - range.begin;
    if (!rows && !range.contains(row)) continue;
    if (rows) {
      const auto found = std::lower_bound(rows->begin(), rows->end(), row);
      if (found == rows->end() || *found != row) continue;
      output_row = found - rows->begin();
    }
    const auto first = static_cast<std::int64_t>(wanted.pieces.size());
    const std::int64_t end = pattern.offsets[row + 1];
    for (std::int64_t begin = pattern.offsets[row]; begin < end; begin += kHubChunk) {
      wanted.pieces.push_back({output_row, begin, std::min(end, begin + kHubChunk)});
    }
    wanted.hubs.push_back(
        {output_row, first, static_cast<std::int64_t>(wanted.pieces.size()) - first});
  }
  return wanted;
}

DeviceHubs upload_hubs(const WantedHubs& wanted, c10::Device device) {
  DeviceHubs there;
  there.piece_count = static_cast<std::int64_t>(wanted.pieces.size());
  there.hub_count = static_cast<std::int64_t>(wanted.hubs.size());
  if (wanted.hubs.empty()) return there;
  const std::size_t piece_bytes = wanted.pieces.size() * sizeof(HubPiece);
  const std::size_t hub_bytes = wanted.hubs.size() * sizeof(Hub);
  std::vector<std::byte> both(piece_bytes + hub_bytes);
  std::memcpy(both.data(), wanted.pieces.data(), piece_bytes);
  std::memcpy(both.data() + piece_bytes, wanted.hubs.data(), hub_bytes);
  there.bytes = upload(both.data(), static_cast<std::int64_t>(both.size()), device);
  return there;
}

}  // namespace

RowSumCall prepare_row_sum(at::Tensor& out, const Pattern& pattern, const at::Tensor& x,
                           const SumOptions& options) {
  const c10::Device device = x.device();
  DevicePattern& there = device_pattern(pattern, device);
  RowSumCall call;
  const auto keep = [&](const at::Tensor& tensor) {
    call.copies.push_back(tensor);
    return tensor;
  };
  const auto set_words = [&](const RowSet* set) -> const RowSet::Word* {
    if (!set) return nullptr;
    if (!set->on_device()) set->on_device() = std::make_shared<DeviceNumbers>();
    const auto bytes = set->word_count() * static_cast<std::int64_t>(sizeof(RowSet::Word));
    return pointer<RowSet::Word>(keep(set->on_device()->on(device, set->words(), bytes)));
  };

  SumWork& work = call.work;
  work = SumWork{};
  work.offsets = pointer<std::int64_t>(there.bytes);
  work.columns = reinterpret_cast<const std::int32_t*>(work.offsets + pattern.rows() + 1);
  work.nonzeros = pattern.nonzeros();
  work.dim = x.size(1);
  work.rows = options.rows ? pointer<std::int32_t>(keep(upload(*options.rows, device))) : nullptr;
  work.row_scale = floats_of(options.scaling.row);
  work.column_scale = floats_of(options.scaling.column);
  work.skips_zero_columns = options.scaling.skip_zero_columns;
  work.edge_weights = floats_of(options.edge_weights);
  work.active_columns = set_words(options.active_columns);
  const EdgeDropout& dropout = options.dropout;
  work.has_dropout = dropout.probability > 0;
  work.global_numbers = work.has_dropout && options.local_to_global
                            ? device_numbers(there, *options.local_to_global)
                            : nullptr;
  work.transposed_dropout = dropout.transposed;
  work.dropout_key = dropout_key(dropout.seed);
  work.dropout_threshold = dropout_threshold(dropout.probability);
  work.kept_scale = 1.0F / (1.0F - dropout.probability);
  work.addend = floats_of(options.horner.addend);
  work.addend_scale = floats_of(options.horner.scale);
  work.addend_rows = set_words(options.horner.addend_rows);
  work.factor = options.horner.factor;
  work.hub_chunk = kHubChunk;

  call.x = x.const_data_ptr();
  call.out = out.mutable_data_ptr();
  call.x_is_bfloat16 = x.scalar_type() == at::kBFloat16;
  call.out_is_bfloat16 = out.scalar_type() == at::kBFloat16;
  const std::int64_t all_rows =
      options.rows ? static_cast<std::int64_t>(options.rows->size()) : pattern.rows();
  const Range range = options.range.value_or(Range{0, all_rows});
  call.output_rows = range.size();
  // Of all rows of a range they are always the same.
  const auto key = std::make_pair(range.begin, range.end);
  const auto known = there.hubs_of_range.find(key);
  DeviceHubs hubs;
  if (!options.rows && known != there.hubs_of_range.end()) {
    hubs = known->second;
  } else {
    hubs = upload_hubs(wanted_hubs(pattern, there.hubs, options.rows, range), device);
    if (!options.rows) there.hubs_of_range.emplace(key, hubs);
  }
  if (hubs.hub_count > 0) {
    keep(hubs.bytes);
    call.hubs.piece_count = hubs.piece_count;
    call.hubs.hub_count = hubs.hub_count;
    call.hubs.pieces = pointer<HubPiece>(hubs.bytes);
    call.hubs.hubs = reinterpret_cast<const Hub*>(call.hubs.pieces + hubs.piece_count);
    const at::Tensor partials =
        keep(at::empty({call.hubs.piece_count, work.dim}, x.options().dtype(at::kFloat)));
    call.hubs.partials = static_cast<float*>(partials.mutable_data_ptr());
  }
  if (range.begin > 0) {  // Row range.begin becomes row 0 of all that is indexed by rows.
    work.offsets += range.begin;
    const auto number_bytes = static_cast<std::int64_t>(out.element_size());
    call.out = static_cast<char*>(call.out) + range.begin * work.dim * number_bytes;
    if (work.row_scale) work.row_scale += range.begin;
    if (work.addend_scale) work.addend_scale += range.begin;
    if (work.addend_rows) {
      work.addend_rows += range.begin / 64;
    } else if (work.addend) {
      work.addend += range.begin * work.dim;
    }
  }
  return call;
}

}  // namespace micrec
