#include "evaluate/evaluator.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/stopped.h"
#include "base/text.h"
#include "evaluate/device_ranking.h"
#include "kernels/device_pace.h"
#include "kernels/rows.h"
#include "model/item_regression/recency.h"

namespace micrec {
namespace {

constexpr double kUnit = 1.0 / (1LL << 36);  // metrics are added as multiples of it

/// Calls use(gathered) with all items in one block, or in several twice: a relevant item may be in
/// any block and is compared with all, so that its score must be known before the first is counted.
/// A block is gathered when a device has done the one before.
template <typename Gather, typename Score, typename Count>
void score_and_count(std::int64_t items, std::int64_t block, c10::Device device,
                     const Gather& gather, const Score& score, const Count& count) {
  const auto gathered = [&](std::int64_t begin) {
    return gather(Range{begin, std::min(items, begin + block)});
  };
  if (items <= block) {
    const auto candidates = gathered(0);
    score(candidates);
    count(candidates);
    return;
  }
  DevicePace pace(0);
  const auto in_blocks = [&](const auto& use) {
    for (std::int64_t begin = 0; begin < items; begin += block) {
      use(gathered(begin));
      pace.given(device);
    }
  };
  in_blocks(score);
  in_blocks(count);
}

/// Those of the terms that a mix takes.
ScoreTerms terms_of(const ScoreTerms& all, std::span<const ScoreMix> mixes) {
  bool takes_embeddings = false;
  bool takes_coefficients = false;
  for (const ScoreMix& mix : mixes) {
    takes_embeddings |= mix.embeddings;
    takes_coefficients |= !mix.is_product_alone();
  }
  CHECK(!takes_coefficients || all.coefficients != nullptr) << "a mix needs coefficients";
  CHECK(!takes_embeddings || all.z.size(1) > 0) << "a mix needs embeddings";
  return {takes_embeddings ? all.z : all.z.narrow(1, 0, 0),
          takes_coefficients ? all.coefficients : nullptr, all.half_life};
}

/// The length of the longest list.
std::int64_t longest(const std::vector<std::int64_t>& offsets) {
  std::int64_t length = 0;
  for (std::size_t n = 1; n < offsets.size(); ++n) {
    length = std::max(length, offsets[n] - offsets[n - 1]);
  }
  return length;
}

}  // namespace

Evaluator::Evaluator(const EvaluationSource& source, EvaluationOptions options)
    : options_(std::move(options)), ranks_(source.ownership.ranks) {
  const auto& [dataset, space, ownership, rank] = source;
  CHECK(options_.split == Split::valid || options_.split == Split::test);
  CHECK(!options_.k.empty());
  for (const std::int64_t k : options_.k) CHECK_GE(k, 1);
  CHECK_EQ(space.domains(), static_cast<int>(dataset.domains().size()));
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), space.nodes());
  all_items_ = space.items();
  owned_rows_ = std::count(ownership.owner.begin(), ownership.owner.end(), rank);
  owned_users_ = std::count(ownership.owner.begin(), ownership.owner.begin() + space.users(), rank);

  std::vector<std::uint8_t> domains_of_person(dataset.people(), 0);
  for (int d = 0; d < space.domains(); ++d) {
    for (const std::int32_t person : dataset.person_of_user(d)) {
      domains_of_person[person] = std::min(domains_of_person[person] + 1, 2);
    }
  }
  for (int d = 0; d < space.domains(); ++d) {
    domains_.push_back(load_evaluated_domain(source, options_, domains_of_person, d));
  }
  if (!options_.histories) return;
  std::vector<std::int32_t> list_of_person(dataset.people(), -1);
  std::int32_t lists = 0;
  for (EvaluatedDomain& domain : domains_) {
    for (const std::int32_t person : domain.person) {
      if (list_of_person[person] < 0) list_of_person[person] = lists++;
      domain.history_of.push_back(list_of_person[person]);
    }
  }
  histories_ = load_histories(
      dataset, space, options_.with_new_nodes ? Observed::all : Observed::training,
      options_.ages ? HistoryAges::counted : HistoryAges::unknown, list_of_person, lists);
}

