#pragma once

/// Marks a function that is part of kernels: it runs on a GPU where nvcc compiles it, and on the
/// CPU where tests do.
#ifdef __CUDACC__
#define MICREC_KERNEL_INLINE __device__ __forceinline__
#define MICREC_UNROLL _Pragma("unroll")
#else
#define MICREC_KERNEL_INLINE inline
#define MICREC_UNROLL
#endif
