#pragma once

/// Marks a function that is part of kernels: it runs on a GPU where nvcc compiles it, else on the
/// CPU. There it is always inlined, because kernels are compiled for several instruction sets: of a
/// copy that is not inlined, the linker would keep one for all of them. MICREC_SHARED_INLINE: where
/// nvcc compiles it, for the host as well.
#ifdef __CUDACC__
#define MICREC_KERNEL_INLINE __device__ __forceinline__
#define MICREC_SHARED_INLINE __host__ __device__ __forceinline__
#define MICREC_UNROLL _Pragma("unroll")
#else
#define MICREC_KERNEL_INLINE [[gnu::always_inline]] inline
#define MICREC_SHARED_INLINE [[gnu::always_inline]] inline
#define MICREC_UNROLL
#endif