bool Evaluator::leaves_out_users() const {
  return std::any_of(domains_.begin(), domains_.end(),
                     [](const EvaluatedDomain& domain) { return domain.leaves_out_users; });
}

/// The rows of the items and their coefficients, of all ranks. Ranks: collective.
Evaluator::GatheredItems Evaluator::gather_items(const EvaluatedDomain& domain,
                                                 const ScoreTerms& terms, Range items,
                                                 Communicator& communicator) const {
  const auto owner = domain.owner.begin();
  GatheredItems gathered;
  auto [rows_per_rank, row_of] = arrival_of({owner + items.begin, owner + items.end}, ranks_);
  gathered.row_of = std::move(row_of);
  const int rank = communicator.rank();
  const std::int64_t first = domain.first_item_row + std::count(owner, owner + items.begin, rank);
  const at::Tensor& z = terms.z;
  gathered.rows = at::empty({items.size(), 0}, z.options());
  if (z.size(1) > 0) {
    gathered.rows =
        communicator
            .all_gather("evaluate.items", z.narrow(0, first, rows_per_rank[rank]).contiguous(),
                        rows_per_rank)
            .contiguous();
  }
  if (terms.coefficients != nullptr) {
    std::vector<std::int64_t> own(rows_per_rank[rank]);
    std::iota(own.begin(), own.end(), first - owned_users_);
    gathered.coefficients = gather_rows("evaluate.coefficients", *terms.coefficients, own,
                                        rows_per_rank, z.device(), communicator);
  }
  return gathered;
}

/// Returns (mixes, positives, groups). most_coefficients: of an item, of all ranks.
std::vector<std::int32_t> Evaluator::count_items_ahead(int number, const ScoreTerms& terms,
                                                       std::span<const ScoreMix> mixes,
                                                       std::int64_t most_coefficients,
                                                       Communicator& communicator,
                                                       const std::function<bool()>& stop) const {
  constexpr std::int64_t kCoefficientBytes = 16;  // by item and by source
  const EvaluatedDomain& domain = domains_[number];
  const at::Tensor& z = terms.z;
  const auto items = static_cast<std::int64_t>(domain.group.size());
  const std::int64_t item_bytes =
      z.size(1) * std::int64_t{sizeof(float)} + most_coefficients * kCoefficientBytes;
  const std::int64_t block =
      std::max<std::int64_t>(1, options_.block_bytes / std::max<std::int64_t>(1, item_bytes));

  const at::Tensor user_rows =
      z.index_select(0, at::tensor(domain.user_row, at::kLong).to(z.device())).contiguous();
  const std::vector<float> weights =
      recency_weights(histories_.newer, half_life_of_domain(terms.half_life, number));
  RankedUsers users = {
      {}, terms.coefficients == nullptr ? nullptr : &histories_.items, domain.history_of, weights};
  const auto group_of = [&](Range range) {
    return std::span(domain.group).subspan(range.begin, range.size());
  };
  const auto gather = [&](Range range) { return gather_items(domain, terms, range, communicator); };

  if (!z.is_cpu()) {
    DeviceRanking ranking(user_rows, users, domain.positives, domain.masked, mixes, domain.groups);
    score_and_count(
        items, block, z.device(),
        [&](Range range) {
          const GatheredItems gathered = gather(range);
          return DeviceCandidates(gathered.rows, range.begin, gathered.row_of, group_of(range),
                                  domain.groups, gathered.coefficients, all_items_);
        },
        [&](const DeviceCandidates& candidates) { ranking.score(candidates); },
        [&](const DeviceCandidates& candidates) { ranking.count(candidates); });
    return ranking.ahead();
  }
  users.rows = values_of(user_rows);
  const std::size_t pairs = domain.positives.values.size();
  std::vector<float> scores(mixes.size() * pairs);
  std::vector<std::int32_t> ahead(mixes.size() * pairs * domain.groups, 0);
  score_and_count(
      items, block, z.device(),
      [&](Range range) {
        const GatheredItems gathered = gather(range);
        return Candidates(
            values_of(gathered.rows), z.size(1), range.begin, gathered.row_of, group_of(range),
            domain.groups,
            terms.coefficients == nullptr ? SparseRows{} : to_host(gathered.coefficients));
      },
      [&](const Candidates& candidates) {
        score_pairs(candidates, users, domain.positives, mixes, scores);
      },
      [&](const Candidates& candidates) {
        count_ahead(candidates, users, domain.positives, mixes, scores, domain.masked, ahead, stop);
      });
  return ahead;
}

