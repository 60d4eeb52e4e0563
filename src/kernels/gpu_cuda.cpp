#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "base/error.h"
#include "base/text.h"
#include "kernels/gpu.h"
#include "kernels/gpu_launch.h"

namespace micrec {
namespace {

void check_started(const char* what, cudaError_t code) {
  if (code == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw Error(Cause::cluster, text("CUDA refused to start ", what, ": ", cudaGetErrorString(code)));
}

/// Gives a call's kernels to the device's current stream.
template <typename Call>
void start(const char* what, cudaError_t (*launch)(const Call&, cudaStream_t), const Call& call,
           c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  check_started(what, launch(call, c10::cuda::getCurrentCUDAStream(device.index())));
}

}  // namespace

void neighbour_sum_on_gpu(const PreparedSum& sum, c10::Device device) {
  start("the sum of neighbours", launch_neighbour_sum, sum.call, device);
}

void adam_on_gpu(const AdamCall& call, c10::Device device) {
  start("Adam", launch_adam, call, device);
}

void block_dots_on_gpu(const BlockDotsCall& call, c10::Device device) {
  start("the dot products of blocks", launch_block_dots, call, device);
}

void block_slopes_on_gpu(const BlockSlopesCall& call, c10::Device device) {
  start("the way back through dot products", launch_block_slopes, call, device);
}

void triple_loss_on_gpu(const TripleCall& call, c10::Device device) {
  start("the loss of triples", launch_triple_loss, call, device);
}

void keep_loss_on_gpu(const KeepLossCall& call, c10::Device device) {
  start("the note of a loss", launch_keep_loss, call, device);
}

void unit_rows_on_gpu(const UnitRowsCall& call, c10::Device device) {
  start("unit rows", launch_unit_rows, call, device);
}

void softmax_tile_on_gpu(const SoftmaxTileCall& call, c10::Device device) {
  start("sums of exponentials", launch_softmax_tile, call, device);
}

void person_losses_on_gpu(const PersonLossCall& call, c10::Device device) {
  start("the contrastive loss", launch_person_losses, call, device);
}

void attractions_on_gpu(const AttractionCall& call, c10::Device device) {
  start("the way back through softmaxes", launch_attractions, call, device);
}

void unit_gradients_on_gpu(const UnitGradientCall& call, c10::Device device) {
  start("the way back through unit rows", launch_unit_gradients, call, device);
}

void mixed_rows_on_gpu(const MixedRows& call, c10::Device device) {
  start("mixed rows", launch_mixed_rows, call, device);
}

void along_on_gpu(const MixedRowsGradient& call, c10::Device device) {
  start("products of mixed rows", launch_along, call, device);
}

void of_mixed_on_gpu(const MixedRowsGradient& call, c10::Device device) {
  start("the way back to mixed rows", launch_of_mixed, call, device);
}

void of_tables_on_gpu(const MixedRowsGradient& call, c10::Device device) {
  start("the way back to tables", launch_of_tables, call, device);
}

void modality_tables_on_gpu(const ModalityTables& call, c10::Device device) {
  start("tables of modalities", launch_modality_tables, call, device);
}

void of_modality_tables_on_gpu(const ModalityTablesGradient& call, c10::Device device) {
  start("the way back through tables of modalities", launch_of_modality_tables, call, device);
}

void place_positives_on_gpu(const RankCall& call, c10::Device device) {
  start("the scores of relevant items", launch_place_positives, call, device);
}

void sum_histories_on_gpu(const RankCall& call, c10::Device device) {
  start("the sums over histories", launch_sum_histories, call, device);
}

void count_ahead_on_gpu(const RankCall& call, c10::Device device) {
  start("the ranking", launch_count_ahead, call, device);
}

void alike_on_gpu(const ItemSystemsCall& call, c10::Device device) {
  start("the products of features", launch_alike, call, device);
}

void item_systems_on_gpu(const ItemSystemsCall& call, c10::Device device) {
  start("the systems of item regression", launch_item_systems, call, device);
}

}  // namespace micrec
