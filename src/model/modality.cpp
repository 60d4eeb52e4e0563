#include "model/modality.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "graph/linear_operator.h"
#include "kernels/gpu.h"
#include "kernels/neighbour_sum.h"
#include "kernels/row_product.h"

namespace micrec {
namespace {

constexpr std::int64_t kFeatureRows = 4096;  // rows of features read at once

/// Calls use(nodes, rows) with the features of those items with the modality that are chosen, in
/// order; rows: (n, width) float32. `present`: as items_with().
template <typename Chosen, typename Use>
void for_each_feature_block(const DatasetFile& dataset, const NodeSpace& space,
                            const std::string& modality, std::int64_t width,
                            const std::vector<std::uint8_t>& present, const Chosen& chosen,
                            const Use& use) {
  at::Tensor block = at::empty({kFeatureRows, width}, at::kFloat);
  for (int domain = 0; domain < space.domains(); ++domain) {
    const std::int64_t items = space.items_of(domain).size();
    for (std::int64_t begin = 0; begin < items; begin += kFeatureRows) {
      const std::int64_t end = std::min(items, begin + kFeatureRows);
      std::vector<std::int64_t> rows;
      std::vector<GlobalNode> nodes;
      for (std::int64_t item = begin; item < end; ++item) {
        const GlobalNode node = space.item(domain, item);
        if (!present[value(node) - space.users()] || !chosen(node)) continue;
        rows.push_back(item - begin);
        nodes.push_back(node);
      }
      if (rows.empty()) continue;
      dataset.read_features(domain, modality, begin, end, block.data_ptr<float>());
      use(nodes, block.index_select(0, at::tensor(rows, at::kLong)));
    }
  }
}

/// modality_tables() by a kernel each way.
struct DeviceTables {
  at::Tensor logits, gains;        // (modalities), (groups) or undefined
  at::Tensor of_logits, of_gains;  // their gradients, once they are known

