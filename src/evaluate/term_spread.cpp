#include "evaluate/term_spread.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/parallel.h"
#include "base/random.h"
#include "evaluate/gathered_rows.h"
#include "model/item_regression/recency.h"

namespace micrec {
namespace {

constexpr std::int64_t kMost = 1024;  // users and items of a domain

/// The numbers below `count` that are present, or kMost of them by hash; rising.
std::vector<std::int64_t> draw(const std::vector<std::uint8_t>& present) {
  std::vector<std::pair<std::uint32_t, std::int64_t>> drawn;  // (hash, number)
  for (std::size_t n = 0; n < present.size(); ++n) {
    if (present[n] != 0) {
      drawn.emplace_back(mix(static_cast<std::uint32_t>(n)), static_cast<std::int64_t>(n));
    }
  }
  std::ranges::sort(drawn);
  drawn.resize(std::min<std::size_t>(drawn.size(), kMost));
  std::vector<std::int64_t> numbers;
  for (const auto& [hash, number] : drawn) numbers.push_back(number);
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace

PairSample::PairSample(const EvaluationSource& source, HistoryAges ages) {
  const auto& [dataset, space, ownership, rank] = source;
  const auto owner = ownership.owner.begin();
  owned_users_ = std::count(owner, owner + space.users(), rank);
  std::vector<std::int32_t> list_of_person(dataset.people(), -1);
  std::int32_t lists = 0;
  for (int d = 0; d < space.domains(); ++d) {
    std::vector<std::uint8_t> users(space.users_of(d).size(), 0);
    std::vector<std::uint8_t> items(space.items_of(d).size(), 0);
    dataset.for_each_chunk(d, Split::train, [&](const Interactions& chunk) {
      for (const std::int32_t user : chunk.user) users[user] = 1;
      for (const std::int32_t item : chunk.item) items[item] = 1;
    });
    const auto add = [&](const std::vector<std::int64_t>& numbers, std::int64_t first) {
      const auto begin = static_cast<std::int64_t>(nodes_.size());
      for (const std::int64_t number : numbers) nodes_.push_back(first + number);
      return Range{begin, static_cast<std::int64_t>(nodes_.size())};
    };
    const std::vector<std::int64_t> drawn = draw(users);
    OfDomain& domain = domains_.emplace_back();
    domain.users = add(drawn, space.users_of(d).begin);
    domain.items = add(draw(items), space.items_of(d).begin);

    const std::vector<std::int32_t> person = dataset.person_of_user(d);
    for (const std::int64_t user : drawn) {
      std::int32_t& list = list_of_person[person[user]];
      if (list < 0) list = lists++;
      domain.history_of.push_back(list);
    }
  }
  histories_ = load_histories(dataset, space, Observed::training, ages, list_of_person, lists);
  gathered_ = gathered(ownership, rank);
}

PairSample::Gathered PairSample::gathered(const Ownership& ownership, int rank) const {
  std::vector<std::int32_t> row_of(ownership.owner.size());  // among its owner's
  std::vector<std::int32_t> rows(ownership.ranks, 0);
  for (std::size_t node = 0; node < row_of.size(); ++node) {
    row_of[node] = rows[ownership.owner[node]]++;
  }
  Gathered plan;
  std::vector<std::int32_t> owners;
  for (const std::int64_t node : nodes_) {
    owners.push_back(ownership.owner[node]);
    if (owners.back() == rank) plan.own.push_back(row_of[node]);
  }
  plan.arrival = arrival_of(owners, ownership.ranks);
  return plan;
}

/// Shapes   rows: (sampled nodes, dim) float32.
double PairSample::product_spread(const OfDomain& domain, const at::Tensor& rows) const {
  const std::int64_t dim = rows.size(1);
  const std::int64_t items = domain.items.size();
  const std::int64_t users = domain.users.size();
  const float* const z = rows.const_data_ptr<float>();
  if (users * items * dim == 0) return 0;
  std::vector<double> columns(dim * items);  // of the items
  for (std::int64_t i = 0; i < items; ++i) {
    for (std::int64_t k = 0; k < dim; ++k) {
      columns[k * items + i] = z[(domain.items.begin + i) * dim + k];
    }
  }
  std::vector<double> squares(users);  // of the deviations from a user's mean
  parallel_for(users, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> products(items);
    for (std::int64_t u = begin; u < end; ++u) {
      std::ranges::fill(products, 0.0);
      for (std::int64_t k = 0; k < dim; ++k) {
        const double x = z[(domain.users.begin + u) * dim + k];
        for (std::int64_t i = 0; i < items; ++i) products[i] += x * columns[k * items + i];
      }
      double sum = 0;
      for (const double product : products) sum += product;
      const double mean = sum / static_cast<double>(items);
      for (const double product : products) squares[u] += (product - mean) * (product - mean);
    }
  });
  double sum = 0;
  for (const double of_user : squares) sum += of_user;
  return std::sqrt(sum / static_cast<double>(users * items));
}

/// Shapes   coefficients: of the sampled nodes.
double PairSample::regression_spread(const OfDomain& domain, const SparseRows& coefficients,
                                     double half_life) const {
  const std::int64_t items = domain.items.size();
  const std::int64_t users = domain.users.size();
  if (users * items == 0) return 0;
  const SourceRows sources(coefficients,
                           std::span(gathered_.arrival.row_of).subspan(domain.items.begin, items));
  std::vector<double> terms(users * items, 0.0);
  const std::vector<float> weights = recency_weights(histories_.newer, half_life);
  for (std::int64_t u = 0; u < users; ++u) {
    const std::int32_t list = domain.history_of[u];
    for (std::int64_t n = histories_.items.offsets[list]; n < histories_.items.offsets[list + 1];
         ++n) {
      const float weight = weights.empty() ? 1.F : weights[n];
      for (const SourceRows::Entry& entry : sources.of(histories_.items.values[n])) {
        terms[u * items + entry.position] += weight * entry.value;
      }
    }
  }
  double sum = 0;
  for (const double term : terms) sum += term;
  const double mean = sum / static_cast<double>(users * items);
  double squares = 0;
  for (const double term : terms) squares += (term - mean) * (term - mean);
  return std::sqrt(squares / static_cast<double>(users * items));
}

std::vector<TermSpread> PairSample::spreads(const ScoreTerms& terms,
                                            Communicator& communicator) const {
  std::vector<TermSpread> spreads(domains_.size());
  const at::Tensor z = terms.z.detach();
  const at::Tensor own = at::tensor(gathered_.own, at::kLong).to(z.device());
  if (z.size(1) > 0) {
    const at::Tensor arrived = communicator
                                   .all_gather("evaluate.sample_rows", z.index_select(0, own),
                                               gathered_.arrival.rows_per_rank)
                                   .cpu();
    const at::Tensor rows =
        arrived.index_select(0, at::tensor(gathered_.arrival.row_of, at::kLong)).contiguous();
    for (std::size_t d = 0; d < domains_.size(); ++d) {
      spreads[d].product = product_spread(domains_[d], rows);
    }
  }
  if (terms.coefficients == nullptr) return spreads;
  std::vector<std::int64_t> own_rows;  // users come before all items and have no coefficients
  for (const std::int64_t row : gathered_.own) own_rows.push_back(row - owned_users_);
  const SparseRows coefficients =
      to_host(gather_rows("evaluate.sample_coefficients", *terms.coefficients, own_rows,
                          gathered_.arrival.rows_per_rank, z.device(), communicator));
  for (std::size_t d = 0; d < domains_.size(); ++d) {
    spreads[d].regression = regression_spread(
        domains_[d], coefficients, half_life_of_domain(terms.half_life, static_cast<int>(d)));
  }
  return spreads;
}

}  // namespace micrec
