#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/adam_element.h"
#include "kernels/block_dots_warp.h"
#include "kernels/contrastive_warp.h"
#include "kernels/count_ahead_block.h"
#include "kernels/item_systems_block.h"
#include "kernels/kept_loss_element.h"
#include "kernels/mixed_rows_element.h"
#include "kernels/neighbour_sum_row.h"
#include "kernels/triple_element.h"

// What the .cu sources offer: each gives its work to a stream. All pointers are the GPU's.
namespace micrec {

/// The sum of all output rows: a warp a row or a piece of a hub, then a thread a number of a hub.
cudaError_t launch_neighbour_sum(const SumCall& call, cudaStream_t stream);

/// A step of Adam: a block a chunk.
cudaError_t launch_adam(const AdamCall& call, cudaStream_t stream);

/// Dot products of rows of blocks, and the way back.
cudaError_t launch_block_dots(const BlockDotsCall& call, cudaStream_t stream);
cudaError_t launch_block_slopes(const BlockSlopesCall& call, cudaStream_t stream);

/// The loss of triples and its slopes.
cudaError_t launch_triple_loss(const TripleCall& call, cudaStream_t stream);

/// Notes the loss of a step.
cudaError_t launch_keep_loss(const KeepLossCall& call, cudaStream_t stream);

/// The parts of the contrastive loss: a warp a row, a thread a number of a tile of attractions.
cudaError_t launch_unit_rows(const UnitRowsCall& call, cudaStream_t stream);
cudaError_t launch_softmax_tile(const SoftmaxTileCall& call, cudaStream_t stream);
cudaError_t launch_person_losses(const PersonLossCall& call, cudaStream_t stream);
cudaError_t launch_attractions(const AttractionCall& call, cudaStream_t stream);
cudaError_t launch_unit_gradients(const UnitGradientCall& call, cudaStream_t stream);

/// Rows mixed by tables, the way back in three kernels, and tables of modalities.
cudaError_t launch_mixed_rows(const MixedRows& call, cudaStream_t stream);
cudaError_t launch_along(const MixedRowsGradient& call, cudaStream_t stream);
cudaError_t launch_of_mixed(const MixedRowsGradient& call, cudaStream_t stream);
cudaError_t launch_of_tables(const MixedRowsGradient& call, cudaStream_t stream);
cudaError_t launch_modality_tables(const ModalityTables& call, cudaStream_t stream);
cudaError_t launch_of_modality_tables(const ModalityTablesGradient& call, cudaStream_t stream);

/// The parts of a ranking: a thread a positive; a block a user; a block a rank_task().
cudaError_t launch_place_positives(const RankCall& call, cudaStream_t stream);
cudaError_t launch_sum_histories(const RankCall& call, cudaStream_t stream);
cudaError_t launch_count_ahead(const RankCall& call, cudaStream_t stream);

/// The systems of item regression: a block a modality of an item; a block an item and setting.
cudaError_t launch_alike(const ItemSystemsCall& call, cudaStream_t stream);
cudaError_t launch_item_systems(const ItemSystemsCall& call, cudaStream_t stream);

}  // namespace micrec
