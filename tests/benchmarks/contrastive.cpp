// Times the contrastive loss, ranks being threads of this process, and reports what memory it took:
//   benchmark_contrastive step PEOPLE BATCH [RANKS [THREADS [DIM [REPEATS]]]]
//     whole steps, forward and backward, on BATCH people (0: all) chosen out of PEOPLE whose rows
//     are there; with the choice itself
//   benchmark_contrastive compare PEOPLE BATCH [RANKS [THREADS [DIM [REPEATS]]]]
//     the same in turn with tiles of LibTorch's products whose backward sums over ranks
//   benchmark_contrastive slice PEOPLE ROWS [RANKS [THREADS [DIM]]]
//     the rows of all PEOPLE are gathered on every rank and everything a step on all of them keeps
//     is taken, but logits are computed for ROWS people of each rank only, against all; and the
//     time that all rows would take is estimated from theirs. Not a training step: the sums of
//     people who are not among the ROWS are made up.
// Seconds are medians: of the clock, and of all threads' work, which other programs disturb less
// (set OMP_WAIT_POLICY=passive, or it counts waiting threads).

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "base/timer.h"
#include "cluster/thread_communicator.h"
#include "graph/operators.h"
#include "kernels/dispatch.h"
#include "kernels/streamed_softmax.h"
#include "model/contrastive_loss.h"
#include "model/contrastive_share.h"
#include "tests/benchmarks/processor_seconds.h"

namespace micrec {
namespace {

constexpr double kTemperature = 0.2;
constexpr double kMebibyte = 1 << 20;

struct Options {
  std::int64_t people = 0;
  std::int64_t chosen = 0;  // people of a step, or rows of a slice
  int ranks = 1;
  int threads = 1;
  std::int64_t dim = 64;
  int repeats = 5;
};

struct Seconds {
  double wall = 0;
  double work = 0;
};

// One after the other on all ranks: what `body` took, waiting for the slowest included.
Seconds measure(Communicator& communicator, const std::function<void()>& body) {
  communicator.barrier("before");
  const Timer timer;
  const double before = processor_seconds();
  body();
  communicator.barrier("after");
  return {timer.seconds(), processor_seconds() - before};
}

Seconds median(const std::vector<Seconds>& all) {
  const auto of = [&](double Seconds::*member) {
    std::vector<double> values;
    for (const Seconds& seconds : all) values.push_back(seconds.*member);
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
  };
  return {of(&Seconds::wall), of(&Seconds::work)};
}

void report(const char* what, Seconds seconds, double multiply_adds) {
  std::printf("  %-44s %10.4f s %10.4f s of work", what, seconds.wall, seconds.work);
  if (multiply_adds > 0) {
    std::printf("  %6.1f GFLOP/s of a core", 2e-9 * multiply_adds / seconds.work);
  }
  std::printf("\n");
  std::fflush(stdout);
}

at::Tensor unit_rows(const at::Tensor& x) {
  return x / (x * x).sum(1, /*keepdim=*/true).clamp_min(1e-16).sqrt();
}

// The loss as tiles of LibTorch's products: each direction computes its logits again in the
// backward pass, and the gradients of the rows of all people are summed over ranks. Rows are taken
// as normalised.
class LibTorchTiles {
 public:
  LibTorchTiles(Communicator& communicator, std::vector<std::int64_t> rows_per_rank)
      : communicator_(communicator), rows_per_rank_(std::move(rows_per_rank)) {
    const auto own = rows_per_rank_.begin() + communicator.rank();
    offset_ = std::accumulate(rows_per_rank_.begin(), own, std::int64_t{0});
  }

  double forward(const at::Tensor& a, const at::Tensor& b) {
    a_ = a;
    b_ = b;
    all_a_ = communicator_.all_gather("first", a, rows_per_rank_);
    all_b_ = communicator_.all_gather("second", b, rows_per_rank_);
    a_log_sums_ = log_sums(a, all_b_);
    b_log_sums_ = log_sums(b, all_a_);
    const at::Tensor positives = (a * b).sum(1) / kTemperature;
    return (a_log_sums_ + b_log_sums_ - 2 * positives).to(at::kDouble).sum().item<double>() /
           (2.0 * static_cast<double>(all_a_.size(0)));
  }

  std::pair<at::Tensor, at::Tensor> backward() {
    auto [a_of_own, b_of_all] = gradients(a_, all_b_, a_log_sums_);
    auto [b_of_own, a_of_all] = gradients(b_, all_a_, b_log_sums_);
    communicator_.all_reduce("first", a_of_all);
    communicator_.all_reduce("second", b_of_all);
    return {a_of_own + a_of_all.narrow(0, offset_, a_.size(0)),
            b_of_own + b_of_all.narrow(0, offset_, b_.size(0))};
  }

