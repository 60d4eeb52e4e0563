// The inner loops of streamed_softmax between its matrix products. Compiled without contraction
// into fused multiply-adds, and always in groups of 16 columns, the last one filled up: the
// exponential of a logit and the order of a sum are the same on every processor and at every place
// in a row.
#include <cstdint>

#include "kernels/dispatch.h"
#include "kernels/streamed_softmax.h"
#include "kernels/vector.h"

namespace micrec::MICREC_INSTRUCTION_SET {
namespace {

constexpr int kVectors = kSoftmaxGroup / kLanes;
constexpr float kNothing = -1e30F;  // a logit whose exponential is zero beside any other
// Adding and subtracting it rounds to an integer; added to an integer it leaves that in the low
// part of the bits.
constexpr float kRound = 12582912.0F;  // 1.5 * 2^23
constexpr int kExponentBias = 127;
constexpr int kMantissaBits = 23;

using Lanes = Vector<kLanes>;
typedef std::int32_t Bits __attribute__((vector_size(kLanes * sizeof(std::int32_t))));

// 2^x as 2^whole * fraction, fraction in [2^-1/2, 2^1/2]. The polynomial is the one of degree 6
// with the least relative error, 2e-9 before rounding and 1e-7 after; a NaN stays one.
struct Power {
  Lanes whole;
  Lanes fraction;
};

MICREC_INLINE Power power_of_two(Lanes x) {
  const Lanes whole = x + kRound - kRound;
  const Lanes f = x - whole;
  Lanes p = 0.00015345812426F * f + 0.00133999309037F;
  p = p * f + 0.00961848907173F;
  p = p * f + 0.05550328642130F;
  p = p * f + 0.24022646248341F;
  p = p * f + 0.69314718246460F;
  p = p * f + 1.0F;
  return {whole, p};
}

// 2^e for integers e up to 127; zero for those below -126.
MICREC_INLINE Lanes whole_power_of_two(Lanes e) {
  const Lanes lowest = Lanes{} - kExponentBias;
  const Lanes bounded = e < lowest ? lowest : e;
  return (Lanes)((Bits)(bounded + (kRound + kExponentBias)) << kMantissaBits);
}

// 2^e in double for integers e up to 0; zero for those below -1000 and for a NaN.
MICREC_INLINE double double_power_of_two(float e) {
  if (!(e >= -1000.0F)) return 0;
  const std::uint64_t bits = static_cast<std::uint64_t>(1023 + static_cast<int>(e)) << 52;
  double value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

// The logits of a group of which `columns` are there.
MICREC_INLINE void load_logits(const float* values, std::int64_t columns, float scale,
                               Lanes (&logits)[kVectors]) {
  if (columns >= kSoftmaxGroup) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) logits[v] = load<kLanes>(values + v * kLanes) * scale;
    return;
  }
  float filled[kSoftmaxGroup];
  for (int c = 0; c < kSoftmaxGroup; ++c) filled[c] = c < columns ? values[c] * scale : kNothing;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) logits[v] = load<kLanes>(filled + v * kLanes);
}

}  // namespace

void add_exponentials(const SoftmaxTile& tile, double* sums, float* exponents) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const float* const values = tile.values + r * tile.stride;
    Lanes highest[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) highest[v] = Lanes{} + kNothing;
    for (std::int64_t c = 0; c < tile.columns; c += kSoftmaxGroup) {
      Lanes logits[kVectors];
      load_logits(values + c, tile.columns - c, tile.scale, logits);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        highest[v] = logits[v] > highest[v] ? logits[v] : highest[v];
      }
    }
    float lanes[kSoftmaxGroup];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store<kLanes>(lanes + v * kLanes, highest[v]);
    float top = lanes[0];
    for (int c = 1; c < kSoftmaxGroup; ++c) top = lanes[c] > top ? lanes[c] : top;
    const float raised = __builtin_ceilf(top);
    const float before = exponents[r];
    const float exponent = raised > before ? raised : before;

    Lanes partial[kVectors] = {};
    for (std::int64_t c = 0; c < tile.columns; c += kSoftmaxGroup) {
      Lanes logits[kVectors];
      load_logits(values + c, tile.columns - c, tile.scale, logits);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Power power = power_of_two(logits[v]);
        partial[v] += power.fraction * whole_power_of_two(power.whole - exponent);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store<kLanes>(lanes + v * kLanes, partial[v]);
    for (int half = kSoftmaxGroup / 2; half > 0; half /= 2) {
      for (int c = 0; c < half; ++c) lanes[c] += lanes[c + half];
    }
    // Both scales are whole powers of two, so a highest logit that comes late costs no precision.
    sums[r] = sums[r] * double_power_of_two(before - exponent) + lanes[0];
    exponents[r] = exponent;
  }
}

void weigh(const SoftmaxTile& tile, const SoftmaxNormalisers& rows,
           const SoftmaxNormalisers& columns) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    float* const values = tile.values + r * tile.stride;
    const float row_inverse = rows.inverse[r];
    const float row_exponent = rows.exponent[r];
    for (std::int64_t c = 0; c < tile.columns; c += kLanes) {
      const Power power = power_of_two(load<kLanes>(values + c) * tile.scale);
      const Lanes of_row = row_inverse * whole_power_of_two(power.whole - row_exponent);
      const Lanes of_column = load<kLanes>(columns.inverse + c) *
                              whole_power_of_two(power.whole - load<kLanes>(columns.exponent + c));
      store<kLanes>(values + c, power.fraction * (of_row + of_column));
    }
  }
}

}  // namespace micrec::MICREC_INSTRUCTION_SET
