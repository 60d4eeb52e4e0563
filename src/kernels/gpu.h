#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/adam_element.h"
#include "kernels/block_dots_warp.h"
#include "kernels/contrastive_warp.h"
#include "kernels/count_ahead_block.h"
#include "kernels/item_systems_block.h"
#include "kernels/kept_loss_element.h"
#include "kernels/mixed_rows_element.h"
#include "kernels/neighbour_sum_call.h"
#include "kernels/triple_element.h"

// The kernels on a GPU, given to LibTorch's current stream. In a program without CUDA, where no
// tensor is on a GPU, they end it; tests put a device that the host plays in their place.
namespace micrec {

/// Where the numbers of a call lie, on whatever device; null of an undefined tensor.
template <typename T>
T* address(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

/// Runs a call that was prepared for x's device.
void neighbour_sum_on_gpu(const PreparedSum& sum, c10::Device device);

/// One step of Adam over the tensors of a call, which are on the device.
void adam_on_gpu(const AdamCall& call, c10::Device device);

/// Dot products of rows of blocks, the way back, and the loss of triples.
void block_dots_on_gpu(const BlockDotsCall& call, c10::Device device);
void block_slopes_on_gpu(const BlockSlopesCall& call, c10::Device device);
void triple_loss_on_gpu(const TripleCall& call, c10::Device device);

/// Notes the loss of a step where it was computed.
void keep_loss_on_gpu(const KeepLossCall& call, c10::Device device);

/// The contrastive loss but for the products of its rows.
void unit_rows_on_gpu(const UnitRowsCall& call, c10::Device device);
void softmax_tile_on_gpu(const SoftmaxTileCall& call, c10::Device device);
void person_losses_on_gpu(const PersonLossCall& call, c10::Device device);
void attractions_on_gpu(const AttractionCall& call, c10::Device device);
void unit_gradients_on_gpu(const UnitGradientCall& call, c10::Device device);

/// Rows mixed by tables, and the way back: products of rows, of all columns the gradient in x, of a
/// rank's own that in the tables.
void mixed_rows_on_gpu(const MixedRows& call, c10::Device device);
void along_on_gpu(const MixedRowsGradient& call, c10::Device device);
void of_mixed_on_gpu(const MixedRowsGradient& call, c10::Device device);
void of_tables_on_gpu(const MixedRowsGradient& call, c10::Device device);

/// Tables of modalities, and the way back.
void modality_tables_on_gpu(const ModalityTables& call, c10::Device device);
void of_modality_tables_on_gpu(const ModalityTablesGradient& call, c10::Device device);

/// Where the positives of a ranking stand; sums over the histories of its users; how many candidates
/// are ahead, for which the other two come first.
void place_positives_on_gpu(const RankCall& call, c10::Device device);
void sum_histories_on_gpu(const RankCall& call, c10::Device device);
void count_ahead_on_gpu(const RankCall& call, c10::Device device);

/// The products of features of the systems of item regression, and their solutions, for which these come
/// first where there are features.
void alike_on_gpu(const ItemSystemsCall& call, c10::Device device);
void item_systems_on_gpu(const ItemSystemsCall& call, c10::Device device);

}  // namespace micrec
