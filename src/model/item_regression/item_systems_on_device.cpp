#include "model/item_regression/item_systems_on_device.h"

#include <ATen/Functions.h>
#include <glog/logging.h>

#include <algorithm>
#include <optional>

#include "kernels/gpu.h"
#include "kernels/upload.h"

namespace micrec {
namespace {

std::int64_t products_of(std::int64_t neighbours) { return triangle_place(neighbours, 0); }

/// A batch on its device.
class SolvingBatch {
 public:
  explicit SolvingBatch(const DeviceBatch& batch) : batch_(batch) {
    const auto& columns = batch.modality_columns;
    call_.modalities = static_cast<std::int64_t>(columns.size());
    call_.setting_count = static_cast<std::int64_t>(batch.settings.size());
    std::vector<float> settings;
    for (const ItemRegressionSettings& one : batch.settings) {
      const std::vector<float> numbers = solver_numbers(one, columns.size());
      settings.insert(settings.end(), numbers.begin(), numbers.end());
    }
    settings_ = upload(settings, batch.device);
    call_.settings = address<float>(settings_);
    if (columns.empty()) return;
    columns_ = upload(columns, batch.device);
    features_ = batch.features.to(batch.device);
    own_features_ = batch.own_features.to(batch.device);
    call_.columns = address<Range>(columns_);
    call_.width = features_.size(1);
    call_.features = address<float>(features_);
  }

  /// Where items are packed: empty lists in memory that the device reads.
  PackedSystems prepare(Range items, at::Tensor& memory) const {
    PackedSystems of;
    of.items = items.size();
    of.neighbours = first(items.end) - first(items.begin);
    for (std::int64_t t = items.begin; t < items.end; ++t) of.products += products_of(count(t));
    memory = locked_bytes(of.bytes(), batch_.device);
    of.lie_at(memory.mutable_data_ptr());
    of.first_neighbour[0] = of.first_product[0] = 0;
    for (std::int64_t i = 0; i < of.items; ++i) {
      of.first_neighbour[i + 1] = first(items.begin + i + 1) - first(items.begin);
      of.first_product[i + 1] = of.first_product[i] + products_of(count(items.begin + i));
    }
    return of;
  }

  /// The coefficients of packed items, on the device as soon as it has done all that it was given.
  /// Shapes: returns (settings, neighbours).
  at::Tensor start(Range items, PackedSystems of, const at::Tensor& memory) const {
    const at::Tensor there = memory.to(batch_.device, /*non_blocking=*/true);
    of.lie_at(there.mutable_data_ptr());
    const at::TensorOptions floats = there.options().dtype(at::kFloat);
    const at::Tensor alike = at::empty({call_.modalities, of.products}, floats);
    const at::Tensor right_alike = at::empty({call_.modalities, of.neighbours}, floats);
    at::Tensor solution = at::empty({call_.setting_count, of.neighbours}, floats);
    ItemSystemsCall call = call_;
    call.of = of;
    call.alike = address<float>(alike);
    call.right_alike = address<float>(right_alike);
    call.solution = address<float>(solution);
    if (call.modalities > 0) {
      call.own_features = address<float>(own_features_) + items.begin * call.width;
      alike_on_gpu(call, batch_.device);
    }
    item_systems_on_gpu(call, batch_.device);
    return solution;
  }

  std::int64_t first(std::int64_t t) const { return batch_.first_neighbour[t]; }
  std::int64_t count(std::int64_t t) const { return first(t + 1) - first(t); }

 private:
  const DeviceBatch& batch_;
  ItemSystemsCall call_;     // but for a chunk's items
  at::Tensor settings_;      // (settings, 1 + modalities) float32
  at::Tensor columns_;       // Range, as bytes
  at::Tensor features_;      // (rows, width)
  at::Tensor own_features_;  // (items, width)
};

/// Coefficients that the device has or will have.
struct Solution {
  std::int64_t first;  // of the neighbours
  at::Tensor there;    // (settings, neighbours)
};

}  // namespace

double most_chunk_bytes(double modalities, double items) {
  const double products = std::min(static_cast<double>(kChunkProducts),
                                   items * static_cast<double>(products_of(kMostUnknowns)));
  return products * sizeof(float) * (1 + modalities);
}

std::vector<float> solve_on_device(const DeviceBatch& batch, const PackItems& pack) {
  const auto items = static_cast<std::int64_t>(batch.first_neighbour.size()) - 1;
  const std::int64_t neighbours = batch.first_neighbour.back();
  if (neighbours == 0) return {};
  const SolvingBatch solving(batch);
  const auto settings = static_cast<std::int64_t>(batch.settings.size());
  std::vector<float> solution(settings * neighbours);
  std::optional<Solution> before;
  const auto collect = [&] {
    if (!before) return;
    const at::Tensor here = before->there.cpu();
    const std::int64_t count = here.size(1);
    for (std::int64_t s = 0; s < settings; ++s) {
      std::copy_n(here.const_data_ptr<float>() + s * count, count,
                  solution.data() + s * neighbours + before->first);
    }
  };
  for (std::int64_t begin = 0, end = 0; begin < items; begin = end) {
    std::int64_t products = 0;
    for (; end < items; ++end) {
      products += products_of(solving.count(end));
      if (end > begin && products > batch.chunk_products) break;
    }
    if (solving.first(end) == solving.first(begin)) continue;
    at::Tensor memory;
    const PackedSystems of = solving.prepare({begin, end}, memory);
    pack({begin, end}, of);
    collect();
    before = Solution{solving.first(begin), solving.start({begin, end}, of, memory)};
  }
  collect();
  return solution;
}

}  // namespace micrec
