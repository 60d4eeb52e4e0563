#pragma once

#include "kernels/adam_element.h"
#include "kernels/block_dots_warp.h"
#include "kernels/contrastive_warp.h"
#include "kernels/count_ahead_block.h"
#include "kernels/item_systems_block.h"
#include "kernels/kept_loss_element.h"
#include "kernels/mixed_rows_element.h"
#include "kernels/neighbour_sum_row.h"
#include "kernels/triple_element.h"

/// The kernels that a GPU has, as kernel(NAME, CALL, WHAT): what one is given, and what it
/// computes. Each is gpu.h's NAME_on_gpu() and a .cu source's launch_NAME().
// clang-format off
#define MICREC_GPU_KERNELS(kernel)                                                                 \
  kernel(neighbour_sum, SumCall, "the sum of neighbours")                                          \
  kernel(adam, AdamCall, "Adam")                                                                   \
  kernel(block_dots, BlockDotsCall, "the dot products of blocks")                                  \
  kernel(block_slopes, BlockSlopesCall, "the way back through dot products")                       \
  kernel(triple_loss, TripleCall, "the loss of triples")                                           \
  kernel(keep_loss, KeepLossCall, "the note of a loss")                                            \
  /* The contrastive loss but for the products of its rows. */                                     \
  kernel(unit_rows, UnitRowsCall, "unit rows")                                                     \
  kernel(softmax_tile, SoftmaxTileCall, "sums of exponentials")                                    \
  kernel(person_losses, PersonLossCall, "the contrastive loss")                                    \
  kernel(attractions, AttractionCall, "the way back through softmaxes")                            \
  kernel(unit_gradients, UnitGradientCall, "the way back through unit rows")                       \
  /* Rows mixed by tables; products of rows; of all columns the gradient in x, and of a rank's */  \
  /* own that in the tables. */                                                                    \
  kernel(mixed_rows, MixedRows, "mixed rows")                                                      \
  kernel(along, MixedRowsGradient, "products of mixed rows")                                       \
  kernel(of_mixed, MixedRowsGradient, "the way back to mixed rows")                                \
  kernel(of_tables, MixedRowsGradient, "the way back to tables")                                   \
  kernel(modality_tables, ModalityTables, "tables of modalities")                                  \
  kernel(of_modality_tables, ModalityTablesGradient, "the way back through tables of modalities")  \
  /* Where positives stand; sums over histories; how many are ahead, after the other two. */       \
  kernel(place_positives, RankCall, "the scores of relevant items")                                \
  kernel(sum_histories, RankCall, "the sums over histories")                                       \
  kernel(count_ahead, RankCall, "the ranking")                                                     \
  /* The products of features, where there are any, come before the systems. */                    \
  kernel(alike, ItemSystemsCall, "the products of features")                                       \
  kernel(item_systems, ItemSystemsCall, "the systems of item regression")
// clang-format on
