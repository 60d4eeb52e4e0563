#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// What the ranks of a new NCCL communicator find each other by; one of them makes it and shows it
/// to the others.
using NcclId = std::array<char, 128>;

/// One rank's end of one NCCL communicator and a stream of its own: the calls of NCCL and CUDA that
/// NcclCommunicator makes, nearly one to one and without a decision of their own. Tests have one
/// made of threads and main memory.
///
/// What is given to the stream runs in order and later; nothing is known of it until a mark behind
/// it has passed. The thread of the rank calls all of it; another may call progress(), abort() and
/// a mark's has_passed() meanwhile.
///
/// Errors   Error(Cause::cluster) where NCCL or CUDA refuse a call, as NCCL does before the ranks
///          have joined and after abort().
class NcclLink {
 public:
  struct Versions {
    int header = 0;   ///< that the program was built with, as 22809 for 2.28.9
    int library = 0;  ///< that it runs with
  };
  enum class State { ready, in_progress, failed };
  struct Progress {
    State state = State::ready;
    std::string failure;
  };
  /// What goes to another rank, or comes from it; at least a byte.
  struct Message {
    std::byte* data = nullptr;
    std::int64_t bytes = 0;
    int peer = 0;
  };
  /// A point of the stream, after all that it was given before. It holds what was kept for that.
  class Mark {
   public:
    virtual ~Mark() = default;
    virtual bool has_passed() = 0;
    /// Lets LibTorch's current stream wait for it, and what was kept go: its memory is used again
    /// only by what the current stream is given later.
    virtual void lead_current_stream() = 0;
  };

  virtual ~NcclLink() = default;

  /// Where the tensors are that it moves.
  virtual c10::Device device() const = 0;
  virtual Versions versions() const = 0;
  /// A new end on the same device, for another communicator.
  virtual std::unique_ptr<NcclLink> another() const = 0;
  /// Makes the device this thread's, before it asks anything.
  virtual void use_in_this_thread() {}

  virtual NcclId make_id() = 0;
  /// Starts to connect the ranks; progress() says when that is done.
  virtual void begin_join(const NcclId& id, int rank, int size) = 0;
  /// Of the join or of the latest work; a failure may come at any time, from a link or a peer. Work
  /// is on the stream, and other work may be given, only when it is ready.
  virtual Progress progress() = 0;

  /// Lets the stream wait for all that LibTorch's current stream has been given so far.
  virtual void follow_current_stream() = 0;
  /// Keeps the memory of a tensor from being used again before the current stream has been led
  /// behind the next mark; where it never is, for as long as this object lives.
  virtual void keep(const at::Tensor& tensor) = 0;

  // Work of NCCL; every rank gives the same kinds in the same order.
  /// A group of sends and receives, which run together, in whatever order.
  virtual void exchange(const std::vector<Message>& sends,
                        const std::vector<Message>& receives) = 0;
  /// Shapes   from: `bytes`, of each rank; to: (ranks, bytes).
  virtual void all_gather(std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  /// In place. A minimum or maximum may lose a NaN.
  virtual void all_reduce(c10::ScalarType dtype, Reduction reduction, std::byte* values,
                          std::int64_t count) = 0;
  virtual void broadcast(std::byte* data, std::int64_t bytes, int root) = 0;

  virtual void copy(std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  /// into[i] = parts[0][i] + parts[1][i] + ..., in this order, or the smallest or largest of them.
  /// Shapes   parts: (ranks, count); into: (count), which may be the first of the parts.
  virtual void reduce(c10::ScalarType dtype, Reduction reduction, std::byte* into,
                      const std::byte* parts, std::int64_t count, int ranks) = 0;

  virtual std::shared_ptr<Mark> mark() = 0;

  /// Ends what runs, wherever it is; its marks pass.
  virtual void abort() noexcept = 0;
  /// Leaves the communicator once all its ranks have nothing under way; gives up after `seconds`.
  virtual void leave(double seconds) noexcept = 0;
};

/// NCCL and CUDA themselves, on a GPU of this process.
/// Errors   Error(Cause::cluster) in a program that was built without CUDA.
std::unique_ptr<NcclLink> make_nccl_link(c10::Device device);

}  // namespace micrec
