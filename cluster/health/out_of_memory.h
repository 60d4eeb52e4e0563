#pragma once

#include <string>

namespace micrec {

/// What a run says whose rank got no more memory: how much was asked for, what the GPU or the
/// machine has and how much of it is free or the rank's, how to ask the plan, what to try.
///
/// `what`: LibTorch's message, or empty where nothing is known but that memory was refused. Numbers
/// that it lacks are left out.
/// Ranks    local.
std::string describe_gpu_out_of_memory(const std::string& what, int ranks);
std::string describe_host_out_of_memory(const std::string& what, int ranks);

}  // namespace micrec