 private:
  static constexpr std::int64_t kRows = 256;
  static constexpr std::int64_t kColumns = 4096;

  static at::Tensor log_sums(const at::Tensor& own, const at::Tensor& all) {
    const std::int64_t rows = own.size(0);
    at::Tensor result = at::empty({rows}, own.options());
    for (std::int64_t r = 0; r < rows; r += kRows) {
      const at::Tensor tile_rows = own.slice(0, r, std::min(rows, r + kRows));
      at::Tensor highest, sum;
      for (std::int64_t c = 0; c < all.size(0); c += kColumns) {
        const at::Tensor logits =
            at::mm(tile_rows, all.slice(0, c, std::min(all.size(0), c + kColumns)).t())
                .div_(kTemperature);
        const at::Tensor tile_highest = std::get<0>(logits.max(1));
        const at::Tensor tile_sum = (logits - tile_highest.unsqueeze(1)).exp_().sum(1);
        if (c == 0) {
          highest = tile_highest;
          sum = tile_sum;
        } else {
          const at::Tensor raised = at::maximum(highest, tile_highest);
          sum = sum * (highest - raised).exp() + tile_sum * (tile_highest - raised).exp();
          highest = raised;
        }
      }
      result.slice(0, r, r + tile_rows.size(0)).copy_(highest + sum.log());
    }
    return result;
  }

  std::pair<at::Tensor, at::Tensor> gradients(const at::Tensor& own, const at::Tensor& all,
                                              const at::Tensor& sums) const {
    const std::int64_t rows = own.size(0);
    at::Tensor of_own = at::zeros_like(own);
    at::Tensor of_all = at::zeros_like(all);
    for (std::int64_t r = 0; r < rows; r += kRows) {
      const std::int64_t end = std::min(rows, r + kRows);
      const at::Tensor tile_rows = own.slice(0, r, end);
      for (std::int64_t c = 0; c < all.size(0); c += kColumns) {
        const at::Tensor tile_all = all.slice(0, c, std::min(all.size(0), c + kColumns));
        const at::Tensor shares = at::mm(tile_rows, tile_all.t())
                                      .div_(kTemperature)
                                      .sub_(sums.slice(0, r, end).unsqueeze(1))
                                      .exp_();
        of_own.slice(0, r, end).addmm_(shares, tile_all);
        of_all.slice(0, c, c + tile_all.size(0)).addmm_(shares.t(), tile_rows);
      }
    }
    of_own -= all.slice(0, offset_, offset_ + rows);
    of_all.slice(0, offset_, offset_ + rows) -= own;
    const double factor = 1 / (2 * kTemperature * static_cast<double>(all.size(0)));
    return {of_own * factor, of_all * factor};
  }