  ModalityTables call(const at::Tensor& tables) const {
    return {address<float>(logits), address<float>(gains), static_cast<int>(logits.numel()),
            gains.defined() ? gains.numel() : 1, address<float>(tables)};
  }
  void take_gradients(const std::vector<at::Tensor>& slopes) {
    if (of_logits.defined()) return;
    of_logits = at::empty_like(logits);
    if (gains.defined()) of_gains = at::empty_like(gains);
    ModalityTablesGradient gradient{
        call({}), {}, address<float>(of_logits), address<float>(of_gains)};
    for (std::size_t m = 0; m < slopes.size(); ++m) gradient.slopes[m] = address<float>(slopes[m]);
    of_modality_tables_on_gpu(gradient, logits.device());
  }
};

std::vector<at::Tensor> tables_on_device(const at::Tensor& logits, const at::Tensor& gains) {
  const auto made = std::make_shared<DeviceTables>(
      DeviceTables{logits.detach(), gains.defined() ? gains.detach() : at::Tensor(), {}, {}});
  std::vector<at::Tensor> tables;
  const at::Tensor all =
      at::empty({logits.numel(), made->call({}).entries()}, made->logits.options());
  modality_tables_on_gpu(made->call(all), logits.device());
  // Detached, so that autograd sees no view.
  for (std::int64_t m = 0; m < all.size(0); ++m) tables.push_back(all[m].detach());
  std::vector<JointInput> inputs;
  inputs.push_back({logits, [made](const std::vector<at::Tensor>& slopes) {
                      made->take_gradients(slopes);
                      return made->of_logits;
                    }});
  if (gains.defined()) {
    inputs.push_back({gains, [made](const std::vector<at::Tensor>& slopes) {
                        made->take_gradients(slopes);
                        return made->of_gains;
                      }});
  }
  return with_joint_transposes("modality_tables", std::move(tables), std::move(inputs));
}

}  // namespace

bool has_modality(const DomainInfo& domain, const std::string& modality) {
  return std::any_of(domain.modalities.begin(), domain.modalities.end(),
                     [&](const ModalityInfo& info) { return info.name == modality; });
}

std::vector<std::uint8_t> items_with(const DatasetFile& dataset, const std::string& modality) {
  std::vector<std::uint8_t> all;
  for (int domain = 0; domain < static_cast<int>(dataset.domains().size()); ++domain) {
    const DomainInfo& info = dataset.domains()[domain];
    std::vector<std::uint8_t> present(info.items, 0);
    if (has_modality(info, modality)) present = dataset.features_present(domain, modality);
    all.insert(all.end(), present.begin(), present.end());
  }
  return all;
}

std::int64_t modality_width(const DatasetFile& dataset, const std::string& modality) {
  std::int64_t width = 0;
  std::string first;
  std::set<std::string> known;
  for (const DomainInfo& domain : dataset.domains()) {
    for (const ModalityInfo& info : domain.modalities) {
      known.insert(info.name);
      if (info.name != modality) continue;
      if (width != 0 && info.width != width) {
        throw Error(Cause::data, dataset.path(), ": modality '", modality, "' is ", width,
                    " wide in domain '", first, "' and ", info.width, " wide in domain '",
                    domain.name, "'; encode both with the same model and prepare the data again");
      }
      width = info.width;
      first = domain.name;
    }
  }
  if (width == 0) {
    throw Error(Cause::usage, dataset.path(), " has no modality '", modality, "'; it has ",
                known.empty() ? std::string("none") : join({known.begin(), known.end()}, ", "),
                ": give --modalities from those, or prepare the data with --features=", modality,
                ":DOMAIN=FILE");
  }
  return width;
}

std::vector<std::string> resolve_modalities(const std::vector<std::string>& asked,
                                            const DatasetFile& dataset) {
  if (asked != std::vector<std::string>{"all"}) {
    for (const std::string& name : asked) {
      modality_width(dataset, name);  // refuses unknown ones
      if (std::ranges::count(asked, name) > 1)
        throw Error(Cause::usage, "--modalities names ", name, " more than once");
    }
    return asked;
  }
  std::set<std::string> names;
  for (const DomainInfo& domain : dataset.domains()) {
    for (const ModalityInfo& modality : domain.modalities) names.insert(modality.name);
  }
  return {names.begin(), names.end()};
}

FeatureStatistics empty_statistics(const DatasetFile& dataset, const std::string& modality,
                                   int feature_dim) {
  const std::int64_t width = modality_width(dataset, modality);
  FeatureStatistics statistics;
  statistics.modality = modality;
  statistics.mean = at::zeros({width}, at::kFloat);
  if (width > feature_dim) statistics.components = at::zeros({width, feature_dim}, at::kFloat);
  statistics.scale = at::ones({1}, at::kFloat);
  return statistics;
}

FeatureStatistics fit_statistics(const DatasetFile& dataset, const DatasetSummary& summary,
                                 const std::string& modality, int feature_dim,
                                 Communicator& communicator) {
  FeatureStatistics statistics = empty_statistics(dataset, modality, feature_dim);
  if (communicator.rank() == 0) {
    const std::int64_t width = statistics.mean.size(0);
    const std::vector<std::uint8_t> present = items_with(dataset, modality);
    const auto for_each_block = [&](const auto& use) {
      for_each_feature_block(
          dataset, summary.space, modality, width, present,
          [&](GlobalNode item) { return summary.training_degree[value(item)] > 0; },
          [&](const auto&, const at::Tensor& block) { use(block); });
    };
    std::int64_t rows = 0;
    at::Tensor sum = at::zeros({width}, at::kDouble);
    for_each_block([&](const at::Tensor& block) {
      rows += block.size(0);
      sum += block.to(at::kDouble).sum(0);
    });
    if (rows == 0) {
      throw Error(Cause::data, dataset.path(), ": no item with modality '", modality,
                  "' has a training interaction; leave it out of --modalities");
    }
    const at::Tensor mean = sum / static_cast<double>(rows);
    at::Tensor covariance = at::zeros({width, width}, at::kDouble);
    for_each_block([&](const at::Tensor& block) {
      const at::Tensor centred = block.to(at::kDouble) - mean;
      covariance.addmm_(centred.t(), centred);
    });
    statistics.mean.copy_(mean);
    // Of a symmetric matrix eigh gives the eigenvalues in rising order.
    double kept_variance = covariance.trace().item<double>();
    if (statistics.components.defined()) {
      const auto [values, vectors] = at::linalg_eigh(covariance);
      const std::int64_t columns = statistics.components.size(1);
      statistics.components.copy_(vectors.slice(1, width - columns, width).flip(1));
      kept_variance = values.slice(0, width - columns, width).sum().item<double>();
    }
    const double entries = static_cast<double>(rows) * static_cast<double>(statistics.columns());
    const double scale = std::sqrt(std::max(0.0, kept_variance) / entries);
    // What float32 cannot divide by is no spread.
    statistics.scale.fill_(scale >= std::numeric_limits<float>::min() ? scale : 1.0);
  }
  communicator.broadcast("features.mean", statistics.mean, 0);
  if (statistics.components.defined()) {
    communicator.broadcast("features.components", statistics.components, 0);
  }
  communicator.broadcast("features.scale", statistics.scale, 0);
  return statistics;
}

at::Tensor centred_and_projected(const at::Tensor& rows, const FeatureStatistics& statistics) {
  at::Tensor x = rows - statistics.mean;
  if (statistics.components.defined()) x = row_product(x, statistics.components);
  return x;
}

ContentInputs load_content(const DatasetFile& dataset, const Shard& shard,
                           const FeatureStatistics& statistics,
                           const std::vector<std::uint8_t>& present) {
  const std::int64_t columns = statistics.columns();
  const std::int64_t width = statistics.mean.size(0);
  ContentInputs content;
  content.sum = at::zeros({shard.owned_rows(), columns}, at::kFloat);
  content.count = at::zeros({shard.owned_rows(), 1}, at::kFloat);
  for_each_feature_block(
      dataset, shard.space(), statistics.modality, width, present,
      [&](GlobalNode item) { return shard.row_of[value(item)] >= 0; },
      [&](const std::vector<GlobalNode>& items, const at::Tensor& block) {
        std::vector<std::int64_t> rows;
        for (const GlobalNode item : items) rows.push_back(shard.row_of[value(item)]);
        const at::Tensor x = centred_and_projected(block, statistics);
        const at::Tensor at_rows = at::tensor(rows, at::kLong);
        content.sum.index_copy_(0, at_rows, x / statistics.scale);
        content.count.index_fill_(0, at_rows, 1);
      });
  // Items have no item neighbours and users no features, so one product serves all rows.
  const auto neighbours_of = [&](const char* name, const at::Tensor& x) {
    return neighbour_sum(shard.graph->pattern(), shard.graph->with_halo(name, x), {});
  };
  const at::Tensor user_sum = neighbours_of("halo.content", content.sum);
  const at::Tensor user_count = neighbours_of("halo.content_count", content.count);
  const at::Tensor is_user = shard.item_domain.cpu().sum(1, /*keepdim=*/true) == 0;
  content.sum = at::where(is_user, user_sum, content.sum).to(shard.device);
  content.count = at::where(is_user, user_count, content.count).to(shard.device);
  return content;
}

at::Tensor every_modality_set(std::int64_t modalities) {
  CHECK_LE(modalities, kMostModalities);
  at::Tensor sets = at::zeros({std::int64_t{1} << modalities, modalities}, at::kFloat);
  auto has = sets.accessor<float, 2>();
  for (std::int64_t set = 0; set < sets.size(0); ++set) {
    for (std::int64_t m = 0; m < modalities; ++m) has[set][m] = set >> m & 1 ? 1 : 0;
  }
  return sets;
}

at::Tensor modality_shares(const at::Tensor& logits, const at::Tensor& sets) {
  CHECK_EQ(logits.size(0), sets.size(1));
  const at::Tensor weights = sets * (logits - logits.max().detach()).exp();
  return weights / weights.sum(1, /*keepdim=*/true).clamp_min(1e-30);
}

std::vector<at::Tensor> modality_tables(const at::Tensor& logits, const at::Tensor& sets,
                                        const at::Tensor& gains) {
  if (!logits.is_cpu()) return tables_on_device(logits, gains);
  at::Tensor shares = modality_shares(logits, sets);
  const bool is_by_group = gains.defined() && gains.dim() == 2;
  if (gains.defined() && !is_by_group) shares = shares * gains;
  std::vector<at::Tensor> tables;
  for (std::int64_t m = 0; m < shares.size(1); ++m) {
    const at::Tensor of_sets = shares.select(1, m);
    tables.push_back(is_by_group ? (gains * of_sets).reshape({-1}) : of_sets);
  }
  return tables;
}

at::Tensor modality_sets(const std::vector<at::Tensor>& counts) {
  at::Tensor sets;
  for (std::size_t m = 0; m < counts.size(); ++m) {
    const at::Tensor bit = (counts[m].squeeze(1) > 0.5).to(at::kInt) * (1 << m);
    sets = m == 0 ? bit : sets + bit;
  }
  return sets;
}

}  // namespace micrec
