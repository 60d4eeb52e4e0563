#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/item_systems_block.h"
#include "model/item_regression/item_systems.h"

// What ItemSystems makes of products of columns, on a GPU: products of features and solutions, with
// the same bits (kernels/item_systems_block.h).
namespace micrec {

/// A chunk of items has so many products of columns, or is one item: 32 MiB of about 1,700 items.
inline constexpr std::int64_t kChunkProducts = std::int64_t{1} << 23;

/// What a GPU has at the most of a chunk, where a rank has so many items.
double most_chunk_bytes(double modalities, double items);

/// Items whose systems are solved on a device.
struct DeviceBatch {
  c10::Device device;
  std::span<const std::int64_t> first_neighbour;  // (items + 1) among the neighbours of all
  const std::vector<Range>& modality_columns;     // of the feature rows
  std::span<const ItemRegressionSettings> settings;
  at::Tensor features;      // (rows, width) float32 of the host, as ItemSystem::features
  at::Tensor own_features;  // (items, width)
  std::int64_t chunk_products = kChunkProducts;
};

/// Does ItemSystems::pack() for each of these items of a batch.
using PackItems = std::function<void(Range items, const PackedSystems& to)>;

/// The coefficients of all neighbours of a batch for every setting. The items are taken in chunks,
/// of which one is packed while the one before is solved.
///
/// Shapes   returns (settings, neighbours).
/// Cost     four copies to the device; of each chunk one there, two launches and one copy back, the
///          only wait.
std::vector<float> solve_on_device(const DeviceBatch& batch, const PackItems& pack);

}  // namespace micrec