  Communicator& communicator_;
  std::vector<std::int64_t> rows_per_rank_;
  std::int64_t offset_;
  at::Tensor a_, b_, all_a_, all_b_, a_log_sums_, b_log_sums_;
};

void run_steps(const Options& options, bool compare) {
  DatasetSummary summary{NodeSpace({options.people, options.people}, {1, 1}), {}, {}, {}};
  summary.people.count = options.people;
  for (int domain = 0; domain < 2; ++domain) {
    for (std::int64_t person = 0; person < options.people; ++person) {
      summary.people.person.push_back(static_cast<std::int32_t>(person));
    }
  }
  summary.training_degree.assign(summary.space.nodes(), 1);
  const Timer finding;
  const std::vector<OverlapPair> pairs =
      find_overlaps(summary.space, summary.people, summary.training_degree);
  report("find_overlaps, once", {finding.seconds(), finding.seconds()}, 0);
  const Ownership ownership = assign_by_hash(summary.space, summary.people, options.ranks);

  run_ranks(options.ranks, [&](Communicator& communicator) {
    at::set_num_threads(options.threads);
    const bool speaks = communicator.rank() == 0;
    Shard shard;
    shard.ownership = shard.whole = ownership;
    shard.communicator = &communicator;
    const std::vector<GlobalNode> owned = ownership.nodes_of(communicator.rank());
    shard.row_of.assign(summary.space.nodes(), -1);
    for (std::size_t row = 0; row < owned.size(); ++row) {
      shard.row_of[value(owned[row])] = static_cast<std::int32_t>(row);
    }
    // The final rows z of this rank's nodes, a person's two related.
    const at::Tensor z = at::empty({static_cast<std::int64_t>(owned.size()), options.dim});
    const Random random(5, Purpose::synthetic);
    for (std::size_t row = 0; row < owned.size(); ++row) {
      const auto node = static_cast<std::uint64_t>(value(owned[row]));
      float* const to = z.mutable_data_ptr<float>() + row * options.dim;
      for (std::int64_t c = 0; c < options.dim; c += 2) {
        const auto column = static_cast<std::uint32_t>(c);
        const auto shared = random.normal(node % options.people, column);
        const auto own = random.normal(node, 32768 + column);
        for (std::int64_t k = c; k < std::min(c + 2, options.dim); ++k) {
          to[k] = static_cast<float>(shared[k - c] + 0.5 * own[k - c]);
        }
      }
    }
    communicator.barrier("rows");
    const double before = peak_memory_bytes();
    std::vector<Seconds> choosing, forward, backward, torch_forward, torch_backward;
    double multiply_adds = 0;
    for (int repeat = 0; repeat < options.repeats; ++repeat) {
      ContrastiveBatch batch;
      choosing.push_back(measure(communicator, [&] {
        batch = choose_people(pairs[0], shard, options.chosen, 1, repeat);
      }));
      const double count = static_cast<double>(batch.positions.size());
      multiply_adds = 2 * count * count * static_cast<double>(options.dim);
      at::Tensor first = take_rows(z, batch.first_rows).requires_grad_(true);
      at::Tensor second = take_rows(z, batch.second_rows).requires_grad_(true);
      at::Tensor share;
      forward.push_back(measure(communicator, [&] {
        share = contrastive_share(first, second, batch.rows_per_rank, batch.positions, kTemperature,
                                  communicator);
      }));
      backward.push_back(measure(communicator, [&] { share.backward(); }));
      if (speaks && repeat == 0) std::printf("  loss %.9f\n", share.item<double>());
      if (!compare) continue;
      const at::NoGradGuard no_grad;
      const at::Tensor a = unit_rows(first), b = unit_rows(second);
      LibTorchTiles tiles(communicator, batch.rows_per_rank);
      double torch_loss = 0;
      torch_forward.push_back(measure(communicator, [&] { torch_loss = tiles.forward(a, b); }));
      torch_backward.push_back(measure(communicator, [&] { tiles.backward(); }));
      at::Tensor sum = at::scalar_tensor(torch_loss, at::kDouble).unsqueeze(0);
      communicator.all_reduce("loss", sum);
      if (speaks && repeat == 0)
        std::printf("  loss of LibTorch's tiles %.9f\n", sum.item<double>());
    }
    // What LibTorch's products of such tiles reach by themselves.
    Seconds across, along;
    const std::int64_t rows = std::min<std::int64_t>(256, z.size(0));
    const std::int64_t columns = std::min<std::int64_t>(4096, z.size(0));
    constexpr int kProducts = 100;
    if (compare) {
      const at::Tensor right = z.slice(0, 0, columns);
      const at::Tensor logits = at::mm(z.slice(0, 0, rows), right.t());
      across = measure(communicator, [&] {
        for (int n = 0; n < kProducts; ++n) at::mm(z.slice(0, 0, rows), right.t());
      });
      along = measure(communicator, [&] {
        for (int n = 0; n < kProducts; ++n) at::mm(logits, right);
      });
    }
    if (!speaks) return;
    report("choose_people", median(choosing), 0);
    report("forward", median(forward), multiply_adds);
    report("backward", median(backward), 2 * multiply_adds);
    if (compare) {
      const double of_products = static_cast<double>(rows) * static_cast<double>(columns) *
                                 static_cast<double>(options.dim) * kProducts * options.ranks;
      report("LibTorch's products alone, for logits", across, of_products);
      report("LibTorch's products alone, of logits", along, of_products);
      report("LibTorch's tiles, forward", median(torch_forward), multiply_adds);
      report("LibTorch's tiles, backward", median(torch_backward), 3 * multiply_adds);
      const Seconds ours = median(forward), ours_back = median(backward);
      const Seconds torch = median(torch_forward), torch_back = median(torch_backward);
      std::printf("  times as fast as LibTorch's tiles: %.2f by the clock, %.2f in work\n",
                  (torch.wall + torch_back.wall) / (ours.wall + ours_back.wall),
                  (torch.work + torch_back.work) / (ours.work + ours_back.work));
    }
    std::printf("  memory at most %.0f MiB over all ranks, %.0f MiB of it before the first step\n",
                peak_memory_bytes() / kMebibyte, before / kMebibyte);
  });
}

void run_slice(const Options& options) {
  run_ranks(options.ranks, [&](Communicator& communicator) {
    at::set_num_threads(options.threads);
    const std::int64_t people = options.people;
    const std::int64_t dim = options.dim;
    const int rank = communicator.rank();
    std::vector<std::int64_t> rows_per_rank(options.ranks);
    for (int r = 0; r < options.ranks; ++r) {
      rows_per_rank[r] = people * (r + 1) / options.ranks - people * r / options.ranks;
    }
    const std::int64_t own = rows_per_rank[rank];
    const std::int64_t offset = people * rank / options.ranks;
    const std::int64_t slice = std::min(options.chosen, own);
    std::vector<std::int32_t> places(people);
    std::iota(places.begin(), places.end(), 0);
    at::Tensor all;
    const Seconds gathering = measure(communicator, [&] {
      // Rows of both sides, as contrastive_share sends them.
      at::Tensor rows = at::randn({own, 2 * dim});
      rows.mul_(static_cast<float>(1 / std::sqrt(static_cast<double>(dim))));
      all = communicator.all_gather("rows", rows, rows_per_rank);
    });
    const float* const data = all.const_data_ptr<float>();
    const auto scale = static_cast<float>(1 / (std::log(2.0) * kTemperature));
    std::vector<double> sums(own);
    std::vector<float> own_logits(own), exponents(own), inverse(own);
    // Made up for all but this rank's slice, and of the size that they would have.
    std::vector<float> all_inverse(people + kSoftmaxGroup, 1.0F / static_cast<float>(people));
    std::vector<float> all_exponents(people + kSoftmaxGroup, 0.0F);
    const at::Tensor first_gradient = at::zeros({own, dim}),
                     second_gradient = at::zeros({own, dim});
    Seconds forward, backward;
    const auto pass = [&](int side, bool back) {
      const SoftmaxRows x{data + offset * 2 * dim + side * dim, 2 * dim, slice,
                          places.data() + offset};
      const SoftmaxFactor y{data + (1 - side) * dim, 2 * dim, dim, people, places.data()};
      if (!back) {
        softmax_sums(x, y, scale, sums.data(), exponents.data(), own_logits.data());
        for (std::int64_t n = 0; n < slice; ++n) inverse[n] = static_cast<float>(1 / sums[n]);
        return;
      }
      softmax_gradient(x, y, scale, {inverse.data(), exponents.data()},
                       {all_inverse.data(), all_exponents.data()},
                       (side == 0 ? first_gradient : second_gradient).mutable_data_ptr<float>());
    };
    forward = measure(communicator, [&] { pass(0, false), pass(1, false); });
    backward = measure(communicator, [&] { pass(0, true), pass(1, true); });
    if (rank != 0) return;
    const double multiply_adds = 2.0 * static_cast<double>(slice) * options.ranks *
                                 static_cast<double>(people) * static_cast<double>(dim);
    report("making up and gathering all rows", gathering, 0);
    report("forward of the slice", forward, multiply_adds);
    report("backward of the slice", backward, 2 * multiply_adds);
    const double part = static_cast<double>(slice) / static_cast<double>(own);
    std::printf("  estimate for all rows, not run: %.0f s by the clock, %.0f s of work\n",
                (forward.wall + backward.wall) / part, (forward.work + backward.work) / part);
    std::printf("  memory at most %.0f MiB over all ranks\n", peak_memory_bytes() / kMebibyte);
  });
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  const std::string kind = argc > 1 ? argv[1] : "";
  const bool known = kind == "step" || kind == "compare" || kind == "slice";
  if (!known || argc < 4) {
    std::fprintf(stderr,
                 "usage: %s step|compare|slice PEOPLE BATCH|ROWS [RANKS [THREADS [DIM "
                 "[REPEATS]]]]\n",
                 argv[0]);
    return 2;
  }
  micrec::Options options;
  options.people = std::atoll(argv[2]);
  options.chosen = std::atoll(argv[3]);
  if (argc > 4) options.ranks = std::atoi(argv[4]);
  if (argc > 5) options.threads = std::atoi(argv[5]);
  if (argc > 6) options.dim = std::atoll(argv[6]);
  if (argc > 7) options.repeats = std::atoi(argv[7]);
  const micrec::ComputeThreads threads(options.threads);
  std::printf("%s: %lld people, %lld of them, %d ranks of %d threads, %lld columns, kernels %s\n",
              kind.c_str(), static_cast<long long>(options.people),
              static_cast<long long>(options.chosen), options.ranks, options.threads,
              static_cast<long long>(options.dim), micrec::kernels().instruction_set);
  if (kind == "slice") {
    micrec::run_slice(options);
  } else {
    micrec::run_steps(options, kind == "compare");
  }
}
