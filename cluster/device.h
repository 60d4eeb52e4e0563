#pragma once

#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cluster/communicator.h"
#include "cluster/launch_environment.h"

namespace micrec {

/// The GPUs that this process may use, and what it takes to share one. CUDA_VISIBLE_DEVICES hides
/// GPUs from it.
struct VisibleGpus {
  /// What CUDA calls a UUID: two processes that see the same one see the same GPU, whatever its
  /// number is in each.
  using Identity = std::array<std::uint8_t, 16>;

  std::vector<Identity> identities;  // by CUDA's device number
  std::string why_none;              ///< where there are none: why, as half a sentence
  bool has_driver = false;           ///< NVIDIA's driver is loaded, so that GPUs may be expected
  int nccl_version = 0;              ///< of the library, as 22809 for 2.28.9; 0: no NCCL
  bool sharing_asked_for = false;    ///< NCCL_MULTI_RANK_GPU_ENABLE is 1
};

/// "2.28.9".
std::string nccl_version_name(int version);

/// Asks CUDA. Takes no memory on any GPU. Ranks: local. Errors: none; see why_none.
VisibleGpus find_gpus();

/// Whether this machine has loaded NVIDIA's driver, whatever this program was built with.
bool nvidia_driver_is_loaded();

struct DeviceChoice {
  c10::Device device{c10::kCPU};
  std::string note;  ///< what the user should know of it, the same on all ranks; may be empty
};

/// The device of this rank: every rank its own GPU, or the CPU for all.
///
/// GPUs are told apart by identity and not by number, so it makes no difference whether the
/// launcher shows each rank all GPUs of its machine or only its own. Of those it sees a rank gets
/// the one numbered by its rank on the machine, as far as they are free. `wanted` is "cpu", "cuda",
/// or "auto": GPUs where every rank sees one, else the CPU, with a note why where any machine has a
/// driver. More ranks than GPUs are refused, but for "cpu", or where sharing was asked for and NCCL
/// can.
///
/// Ranks    collective. Errors   Error(Cause::cluster), on all ranks and with the same sentence.
DeviceChoice choose_device(const std::string& wanted, const VisibleGpus& visible,
                           const LaunchEnvironment& launch, Communicator& world);

/// Makes the device the calling thread's and lets LibTorch compute the same bits in every run on
/// it. Ranks: local, once a process before anything is computed there; nothing to do for a CPU.
void use_device(c10::Device device);

}  // namespace micrec
