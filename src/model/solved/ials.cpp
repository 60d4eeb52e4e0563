#include "model/solved/ials.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "kernels/row_product.h"
#include "kernels/upload.h"
#include "model/solved/implicit_rows.h"
#include "model/solved/symmetric_eigen.h"

namespace micrec {
namespace {

/// Nodes of the range that training has seen.
double seen(const DatasetSummary& summary, Range nodes) {
  double count = 0;
  for (std::int64_t node = nodes.begin; node < nodes.end; ++node) {
    count += summary.training_degree[node] > 0 ? 1 : 0;
  }
  return count;
}

std::vector<std::int32_t> numbers(std::int64_t begin, std::int64_t end) {
  std::vector<std::int32_t> list(end - begin);
  std::iota(list.begin(), list.end(), static_cast<std::int32_t>(begin));
  return list;
}

/// Of the rows [begin, end) those of a summand.
at::Tensor rows_of_summand(const at::Tensor& table, Range rows, const RowGroups& groups,
                           std::int64_t summand) {
  if (!groups.of_group) return table.slice(0, rows.begin, rows.end);
  std::vector<std::int64_t> chosen;
  for (const std::int32_t row : (*groups.of_group)[summand].rows()) {
    if (rows.contains(row)) chosen.push_back(row);
  }
  return table.index_select(0, at::tensor(chosen, at::kLong));
}

}  // namespace

ImplicitAls::ImplicitAls(const PartInputs& inputs, TemplateEmbedding& embedding)
    : config_(inputs.config), shard_(inputs.shard), embedding_(embedding), sums_(inputs.sums) {
  CHECK_EQ(shard_.grid.columns, 1) << "rows are solved for whole";
  for (int domain = 0; domain < shard_.space().domains(); ++domain) {
    users_.push_back(seen(*shard_.summary, shard_.space().users_of(domain)));
    items_.push_back(seen(*shard_.summary, shard_.space().items_of(domain)));
  }
}

// Rows of nodes that training does not see stay zero, and add nothing to the other side.
void ImplicitAls::initialise() { table().mul_((shard_.training_degree > 0).unsqueeze(1)); }

Range ImplicitAls::owned_of(Side side, int domain) const {
  const NodeSpace& space = shard_.space();
  const Range nodes = side == Side::users ? space.users_of(domain) : space.items_of(domain);
  const std::vector<GlobalNode>& owned = shard_.owned();
  const auto row_of = [&](std::int64_t node) {
    return std::ranges::lower_bound(owned, node, {}, [](GlobalNode n) { return value(n); }) -
           owned.begin();
  };
  return {row_of(nodes.begin), row_of(nodes.end)};
}

double ImplicitAls::penalty(Side side, int domain, double degree) const {
  const double others = side == Side::users ? items_[domain] : users_[domain];
  return config_.ials_reg * (degree + config_.ials_weight * others);
}

std::vector<ImplicitAls::Basis> ImplicitAls::bases_of(Side side) const {
  const std::int64_t dim = config_.dim;
  const int domains = shard_.space().domains();
  at::Tensor grams = at::zeros({shard_.summands(), domains, dim, dim}, at::kDouble);
  for (std::int64_t summand = 0; summand < shard_.summands(); ++summand) {
    for (int domain = 0; domain < domains; ++domain) {
      const at::Tensor rows =
          rows_of_summand(table(), owned_of(side, domain), shard_.summand_rows, summand);
      grams[summand][domain].copy_(row_product_gradient(rows, rows));
    }
  }
  Communicator& ranks = *shard_.communicator;
  if (shard_.reproducible) {
    grams = tree_sum(ranks.all_gather("ials.gram", grams, shard_.summands_of_part));
  } else {
    ranks.all_reduce("ials.gram", grams);
    grams = grams[0];
  }
  if (!grams.isfinite().all().item<bool>()) {
    throw Error(Cause::diverged,
                "the rows of ials are not finite numbers; try a larger "
                "--ials_reg than ",
                config_.ials_reg);
  }
  std::vector<Basis> bases;
  for (int domain = 0; domain < domains; ++domain) {
    SymmetricEigen eigen = symmetric_eigen(download<double>(grams[domain]), dim);
    for (double& value : eigen.values) value = config_.ials_weight * std::max(value, 0.0);
    const at::Tensor vectors = at::tensor(eigen.vectors, at::kDouble).view({dim, dim});
    bases.push_back({vectors.to(at::kFloat).to(shard_.device), std::move(eigen.values)});
  }
  return bases;
}

ImplicitAls::SideRows ImplicitAls::rows_of(Side side, const std::vector<Basis>& bases) const {
  std::vector<at::Tensor> turned;
  for (int domain = 0; domain < shard_.space().domains(); ++domain) {
    const Range rows = owned_of(side, domain);
    turned.push_back(
        row_product_transposed(table().slice(0, rows.begin, rows.end), bases[domain].vectors));
  }
  const std::int64_t begin = owned_of(side, 0).begin;
  const std::int64_t end = owned_of(side, shard_.space().domains() - 1).end;
  const std::shared_ptr<const ActiveRows> active =
      shard_.graph->plan_active("halo.ials", select_rows(shard_.owned_rows(), numbers(begin, end)));
  const at::Tensor z = shard_.graph->with_active_halo("halo.ials", *active, at::cat(turned));
  return {active->columns(), z.contiguous()};
}

at::Tensor ImplicitAls::solve(const Pattern& pattern, std::vector<std::int64_t> rows,
                              const SideRows& others, const Basis& basis, Side side, int domain,
                              std::vector<double>* misfit) const {
  const ImplicitRows problem{
      pattern, std::move(rows), others.columns, others.z, basis.shared, [&](std::int64_t degree) {
        return penalty(side, domain, static_cast<double>(degree));
      }};
  SolvedRows solved =
      shard_.device.is_cpu() ? solve_implicit_rows(problem) : solve_implicit_rows_by_torch(problem);
  if (misfit != nullptr) *misfit = std::move(solved.misfit);
  return row_product(solved.x, basis.vectors);
}

void ImplicitAls::update(Side side, std::vector<double>& misfit) {
  const std::vector<Basis> bases = bases_of(other(side));
  const SideRows others = rows_of(other(side), bases);
  for (int domain = 0; domain < shard_.space().domains(); ++domain) {
    const Range own = owned_of(side, domain);
    std::vector<std::int64_t> rows(own.size());
    std::iota(rows.begin(), rows.end(), own.begin);
    std::vector<double> of_rows;
    const at::Tensor solved = solve(shard_.graph->pattern(), std::move(rows), others, bases[domain],
                                    side, domain, &of_rows);
    table().slice(0, own.begin, own.end).copy_(solved);
    std::ranges::copy(of_rows, misfit.begin() + own.begin);
  }
}

StepLoss ImplicitAls::step(at::Tensor& votes) {
  std::vector<double> misfit(shard_.owned_rows(), 0);
  update(Side::users, misfit);
  update(Side::items, misfit);
  return loss_of(misfit, votes);
}

// After a step the items' problems have the whole loss in them but for the users' penalties.
StepLoss ImplicitAls::loss_of(const std::vector<double>& misfit, at::Tensor& votes) const {
  const at::Tensor squares =
      (table().to(at::kDouble) * table().to(at::kDouble)).sum(1).cpu().contiguous();
  std::vector<double> fit(shard_.summands(), 0), l2(shard_.summands(), 0);
  for (int domain = 0; domain < shard_.space().domains(); ++domain) {
    for (const Side side : {Side::users, Side::items}) {
      const Range own = owned_of(side, domain);
      for (std::int64_t row = own.begin; row < own.end; ++row) {
        const auto degree = static_cast<double>(shard_.graph->pattern().degree(row));
        const double of_row = penalty(side, domain, degree) * squares.const_data_ptr<double>()[row];
        const std::int32_t summand = shard_.summand_of_row[row];
        l2[summand] += of_row;
        if (side == Side::items) fit[summand] += misfit[row] - of_row;
      }
    }
  }
  const std::vector<std::int64_t>& counts = shard_.summary->training_interactions;
  const auto count = static_cast<double>(
      std::max<std::int64_t>(1, std::accumulate(counts.begin(), counts.end(), std::int64_t{0})));
  const at::Tensor of_summands =
      at::stack({at::tensor(fit, at::kDouble), at::tensor(l2, at::kDouble)}, 1);
  const at::Tensor total = sum_over_ranks(shard_, sums_, of_summands / count, votes);
  // Logs have the squared errors where kinds with gradients have their ranking.
  return {{{"ranking", total[0].item<double>()}, {"l2", total[1].item<double>()}}};
}

void ImplicitAls::infer_new(at::Tensor& rows) const {
  const at::Tensor is_new = (shard_.training_degree == 0)
                                .logical_and(shard_.degree.slice(0, 0, shard_.owned_rows()) > 0)
                                .cpu();
  at::Tensor some = is_new.any().to(at::kLong).reshape({1});
  shard_.communicator->all_reduce("ials.new", some, Reduction::max);
  if (some.item<std::int64_t>() == 0) return;
  for (const Side side : {Side::users, Side::items}) {
    const std::vector<Basis> bases = bases_of(other(side));
    const SideRows others = rows_of(other(side), bases);
    for (int domain = 0; domain < shard_.space().domains(); ++domain) {
      const Range own = owned_of(side, domain);
      std::vector<std::int64_t> chosen;
      for (std::int64_t row = own.begin; row < own.end; ++row) {
        if (is_new.const_data_ptr<bool>()[row]) chosen.push_back(row);
      }
      if (chosen.empty()) continue;
      const at::Tensor to = at::tensor(chosen, at::kLong).to(rows.device());
      rows.index_copy_(0, to,
                       solve(shard_.graph->pattern(), std::move(chosen), others, bases[domain],
                             side, domain, nullptr));
    }
  }
}

RowsOfNew ImplicitAls::rows_of_new() const {
  struct Shared {
    std::vector<Basis> bases;
    SideRows items;
    at::Tensor means;
  };
  std::vector<Basis> bases = bases_of(Side::items);
  SideRows of_items = rows_of(Side::items, bases);
  const auto shared = std::make_shared<const Shared>(
      Shared{std::move(bases), std::move(of_items), embedding_.means_of_old()});
  return [this, shared](const Pattern& items, int domain) {
    at::Tensor rows = shared->means[domain].unsqueeze(0).repeat({items.rows(), 1});
    std::vector<std::int64_t> chosen;
    for (std::int64_t user = 0; user < items.rows(); ++user) {
      if (items.degree(user) > 0) chosen.push_back(user);
    }
    const at::Tensor to = at::tensor(chosen, at::kLong).to(rows.device());
    return rows.index_copy_(0, to,
                            solve(items, std::move(chosen), shared->items, shared->bases[domain],
                                  Side::users, domain, nullptr));
  };
}

void ImplicitAls::declare(const ModelShape& shape, const RankPlace& at, StepCosts& costs) {
  constexpr double kFlagBytes = 1;
  const double dim = at.dim;
  const double gram = shape.domains * dim * dim;
  // Those of the users' items, then those of the items' users; together every row of the halo.
  costs.exchange("ials.gram", Group::rows, 4, 2 * at.summed_bytes(Group::rows, gram));
  costs.exchange("halo.ials", Group::rows, 4, at.halo_sent() * (2 * kFlagBytes + at.row_bytes()));
  costs.memory(MemoryKind::activations, 3 * at.matrix_bytes() + 3 * kDoubleBytes * gram);
  costs.memory_in_turn(MemoryKind::halo_buffers,
                       at.row_bytes() * (at.halo_received() + at.halo_sent()));
  // As if all rows had the mean number of neighbours.
  const double degree = at.nonzeros() / std::max(1.0, at.rows());
  const double small = std::min(degree, dim), large = std::max(degree, dim);
  costs.neighbour_bytes(2 * at.nonzeros() * at.nonzero_bytes());
  costs.matrix_operations(at.rows() * (small * small * (large + small / 3) + 6 * dim * dim) +
                          18 * shape.domains * dim * dim * dim);
}

}  // namespace micrec