void Evaluator::add_metrics(const EvaluatedDomain& domain, std::span<const std::int32_t> ahead,
                            std::int64_t* sums) const {
  const MetricTable metrics(options_.k, domain.candidates);
  const std::int64_t width = sums_of_slice();
  const auto slices = static_cast<std::int64_t>(domain.slice_names.size());
  std::mutex mutex;
  parallel_for(domain.positives.size(), 1024, [&](std::int64_t begin, std::int64_t end) {
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
          for (std::size_t v = 0; options_.squares && v < values.size(); ++v)
            sum[2 + values.size() + v] += std::llround(values[v] * values[v] / kUnit);
        }
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (std::size_t n = 0; n < own.size(); ++n) sums[n] += own[n];
  });
}

/// All ranks must come to the same decision here, or those that go on would wait for the others.
/// Returns the largest number of coefficients of an item, of all ranks.
std::int64_t Evaluator::refuse_infinite_scores(const ScoreTerms& terms,
                                               std::span<const ScoreMix> mixes,
                                               Communicator& communicator) const {
  const at::Tensor& z = terms.z;
  std::vector<double> own = {
      largest_row_norm(z.narrow(0, 0, owned_users_)),
      largest_row_norm(z.narrow(0, owned_users_, owned_rows_ - owned_users_))};
  if (terms.coefficients != nullptr) {
    own.push_back(largest_absolute(terms.coefficients->value));
    own.push_back(static_cast<double>(longest(terms.coefficients->offsets)));
    own.push_back(static_cast<double>(longest(histories_.items.offsets)));
  }
  at::Tensor largest = at::tensor(own, at::kDouble).to(z.device());
  communicator.all_reduce("evaluate.norms", largest, Reduction::max);
  const at::Tensor host = largest.cpu();
  const auto of = [&](int n) { return host[n].item<double>(); };
  const bool linear = terms.coefficients != nullptr;
  const double linear_term = linear ? largest_linear_term(mixes, of(4), of(2)) : 0;
  micrec::refuse_infinite_scores(of(0), of(1), linear_term);
  return linear ? static_cast<std::int64_t>(of(3)) : 0;
}

/// Users, positives, metrics and, where they are wanted, squares of metrics.
std::int64_t Evaluator::sums_of_slice() const {
  return 2 + MetricTable(options_.k, 1).values() * (options_.squares ? 2 : 1);
}

Report Evaluator::to_report(const std::int64_t* sum) const {
  const std::int64_t values = MetricTable(options_.k, 1).values();
  const auto means_of = [&](const std::int64_t* sums_of, std::int64_t users) {
    std::vector<double> means(values, 0.0);
    for (std::int64_t v = 0; v < values && users > 0; ++v) {
      means[v] = static_cast<double>(sums_of[v]) * kUnit / static_cast<double>(users);
    }
    return means;
  };
  Report report;
  report.split = options_.split;
  report.k = options_.k;
  for (const EvaluatedDomain& domain : domains_) {
    DomainReport& out = report.domains.emplace_back();
    out.name = domain.name;
    out.candidates = domain.candidates;
    out.eligible_users = domain.eligible_users;
    for (const std::string& name : domain.slice_names) {
      SliceReport slice = {name, sum[0], sum[1], means_of(sum + 2, sum[0]), {}};
      if (options_.squares) slice.squares = means_of(sum + 2 + values, sum[0]);
      if (slice.users > 0 || name == "all") out.slices.push_back(std::move(slice));
      sum += sums_of_slice();
    }
  }
  return report;
}

