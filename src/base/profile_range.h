#pragma once

namespace micrec {

/// Shows a stretch of this thread's work to NVIDIA's profilers (NVTX), from here to the end of the
/// scope, inside the one that encloses it. Nothing in a program that was built without CUDA.
///
/// Cost     some nanoseconds where no profiler looks.
class ProfileRange {
 public:
  /// `name`: a literal.
  explicit ProfileRange(const char* name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

}  // namespace micrec
