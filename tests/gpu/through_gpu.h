#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/communicator.h"

namespace micrec {

/// How tensors of a test, which are in main memory, come to the device of a communicator and back.
struct Passage {
  std::function<at::Tensor(const at::Tensor& tensor)> there;
  /// Waits until the current stream is done: only then there is something to read.
  std::function<at::Tensor(const at::Tensor& result)> back;
};

/// Takes the tensors of the contract to the device and back. What has ended the communicator before
/// a result was read is thrown instead of it.
class ThroughGpu final : public Communicator {
 public:
  ThroughGpu(Communicator& inner, Passage passage) : inner_(inner), passage_(std::move(passage)) {}
  ThroughGpu(std::unique_ptr<Communicator> inner, Passage passage)
      : owned_(std::move(inner)), inner_(*owned_), passage_(std::move(passage)) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int rank_in_run(int rank) const override { return inner_.rank_in_run(rank); }
  int ranks_in_run() const override { return inner_.ranks_in_run(); }
  std::unique_ptr<Communicator> split(const char* name, int color) override {
    return std::make_unique<ThroughGpu>(inner_.split(name, color), passage_);
  }
  void barrier(const char* name) override { inner_.barrier(name); }
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows) override {
    return back(inner_.all_gather(name, there(local), rows));
  }
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) override {
    return back(inner_.all_to_all(name, there(send), send_rows, receive_rows));
  }
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) override {
    const at::Tensor moved = there(into);
    return std::make_unique<BackInto>(
        *this,
        inner_.start_all_to_all_into(name, there(send), send_rows, receive_rows, moved, first_rows),
        into, receive_rows, first_rows);
  }
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction) override {
    at::Tensor moved = there(values);
    inner_.all_reduce(name, moved, reduction);
    values.detach().copy_(back(moved));
  }
  void broadcast(const char* name, at::Tensor& values, int root) override {
    at::Tensor moved = there(values);
    inner_.broadcast(name, moved, root);
    values.detach().copy_(back(moved));
  }
  void poll(const char* name) override { inner_.poll(name); }
  Ledger& ledger() override { return inner_.ledger(); }
  void abort(const std::string& why) noexcept override { inner_.abort(why); }

 private:
  // Only the rows received go back: the others may have changed here meanwhile.
  class BackInto final : public PendingTensor {
   public:
    BackInto(ThroughGpu& through, std::unique_ptr<PendingTensor> inner, at::Tensor into,
             std::vector<std::int64_t> receive_rows, std::vector<std::int64_t> first_rows)
        : through_(through),
          inner_(std::move(inner)),
          into_(std::move(into)),
          receive_rows_(std::move(receive_rows)),
          first_rows_(std::move(first_rows)) {}
    at::Tensor wait() override {
      const at::Tensor moved = through_.back(inner_->wait());
      for (std::size_t q = 0; q < receive_rows_.size(); ++q) {
        into_.narrow(0, first_rows_[q], receive_rows_[q])
            .copy_(moved.narrow(0, first_rows_[q], receive_rows_[q]));
      }
      return into_;
    }

   private:
    ThroughGpu& through_;
    std::unique_ptr<PendingTensor> inner_;
    at::Tensor into_;
    std::vector<std::int64_t> receive_rows_;
    std::vector<std::int64_t> first_rows_;
  };

  at::Tensor there(const at::Tensor& tensor) const { return passage_.there(tensor.detach()); }
  at::Tensor back(const at::Tensor& result) {
    at::Tensor read = passage_.back(result);
    inner_.poll("test.read");
    return read;
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  Passage passage_;
};

}  // namespace micrec
