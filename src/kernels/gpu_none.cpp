// The kernels on a GPU in a program that was built without CUDA.
#include <glog/logging.h>

#include "kernels/gpu.h"

namespace micrec {
namespace {

void refuse(c10::Device device) {
  LOG(FATAL) << "a tensor on " << device << " in a program without CUDA";
}

}  // namespace

void neighbour_sum_on_gpu(const PreparedSum& /*sum*/, c10::Device device) { refuse(device); }
void adam_on_gpu(const AdamCall& /*call*/, c10::Device device) { refuse(device); }
void block_dots_on_gpu(const BlockDotsCall& /*call*/, c10::Device device) { refuse(device); }
void block_slopes_on_gpu(const BlockSlopesCall& /*call*/, c10::Device device) { refuse(device); }
void triple_loss_on_gpu(const TripleCall& /*call*/, c10::Device device) { refuse(device); }
void keep_loss_on_gpu(const KeepLossCall& /*call*/, c10::Device device) { refuse(device); }
void unit_rows_on_gpu(const UnitRowsCall& /*call*/, c10::Device device) { refuse(device); }
void softmax_tile_on_gpu(const SoftmaxTileCall& /*call*/, c10::Device device) { refuse(device); }
void person_losses_on_gpu(const PersonLossCall& /*call*/, c10::Device device) { refuse(device); }
void attractions_on_gpu(const AttractionCall& /*call*/, c10::Device device) { refuse(device); }
void unit_gradients_on_gpu(const UnitGradientCall& /*call*/, c10::Device device) { refuse(device); }
void mixed_rows_on_gpu(const MixedRows& /*call*/, c10::Device device) { refuse(device); }
void along_on_gpu(const MixedRowsGradient& /*call*/, c10::Device device) { refuse(device); }
void of_mixed_on_gpu(const MixedRowsGradient& /*call*/, c10::Device device) { refuse(device); }
void of_tables_on_gpu(const MixedRowsGradient& /*call*/, c10::Device device) { refuse(device); }
void modality_tables_on_gpu(const ModalityTables& /*call*/, c10::Device device) { refuse(device); }
void of_modality_tables_on_gpu(const ModalityTablesGradient& /*call*/, c10::Device device) {
  refuse(device);
}
void place_positives_on_gpu(const RankCall& /*call*/, c10::Device device) { refuse(device); }
void sum_histories_on_gpu(const RankCall& /*call*/, c10::Device device) { refuse(device); }
void count_ahead_on_gpu(const RankCall& /*call*/, c10::Device device) { refuse(device); }
void alike_on_gpu(const ItemSystemsCall& /*call*/, c10::Device device) { refuse(device); }
void item_systems_on_gpu(const ItemSystemsCall& /*call*/, c10::Device device) { refuse(device); }

}  // namespace micrec
