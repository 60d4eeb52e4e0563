#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

enum class CollectiveKind : std::int32_t {
  barrier,
  all_gather,
  all_to_all,
  all_reduce,
  broadcast,
};

/// A run of rows of one tensor for every rank.
struct Runs {
  std::vector<std::int64_t> first;  // (ranks)
  std::vector<std::int64_t> rows;   // (ranks)

  /// One rank's after the other's.
  static Runs consecutive(const std::vector<std::int64_t>& rows);
  /// The same rows for each.
  static Runs shared(int ranks, std::int64_t first, std::int64_t rows);
};

/// One collective as this rank has to do it: who gets which rows of whom, and what becomes of them.
/// A collective of single elements (all_reduce, broadcast) takes each for a row and is done in
/// place: `given` and `result` are one tensor.
struct Exchange {
  const char* name = nullptr;  ///< a literal
  CollectiveKind kind = CollectiveKind::barrier;
  at::Tensor given;                      // (rows, ...)
  at::Tensor result;                     // (rows, ...), on the same device
  Runs sent;                             // of `given`, to each rank
  Runs received;                         // from each rank: of `result`
  std::int64_t row_bytes = 0;            // of `given` as of `result`
  Reduction reduction = Reduction::sum;  ///< of all_reduce
  int root = -1;                         ///< of broadcast
};

/// What one rank sends to and receives from every rank at once, itself included.
struct Messages {
  const char* name = nullptr;
  const char* group = nullptr;  ///< null: the whole run
  std::uint64_t number = 0;     ///< of the collective, from 1
  bool of_check = false;  ///< belongs to the checked mode, so name and number may differ by rank
  std::vector<const std::byte*> send;       // (ranks)
  std::vector<std::int64_t> send_bytes;     // (ranks)
  std::vector<std::byte*> receive;          // (ranks)
  std::vector<std::int64_t> receive_bytes;  // (ranks)
  std::vector<at::Tensor> buffers;          // what these point into
};

/// The messages by which rows travel. `rows_of` and `into` have rows of `row_bytes`.
Messages messages_between(const char* name, const at::Tensor& rows_of, const Runs& sent,
                          const at::Tensor& into, const Runs& received, std::int64_t row_bytes);

/// An exchange as any backend can do it: messages; a reduction in rank order of what they brought,
/// by the one rank that keeps the element; and, where all need it, messages again. So the bits
/// depend neither on the backend nor on the size nor on who arrives first.
struct Rounds {
  Messages first;
  at::Tensor parts;           // (ranks, count) as `given`; not defined: nothing is reduced
  std::byte* into = nullptr;  // (count)
  std::int64_t count = 0;
  std::optional<Messages> second;
};

/// An all_reduce of up to `small_bytes`, all ranks' together, is one round of everything to
/// everyone; a larger one is two of a share each.
Rounds rounds_of(const Exchange& exchange, int rank, std::int64_t small_bytes);

/// into[i] = parts[0][i] + parts[1][i] + ..., or the smallest or largest of them, in main memory. A
/// NaN stays.
void reduce_over_ranks(const Exchange& exchange, const Rounds& rounds);

/// Does the exchange of a rank that has no other.
void exchange_alone(const Exchange& exchange);

/// A collective that is over already.
std::unique_ptr<PendingTensor> finished(at::Tensor result);

// Arithmetic of rows.
std::int64_t total(const std::vector<std::int64_t>& rows);
/// CHECK: there is a dimension of rows.
std::int64_t row_bytes_of(const char* name, const at::Tensor& tensor);
/// Not initialised, of the type, device and row shape of `like`.
at::Tensor empty_rows(const at::Tensor& like, std::int64_t rows);
inline const std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}
inline std::byte* writable_bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

}  // namespace micrec
