// The contract of communicators on NCCL itself: started by mpirun, a rank a GPU, or several where
// NCCL_MULTI_RANK_GPU_ENABLE=1 and NCCL lets them share.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "cluster/device.h"
#include "cluster/mpi_communicator.h"
#include "cluster/nccl_communicator.h"
#include "tests/cluster/contract.h"

namespace micrec {
namespace {

// Brings the processes together after a test whose own communicator has failed on purpose.
std::unique_ptr<MpiCommunicator> g_between_tests;
c10::Device g_device(c10::kCPU);
std::string g_why_skipped;

// Takes the tensors of the contract, which are in main memory, to the GPU and back.
class ThroughGpu final : public Communicator {
 public:
  explicit ThroughGpu(Communicator& inner) : inner_(inner) {}
  explicit ThroughGpu(std::unique_ptr<Communicator> inner)
      : owned_(std::move(inner)), inner_(*owned_) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  int rank_in_run(int rank) const override { return inner_.rank_in_run(rank); }
  int ranks_in_run() const override { return inner_.ranks_in_run(); }
  std::uint64_t latest_number() const override { return inner_.latest_number(); }
  std::unique_ptr<Communicator> split(const char* name, int color) override {
    return std::make_unique<ThroughGpu>(inner_.split(name, color));
  }
  void barrier(const char* name) override { inner_.barrier(name); }
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows) override {
    return inner_.all_gather(name, there(local), rows).cpu();
  }
  at::Tensor reduce_scatter(const char* name, const at::Tensor& full,
                            const std::vector<std::int64_t>& rows) override {
    return inner_.reduce_scatter(name, there(full), rows).cpu();
  }
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) override {
    return inner_.all_to_all(name, there(send), send_rows, receive_rows).cpu();
  }
  std::unique_ptr<PendingTensor> start_all_gather(const char* name, const at::Tensor& local,
                                                  const std::vector<std::int64_t>& rows) override {
    return std::make_unique<Back>(inner_.start_all_gather(name, there(local), rows));
  }
  std::unique_ptr<PendingTensor> start_all_to_all(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows) override {
    return std::make_unique<Back>(
        inner_.start_all_to_all(name, there(send), send_rows, receive_rows));
  }
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) override {
    const at::Tensor moved = there(into);
    return std::make_unique<BackInto>(
        inner_.start_all_to_all_into(name, there(send), send_rows, receive_rows, moved, first_rows),
        into, receive_rows, first_rows);
  }
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction) override {
    at::Tensor moved = there(values);
    inner_.all_reduce(name, moved, reduction);
    values.detach().copy_(moved);
  }
  void broadcast(const char* name, at::Tensor& values, int root) override {
    at::Tensor moved = there(values);
    inner_.broadcast(name, moved, root);
    values.detach().copy_(moved);
  }
  void poll(const char* name) override { inner_.poll(name); }
  Ledger& ledger() override { return inner_.ledger(); }
  void abort(const std::string& why) noexcept override { inner_.abort(why); }

 private:
  class Back final : public PendingTensor {
   public:
    explicit Back(std::unique_ptr<PendingTensor> inner) : inner_(std::move(inner)) {}
    at::Tensor wait() override { return inner_->wait().cpu(); }

   private:
    std::unique_ptr<PendingTensor> inner_;
  };

  // Only the rows received go back: the others may have changed here meanwhile.
  class BackInto final : public PendingTensor {
   public:
    BackInto(std::unique_ptr<PendingTensor> inner, at::Tensor into,
             std::vector<std::int64_t> receive_rows, std::vector<std::int64_t> first_rows)
        : inner_(std::move(inner)),
          into_(std::move(into)),
          receive_rows_(std::move(receive_rows)),
          first_rows_(std::move(first_rows)) {}
    at::Tensor wait() override {
      const at::Tensor moved = inner_->wait();
      for (std::size_t q = 0; q < receive_rows_.size(); ++q) {
        into_.narrow(0, first_rows_[q], receive_rows_[q])
            .copy_(moved.narrow(0, first_rows_[q], receive_rows_[q]));
      }
      return into_;
    }

   private:
    std::unique_ptr<PendingTensor> inner_;
    at::Tensor into_;
    std::vector<std::int64_t> receive_rows_;
    std::vector<std::int64_t> first_rows_;
  };

  static at::Tensor there(const at::Tensor& tensor) { return tensor.detach().to(g_device); }

  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
};

class NcclOnGpus : public testing::TestWithParam<std::tuple<ContractTest, bool>> {};

TEST_P(NcclOnGpus, Holds) {
  if (!g_why_skipped.empty()) GTEST_SKIP() << g_why_skipped;
  const auto& [test, in_part] = GetParam();
  const int ranks = g_between_tests->size() - (in_part ? kRanksBesideAPart : 0);
  if (ranks < 1) GTEST_SKIP() << "needs more ranks to take a part of";
  test.check([=, in_part = in_part](const CommunicatorOptions& options,
                                    const std::function<void(Communicator&)>& body) {
    const std::unique_ptr<MpiCommunicator> host = MpiCommunicator::world(options);
    std::unique_ptr<NcclLink> link = make_nccl_link(g_device);
    const NcclId id = NcclCommunicator::share_id(*g_between_tests, *link);
    // Connecting takes seconds, which a test of deadlines has not.
    CommunicatorOptions patient = options;
    patient.deadline_seconds = std::max(60.0, options.deadline_seconds);
    NcclCommunicator nccl(*host, std::move(link), id, patient);
    ThroughGpu group(nccl);
    g_between_tests->barrier("test.joined");
    bool failed = false;
    try {
      in_part ? run_in_part(group, ranks, body) : body(group);
    } catch (const std::exception& exception) {
      failed = true;
      group.abort(exception.what());
    }
    if (on_any_rank(*g_between_tests, "test.failed", failed)) group.abort("the test is over");
    g_between_tests->barrier("test.over");
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclOnGpus,
                         testing::Combine(testing::ValuesIn(contract_tests()), testing::Bool()),
                         [](const auto& info) {
                           return std::get<0>(info.param).name +
                                  (std::get<1>(info.param) ? "_in_part" : "_whole");
                         });

// On ranks other than 0 only failures are worth a line.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_,
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.message());
  }
  int rank_;
};

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  micrec::MpiSession session(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  if (session.rank() != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new micrec::FailurePrinter(session.rank()));
  }
  micrec::g_between_tests = micrec::MpiCommunicator::world({.deadline_seconds = 100});
  try {
    micrec::LaunchEnvironment launch = micrec::read_launch_environment();
    micrec::g_device =
        micrec::choose_device("cuda", micrec::find_gpus(), launch, *micrec::g_between_tests).device;
    micrec::use_device(micrec::g_device);
  } catch (const micrec::Error& error) {
    micrec::g_why_skipped = error.what();
    if (session.rank() == 0) std::printf("Skipped: %s\n", error.what());
  }
  const int failed = RUN_ALL_TESTS();
  micrec::g_between_tests.reset();
  session.finish();
  return failed;
}
