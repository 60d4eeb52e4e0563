#include "evaluate/evaluator.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr double kUnit = 1.0 / (1LL << 36);  // metrics are added as multiples of it

std::span<const float> values_of(const at::Tensor& rows) {
  return {rows.const_data_ptr<float>(), static_cast<std::size_t>(rows.numel())};
}

}  // namespace

Evaluator::Evaluator(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
                     int rank, EvaluationOptions options)
    : options_(std::move(options)), ranks_(ownership.ranks) {
  CHECK(options_.split == Split::valid || options_.split == Split::test);
  CHECK(!options_.k.empty());
  for (const std::int64_t k : options_.k) CHECK_GE(k, 1);
  CHECK_EQ(space.domains(), static_cast<int>(dataset.domains().size()));
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), space.nodes());
  owned_rows_ = std::count(ownership.owner.begin(), ownership.owner.end(), rank);
  owned_users_ = std::count(ownership.owner.begin(), ownership.owner.begin() + space.users(), rank);

  EvaluationSource source = {dataset, space,    ownership,
                             rank,    options_, std::vector<std::uint8_t>(dataset.people(), 0)};
  for (int d = 0; d < space.domains(); ++d) {
    for (const std::int32_t person : dataset.person_of_user(d)) {
      source.domains_of_person[person] = std::min(source.domains_of_person[person] + 1, 2);
    }
  }
  for (int d = 0; d < space.domains(); ++d) domains_.push_back(load_evaluated_domain(source, d));
}

/// The rows of the items, of all ranks. Ranks: collective.
Candidates Evaluator::gather_items(const EvaluatedDomain& domain, const at::Tensor& z, Range items,
                                   Communicator& communicator) const {
  const auto owner = domain.owner.begin();
  std::vector<std::int64_t> rows_per_rank(ranks_, 0);
  for (std::int64_t i = items.begin; i < items.end; ++i) ++rows_per_rank[owner[i]];
  std::vector<std::int64_t> next(ranks_, 0);
  for (int q = 1; q < ranks_; ++q) next[q] = next[q - 1] + rows_per_rank[q - 1];
  std::vector<std::int32_t> row_of(items.size());
  for (std::int64_t i = items.begin; i < items.end; ++i) {
    row_of[i - items.begin] = static_cast<std::int32_t>(next[owner[i]]++);
  }
  const int rank = communicator.rank();
  const std::int64_t first = domain.first_item_row + std::count(owner, owner + items.begin, rank);
  const at::Tensor rows =
      communicator
          .all_gather("evaluate.items", z.narrow(0, first, rows_per_rank[rank]).contiguous(),
                      rows_per_rank)
          .cpu()
          .contiguous();
  return Candidates(values_of(rows), z.size(1), items.begin, row_of,
                    std::span(domain.group).subspan(items.begin, items.size()), domain.groups,
                    options_.threads);
}

std::vector<std::int32_t> Evaluator::count_items_ahead(const EvaluatedDomain& domain,
                                                       const at::Tensor& z,
                                                       Communicator& communicator) const {
  const auto items = static_cast<std::int64_t>(domain.group.size());
  const std::int64_t block =
      std::max<std::int64_t>(1, options_.block_bytes / (z.size(1) * std::int64_t{sizeof(float)}));

  const at::Tensor user_rows =
      z.index_select(0, at::tensor(domain.user_row, at::kLong).to(z.device())).cpu().contiguous();
  const std::span<const float> users = values_of(user_rows);

  std::vector<float> scores(domain.positives.items.size());
  std::vector<std::int32_t> ahead(domain.positives.items.size() * domain.groups, 0);
  const auto score = [&](const Candidates& candidates) {
    score_pairs(candidates, users, domain.positives, options_.threads, scores);
  };
  const auto count = [&](const Candidates& candidates) {
    count_ahead(candidates, users, domain.positives, scores, domain.masked, options_.threads,
                ahead);
  };
  const auto gather = [&](std::int64_t begin) {
    return gather_items(domain, z, {begin, std::min(items, begin + block)}, communicator);
  };
  if (items <= block) {
    const Candidates candidates = gather(0);
    score(candidates);
    count(candidates);
    return ahead;
  }
  // A relevant item may be in any block and is compared with all: its score must be known before
  // the first.
  for (std::int64_t begin = 0; begin < items; begin += block) score(gather(begin));
  for (std::int64_t begin = 0; begin < items; begin += block) count(gather(begin));
  return ahead;
}