Report Evaluator::evaluate(const at::Tensor& z, Communicator& communicator,
                           ItemsAhead* items_ahead) const {
  const std::vector<ScoreMix> product_alone(domains_.size());
  return evaluate({z}, product_alone, communicator, items_ahead);
}

Report Evaluator::evaluate(const ScoreTerms& terms, std::span<const ScoreMix> mixes,
                           Communicator& communicator, ItemsAhead* items_ahead) const {
  return evaluate_ways(terms, {{mixes.begin(), mixes.end()}}, communicator, items_ahead).front();
}

std::vector<Report> Evaluator::evaluate_ways(const ScoreTerms& given,
                                             const std::vector<std::vector<ScoreMix>>& ways,
                                             Communicator& communicator,
                                             ItemsAhead* items_ahead) const {
  CHECK_EQ(given.z.dim(), 2);
  CHECK_EQ(given.z.size(0), owned_rows_);
  CHECK(given.z.scalar_type() == at::kFloat) << "embeddings must be float32";
  CHECK_EQ(communicator.size(), ranks_);
  CHECK(!ways.empty());
  const ScoreTerms terms = {given.z.detach().contiguous(), given.coefficients, given.half_life};
  std::vector<ScoreMix> all_mixes;
  for (const std::vector<ScoreMix>& mixes : ways) {
    CHECK_EQ(mixes.size(), domains_.size());
    all_mixes.insert(all_mixes.end(), mixes.begin(), mixes.end());
  }
  if (terms.coefficients != nullptr) {
    CHECK(options_.histories) << "a linear term needs histories";
    CHECK_EQ(terms.coefficients->rows(), owned_rows_ - owned_users_);
    CHECK(options_.ages || !has_recency(terms.half_life)) << "recency needs ages";
  }
  const std::int64_t most_coefficients = refuse_infinite_scores(terms, all_mixes, communicator);

  const std::int64_t width = sums_of_slice();
  std::int64_t slices = 0;
  for (const EvaluatedDomain& domain : domains_) {
    slices += static_cast<std::int64_t>(domain.slice_names.size());
  }
  std::function<bool()> stop;
  std::atomic<bool> is_stopped = false;  // once asked to, whatever it is asked later
  if (options_.is_asked_to_stop) {
    stop = [&] {
      if (!is_stopped && options_.is_asked_to_stop()) is_stopped = true;
      return is_stopped.load();
    };
  }
  const auto count = static_cast<std::int64_t>(ways.size());
  at::Tensor sums = at::zeros({count, slices, width}, at::kLong);
  std::int64_t begin = 0;  // of a domain's sums among those of a way
  for (std::size_t d = 0; d < domains_.size(); ++d) {
    const EvaluatedDomain& domain = domains_[d];
    std::vector<ScoreMix> mixes;
    for (const std::vector<ScoreMix>& way : ways) mixes.push_back(way[d]);
    std::vector<std::int32_t> ahead = count_items_ahead(
        static_cast<int>(d), terms_of(terms, mixes), mixes, most_coefficients, communicator, stop);
    if (stop && on_any_rank(communicator, "evaluate.stop", stop())) throw Stopped();
    const std::size_t of_way = ahead.size() / ways.size();
    for (std::int64_t way = 0; way < count; ++way) {
      add_metrics(domain, std::span(ahead).subspan(way * of_way, of_way),
                  sums.data_ptr<std::int64_t>() + way * slices * width + begin);
    }
    if (items_ahead != nullptr) {
      ahead.resize(of_way);
      items_ahead->push_back(std::move(ahead));
    }
    begin += static_cast<std::int64_t>(domain.slice_names.size()) * width;
  }
  sums = sums.to(terms.z.device());
  communicator.all_reduce("evaluate.metrics", sums);
  const at::Tensor host = sums.cpu();
  std::vector<Report> reports;
  for (std::int64_t way = 0; way < count; ++way) {
    reports.push_back(to_report(host.const_data_ptr<std::int64_t>() + way * slices * width));
  }
  return reports;
}

}  // namespace micrec