void Evaluator::add_metrics(const EvaluatedDomain& domain, const std::vector<std::int32_t>& ahead,
                            std::int64_t* sums) const {
  const MetricTable metrics(options_.k, domain.candidates);
  const std::int64_t width = 2 + metrics.values();  // users, positives, metrics
  const auto slices = static_cast<std::int64_t>(domain.slice_names.size());
  std::mutex mutex;
  parallel_for(domain.positives.users(), 1024, options_.threads,
               [&](std::int64_t begin, std::int64_t end) {
                 std::vector<std::int64_t> own(slices * width, 0);
                 std::vector<std::int32_t> ranks;
                 std::vector<double> values(metrics.values());
                 for (std::int64_t user = begin; user < end; ++user) {
                   for (const ItemView& view : domain.views) {
                     ranks_of(domain, view, user, ahead, ranks);
                     if (ranks.empty()) continue;
                     metrics.compute(ranks, values);
                     for (int c = 0; c < kUserClasses; ++c) {
                       if (view.slice[c] < 0 || (domain.user_classes[user] >> c & 1) == 0) continue;
                       std::int64_t* sum = own.data() + view.slice[c] * width;
                       sum[0] += 1;
                       sum[1] += static_cast<std::int64_t>(ranks.size());
                       for (std::size_t v = 0; v < values.size(); ++v)
                         sum[2 + v] += std::llround(values[v] / kUnit);
                     }
                   }
                 }
                 const std::lock_guard<std::mutex> lock(mutex);
                 for (std::size_t n = 0; n < own.size(); ++n) sums[n] += own[n];
               });
}

/// All ranks must come to the same decision here, or those that go on would wait for the others.
void Evaluator::refuse_infinite_scores(const at::Tensor& z, Communicator& communicator) const {
  const auto largest_norm = [&](std::int64_t first, std::int64_t count) {
    const at::Tensor part = z.narrow(0, first, count).cpu();
    return largest_row_norm(values_of(part), part.size(1), options_.threads);
  };
  const double own_norms[] = {largest_norm(0, owned_users_),
                              largest_norm(owned_users_, owned_rows_ - owned_users_)};
  at::Tensor norms = at::tensor(at::ArrayRef<double>(own_norms), at::kDouble).to(z.device());
  communicator.all_reduce("evaluate.norms", norms, Reduction::max);
  const at::Tensor host_norms = norms.cpu();
  const double user_norm = host_norms[0].item<double>();
  const double item_norm = host_norms[1].item<double>();
  if (scores_are_finite(user_norm, item_norm)) return;
  throw Error(
      Cause::diverged,
      text("embeddings give scores that are not finite (largest norms: ", user_norm, " of a user, ",
           item_norm, " of an item), so items cannot be ranked; train again with a lower --lr"));
}

Report Evaluator::to_report(const std::int64_t* sum) const {
  const std::int64_t values = MetricTable(options_.k, 1).values();
  Report report;
  report.split = options_.split;
  report.k = options_.k;
  for (const EvaluatedDomain& domain : domains_) {
    DomainReport& out = report.domains.emplace_back();
    out.name = domain.name;
    out.candidates = domain.candidates;
    for (const std::string& name : domain.slice_names) {
      SliceReport slice = {name, sum[0], sum[1], std::vector<double>(values, 0.0)};
      for (std::int64_t v = 0; v < values && slice.users > 0; ++v) {
        slice.values[v] =
            static_cast<double>(sum[2 + v]) * kUnit / static_cast<double>(slice.users);
      }
      if (slice.users > 0 || name == "all") out.slices.push_back(std::move(slice));
      sum += 2 + values;
    }
  }
  return report;
}

Report Evaluator::evaluate(const at::Tensor& z, Communicator& communicator,
                           ItemsAhead* items_ahead) const {
  CHECK_EQ(z.dim(), 2);
  CHECK_EQ(z.size(0), owned_rows_);
  CHECK_GE(z.size(1), 1);
  CHECK(z.scalar_type() == at::kFloat) << "embeddings must be float32";
  CHECK_EQ(communicator.size(), ranks_);
  const at::Tensor rows = z.detach().contiguous();
  refuse_infinite_scores(rows, communicator);

  const std::int64_t width = 2 + MetricTable(options_.k, 1).values();
  std::int64_t slices = 0;
  for (const EvaluatedDomain& domain : domains_) {
    slices += static_cast<std::int64_t>(domain.slice_names.size());
  }
  at::Tensor sums = at::zeros({slices, width}, at::kLong);
  std::int64_t* next = sums.data_ptr<std::int64_t>();
  for (const EvaluatedDomain& domain : domains_) {
    std::vector<std::int32_t> ahead = count_items_ahead(domain, rows, communicator);
    add_metrics(domain, ahead, next);
    if (items_ahead != nullptr) items_ahead->push_back(std::move(ahead));
    next += static_cast<std::int64_t>(domain.slice_names.size()) * width;
  }
  sums = sums.to(z.device());
  communicator.all_reduce("evaluate.metrics", sums);
  return to_report(sums.cpu().const_data_ptr<std::int64_t>());
}

}  // namespace micrec
