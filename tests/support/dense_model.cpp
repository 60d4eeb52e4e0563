#include "tests/support/dense_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/random.h"
#include "kernels/neighbour_sum.h"

namespace micrec {
namespace {

const auto kReal = at::TensorOptions(at::kDouble);

at::Tensor indices(const std::vector<std::int64_t>& numbers) {
  return at::tensor(numbers, at::kLong);
}

/// A column of numbers computed one by one.
template <typename Number>
at::Tensor column(std::int64_t rows, const Number& number) {
  at::Tensor result = at::zeros({rows, 1}, kReal);
  for (std::int64_t row = 0; row < rows; ++row) result[row][0] = number(row);
  return result;
}

/// Rows divided by their norms; a row of zeros stays one.
at::Tensor unit(const at::Tensor& x) {
  const at::Tensor squares = (x * x).sum(1, true);
  return x / at::where(squares > 0, squares, at::ones_like(squares)).sqrt();
}

at::Tensor ratio_or_zero(const at::Tensor& a, const at::Tensor& b) {
  return at::where(b > 0, a / at::where(b > 0, b, at::ones_like(b)), at::zeros_like(a));
}

void add_edges(const DatasetFile& dataset, Split split, const NodeSpace& space,
               at::Tensor& matrix) {
  auto entries = matrix.accessor<double, 2>();
  for (int domain = 0; domain < space.domains(); ++domain) {
    const Interactions interactions = dataset.read(domain, split);
    for (std::size_t n = 0; n < interactions.user.size(); ++n) {
      const auto user = value(space.user(domain, interactions.user[n]));
      const auto item = value(space.item(domain, interactions.item[n]));
      entries[user][item] = entries[item][user] = 1;
    }
  }
}

}  // namespace

DenseWorld read_dense_world(const DatasetFile& dataset) {
  std::vector<std::int64_t> users, items;
  std::set<std::string> modalities;
  for (const DomainInfo& domain : dataset.domains()) {
    users.push_back(domain.users);
    items.push_back(domain.items);
    for (const ModalityInfo& modality : domain.modalities) modalities.insert(modality.name);
  }
  DenseWorld world{NodeSpace(users, items), {}, {}, {}, {}, {}, {}};
  const NodeSpace& space = world.space;
  const std::int64_t nodes = space.nodes();
  const int domains = space.domains();
  world.training = at::zeros({nodes, nodes}, kReal);
  add_edges(dataset, Split::train, space, world.training);
  world.all = world.training.clone();
  add_edges(dataset, Split::later, space, world.all);

  world.same_person = at::zeros({nodes, nodes}, kReal);
  world.user_of_person.assign(domains, std::vector<std::int32_t>(dataset.people(), -1));
  for (int domain = 0; domain < domains; ++domain) {
    const std::vector<std::int32_t> person = dataset.person_of_user(domain);
    for (std::size_t user = 0; user < person.size(); ++user) {
      world.user_of_person[domain][person[user]] =
          value(space.user(domain, static_cast<std::int64_t>(user)));
    }
  }
  for (std::int64_t person = 0; person < dataset.people(); ++person) {
    for (int k = 0; k < domains; ++k) {
      for (int l = 0; l < domains; ++l) {
        const std::int32_t a = world.user_of_person[k][person];
        const std::int32_t b = world.user_of_person[l][person];
        if (k != l && a >= 0 && b >= 0) world.same_person[a][b] = 1;
      }
    }
  }
  world.kind = at::zeros({nodes, 2 * domains}, kReal);
  for (int domain = 0; domain < domains; ++domain) {
    const Range own_users = space.users_of(domain);
    const Range own_items = space.items_of(domain);
    world.kind.slice(0, own_users.begin, own_users.end).select(1, domain).fill_(1);
    world.kind.slice(0, own_items.begin, own_items.end).select(1, domains + domain).fill_(1);
  }
  for (const std::string& name : modalities) {
    DenseWorld::Features& features = world.features[name];
    for (int domain = 0; domain < domains; ++domain) {
      for (const ModalityInfo& info : dataset.domains()[domain].modalities) {
        if (info.name != name) continue;
        if (!features.value.defined()) {
          features.width = info.width;
          features.value = at::zeros({nodes, info.width}, kReal);
          features.present = at::zeros({nodes, 1}, kReal);
        }
        const Range own_items = space.items_of(domain);
        at::Tensor rows = at::zeros({own_items.size(), info.width}, at::kFloat);
        dataset.read_features(domain, name, 0, own_items.size(), rows.data_ptr<float>());
        const std::vector<std::uint8_t> present = dataset.features_present(domain, name);
        const at::Tensor mask = at::tensor(present, at::kByte).to(at::kDouble).unsqueeze(1);
        features.present.slice(0, own_items.begin, own_items.end).copy_(mask);
        features.value.slice(0, own_items.begin, own_items.end).copy_(rows.to(at::kDouble) * mask);
      }
    }
  }
  return world;
}

void DenseStatistics::align_signs(const at::Tensor& reference) {
  if (!components.defined()) return;
  const at::Tensor along = (components * reference.to(at::kDouble)).sum(0, true);
  components = components * at::where(along < 0, -at::ones_like(along), at::ones_like(along));
}

DenseStatistics dense_statistics(const DenseWorld& world, const std::string& modality,
                                 int columns) {
  const DenseWorld::Features& features = world.features.at(modality);
  const at::Tensor trained =
      (world.training.sum(1) > 0).logical_and(features.present.squeeze(1) > 0);
  const at::Tensor rows = features.value.index_select(0, trained.nonzero().squeeze(1));
  DenseStatistics statistics;
  statistics.mean = rows.mean(0);
  at::Tensor inputs = rows - statistics.mean;
  if (features.width > columns) {
    const auto [left, singular, right] = at::linalg_svd(inputs, /*full_matrices=*/false);
    CHECK_GE(right.size(0), columns);
    statistics.components = right.slice(0, 0, columns).t().contiguous();
    inputs = at::mm(inputs, statistics.components);
  }
  const double scale = std::sqrt((inputs * inputs).mean().item<double>());
  statistics.scale = scale > 1e-12 ? scale : 1;
  return statistics;
}

void DenseLoss::add(const std::string& part, double weight, const at::Tensor& term) {
  if (weight == 0) return;
  total = total.defined() ? total + weight * term : weight * term;
  parts[part] = weight * term.item<double>();
}

DenseModel::DenseModel(const ModelConfig& config, const DenseWorld& world, std::uint64_t seed)
    : config_(config), world_(world), seed_(seed) {
  const std::int64_t nodes = world.space.nodes();
  const std::int64_t domains = world.space.domains();
  const auto modalities = static_cast<std::int64_t>(config.modalities.size());
  parameters["embedding"] = at::zeros({nodes, config.dim}, kReal);
  templates = at::zeros({nodes, 1}, kReal);
  if (config.inductive()) {
    parameters["tokens"] = at::zeros({2 * domains, config.dim}, kReal);
    parameters["self_weight"] = at::ones({config.dim}, kReal);
    const at::Tensor scores = template_scores();
    for (std::int64_t kind = 0; kind < 2 * domains; ++kind) {
      std::vector<std::int64_t> order;
      for (std::int64_t node = 0; node < nodes; ++node) {
        const bool trained = scores[node].item<double>() > 0;
        if (trained && world.kind[node][kind].item<double>() > 0) order.push_back(node);
      }
      std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        return scores[a].item<double>() > scores[b].item<double>();
      });
      const double kept = std::ceil(config.template_ratio * static_cast<double>(order.size()));
      for (std::int64_t n = 0; n < static_cast<std::int64_t>(kept); ++n) templates[order[n]][0] = 1;
    }
  }
  for (const std::string& name : config.modalities) {
    if (config.has_content()) {
      statistics[name] = dense_statistics(world, name, config.feature_dim);
      const DenseStatistics& own = statistics[name];
      const std::int64_t columns =
          own.components.defined() ? own.components.size(1) : own.mean.size(0);
      parameters["content.projection." + name] = at::zeros({columns, config.dim}, kReal);
    }
    if (config.has_semantic()) semantic_[name] = semantic_matrix(name);
  }
  if (config.has_content()) {
    parameters["content.scale"] = at::ones({1}, kReal);
    parameters["content.logits"] = at::zeros({modalities}, kReal);
  }
  if (config.has_semantic()) {
    parameters["semantic.gate"] = at::ones({domains}, kReal);
    parameters["semantic.logits"] = at::zeros({modalities}, kReal);
  }
}

void DenseModel::set_parameters(const std::map<std::string, at::Tensor>& values) {
  for (auto& [name, parameter] : parameters) {
    parameter = values.at(name).detach().to(at::kDouble).clone().requires_grad_(true);
  }
}

at::Tensor DenseModel::template_scores() const {
  const at::Tensor degree = world_.training.sum(1, true);
  return at::mm(world_.training, ratio_or_zero(at::ones_like(degree), degree)).squeeze(1);
}

at::Tensor DenseModel::semantic_matrix(const std::string& modality) const {
  const DenseWorld::Features& features = world_.features.at(modality);
  const std::int64_t nodes = world_.space.nodes();
  const at::Tensor rows = unit(features.value);
  const at::Tensor cosine = at::mm(rows, rows.t());
  const at::Tensor degree = world_.training.sum(1);
  at::Tensor matrix = at::zeros({nodes, nodes}, kReal);
  for (int domain = 0; domain < world_.space.domains(); ++domain) {
    const Range items = world_.space.items_of(domain);
    for (std::int64_t item = items.begin; item < items.end; ++item) {
      if (features.present[item][0].item<double>() == 0) continue;
      std::vector<std::pair<double, std::int64_t>> candidates;  // the most like it first
      for (std::int64_t other = items.begin; other < items.end; ++other) {
        const bool target = other != item && degree[other].item<double>() > 0 &&
                            features.present[other][0].item<double>() > 0;
        if (target) candidates.emplace_back(-cosine[item][other].item<double>(), other);
      }
      std::sort(candidates.begin(), candidates.end());
      const std::size_t found =
          std::min(candidates.size(), static_cast<std::size_t>(config_.semantic_neighbors));
      for (std::size_t n = 0; n < found; ++n) {
        matrix[item][candidates[n].second] = 1.0 / static_cast<double>(found);
      }
    }
  }
  return matrix;
}

std::vector<at::Tensor> DenseModel::shares(const std::vector<at::Tensor>& present,
                                           const std::string& logits) const {
  const at::Tensor weights = parameters.at(logits).exp();
  at::Tensor total = at::zeros_like(present.front());
  std::vector<at::Tensor> result;
  for (std::size_t m = 0; m < present.size(); ++m) {
    result.push_back(present[m] * weights[static_cast<std::int64_t>(m)]);
    total = total + result.back();
  }
  for (at::Tensor& share : result) share = ratio_or_zero(share, total);
  return result;
}

at::Tensor DenseModel::semantic_sum(const at::Tensor& x) const {
  std::vector<at::Tensor> present;
  for (const std::string& name : config_.modalities) {
    present.push_back((semantic_.at(name).sum(1, true) > 0).to(at::kDouble));
  }
  const std::vector<at::Tensor> share = shares(present, "semantic.logits");
  at::Tensor sum = at::zeros_like(x);
  for (std::size_t m = 0; m < share.size(); ++m) {
    sum = sum + share[m] * at::mm(semantic_.at(config_.modalities[m]), x);
  }
  return sum;
}

at::Tensor DenseModel::base_rows(Observed observed, std::int64_t epoch, std::int64_t step,
                                 bool training) const {
  const at::Tensor& table = parameters.at("embedding");
  const std::int64_t nodes = table.size(0);
  if (!config_.inductive()) {
    if (training) return table;
    const at::Tensor old = (world_.training.sum(1, true) > 0).to(at::kDouble);
    const at::Tensor of_kind = world_.kind * old;
    const at::Tensor count = of_kind.sum(0).unsqueeze(1);
    const at::Tensor means = at::mm(of_kind.t(), table) / at::clamp_min(count, 1);
    return old * table + (1 - old) * at::mm(world_.kind, means);
  }
  at::Tensor operation = world_.graph(observed) * templates.t();
  if (config_.share_templates > 0) {
    operation = operation + config_.share_templates * at::mm(world_.same_person, operation);
  }
  const at::Tensor s = operation.sum(1, true) + 1;
  at::Tensor kept_token = at::ones({nodes, 1}, kReal);
  if (training && config_.dropout > 0) {
    const auto probability = static_cast<float>(config_.dropout);
    const std::uint32_t seed =
        Random(seed_, Purpose::template_dropout, static_cast<std::uint32_t>(step)).bits(0)[0];
    at::Tensor kept = at::zeros({nodes, nodes}, kReal);
    for (std::int32_t row = 0; row < nodes; ++row) {
      for (std::int32_t other = 0; other < nodes; ++other) {
        if (keeps_edge(seed, probability, row, other)) kept[row][other] = 1 / (1 - config_.dropout);
      }
      const bool keeps =
          keeps_edge(seed, probability, row, std::numeric_limits<std::int32_t>::max());
      kept_token[row][0] = keeps ? 1 / (1 - config_.dropout) : 0.0;
    }
    const at::Tensor own = world_.graph(observed) * templates.t() * kept;
    operation = own + config_.share_templates * at::mm(world_.same_person, own);
  }
  const double annealing = std::pow(config_.annealing, static_cast<double>(epoch));
  return s.pow(annealing / 2 - 1) *
         (at::mm(operation, table) + kept_token * at::mm(world_.kind, parameters.at("tokens")));
}

at::Tensor DenseModel::graph_rows(const at::Tensor& e, Observed observed) const {
  const at::Tensor& graph = world_.graph(observed);
  const at::Tensor degree = graph.sum(1, true);
  const at::Tensor root = ratio_or_zero(at::ones_like(degree), degree.sqrt());
  const at::Tensor adjacency = root * graph * root.t();
  at::Tensor refined = e;
  at::Tensor addition;
  if (config_.has_semantic()) {
    const int domains = world_.space.domains();
    const at::Tensor gate = at::mm(world_.kind.slice(1, domains, 2 * domains),
                                   parameters.at("semantic.gate").unsqueeze(1));
    addition = gate * semantic_sum(e);
    if (config_.semantic == SemanticPlace::before) refined = e + addition;
  }
  at::Tensor layer = refined;
  at::Tensor sum = refined;
  for (int l = 0; l < config_.layers; ++l) {
    layer = at::mm(adjacency, layer);
    sum = sum + layer;
  }
  at::Tensor z = sum / static_cast<double>(config_.layers + 1);
  if (addition.defined() && config_.semantic == SemanticPlace::after) z = z + addition;
  return z;
}

at::Tensor DenseModel::inputs(const std::string& modality) const {
  const DenseWorld::Features& features = world_.features.at(modality);
  const DenseStatistics& own = statistics.at(modality);
  at::Tensor x = features.value - own.mean;
  if (own.components.defined()) x = at::mm(x, own.components);
  return features.present * x / own.scale;
}

at::Tensor DenseModel::content(const std::vector<at::Tensor>& means,
                               const std::vector<at::Tensor>& present) const {
  const std::vector<at::Tensor> share = shares(present, "content.logits");
  at::Tensor sum;
  for (std::size_t m = 0; m < means.size(); ++m) {
    const at::Tensor& projection = parameters.at("content.projection." + config_.modalities[m]);
    const at::Tensor part = share[m] * unit(at::mm(means[m], projection));
    sum = m == 0 ? part : sum + part;
  }
  return parameters.at("content.scale") * sum;
}

std::vector<std::pair<std::int64_t, std::int64_t>> DenseModel::people_in_both(int first,
                                                                              int second) const {
  const at::Tensor degree = world_.training.sum(1);
  std::vector<std::pair<std::int64_t, std::int64_t>> people;
  for (std::size_t person = 0; person < world_.user_of_person[first].size(); ++person) {
    const std::int32_t a = world_.user_of_person[first][person];
    const std::int32_t b = world_.user_of_person[second][person];
    if (a < 0 || b < 0) continue;
    if (degree[a].item<double>() > 0 && degree[b].item<double>() > 0) people.emplace_back(a, b);
  }
  return people;
}

DenseLoss DenseModel::loss(const std::vector<DenseTriple>& triples, std::int64_t batch_rows,
                           std::int64_t step, std::int64_t epoch) const {
  const int domains = world_.space.domains();
  const at::Tensor e = base_rows(Observed::training, epoch, step, /*training=*/true);
  at::Tensor z = graph_rows(e, Observed::training);
  if (config_.cold_simulation > 0) {
    const Random random(seed_, Purpose::cold_simulation, static_cast<std::uint32_t>(step));
    at::Tensor has_neighbours = at::zeros({z.size(0), 1}, kReal);
    for (const auto& [name, matrix] : semantic_) has_neighbours += matrix.sum(1, true);
    const at::Tensor cold = column(z.size(0), [&](std::int64_t node) {
      const bool chosen = random.uniform(node) < config_.cold_simulation;
      return chosen && has_neighbours[node][0].item<double>() > 0 ? 1.0 : 0.0;
    });
    z = (1 - cold) * z + cold * semantic_sum(z);
  }

  std::vector<std::int64_t> users, positives, negatives;
  std::vector<double> edges(domains);
  for (int domain = 0; domain < domains; ++domain) {
    const Range own = world_.space.users_of(domain);
    edges[domain] = world_.training.slice(0, own.begin, own.end).sum().item<double>();
  }
  const double all_edges = std::accumulate(edges.begin(), edges.end(), 0.0);
  at::Tensor weight = at::zeros({static_cast<std::int64_t>(triples.size())}, kReal);
  for (std::size_t t = 0; t < triples.size(); ++t) {
    users.push_back(triples[t].user);
    positives.push_back(triples[t].positive);
    negatives.push_back(triples[t].negative);
    const bool balanced = config_.domain_weights == DomainWeights::balanced;
    const double of_domain = balanced ? all_edges / (domains * edges[triples[t].domain]) : 1;
    weight[static_cast<std::int64_t>(t)] =
        triples[t].weight * of_domain / static_cast<double>(batch_rows);
  }
  const at::Tensor u = indices(users), i = indices(positives), j = indices(negatives);
  at::Tensor z_user = z.index_select(0, u);
  at::Tensor z_positive = z.index_select(0, i);
  at::Tensor z_negative = z.index_select(0, j);
  if (config_.has_content()) {
    std::vector<at::Tensor> user_means, user_present, positive_rows, positive_present,
        negative_rows, negative_present;
    for (const std::string& name : config_.modalities) {
      const at::Tensor x = inputs(name);
      const at::Tensor& present = world_.features.at(name).present;
      // The neighbours of every triple's user without the triple's positive item.
      at::Tensor others = world_.training.index_select(0, u).clone();
      others.scatter_(1, i.unsqueeze(1), 0.0);
      const at::Tensor count = at::mm(others, present);
      user_means.push_back(ratio_or_zero(at::mm(others, x), count.expand({-1, x.size(1)})));
      user_present.push_back((count > 0).to(at::kDouble));
      positive_rows.push_back(x.index_select(0, i));
      positive_present.push_back(present.index_select(0, i));
      negative_rows.push_back(x.index_select(0, j));
      negative_present.push_back(present.index_select(0, j));
    }
    z_user = z_user + content(user_means, user_present);
    z_positive = z_positive + content(positive_rows, positive_present);
    z_negative = z_negative + content(negative_rows, negative_present);
  }
  const auto bpr = [](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    return -at::log_sigmoid((a * b).sum(1) - (a * c).sum(1));
  };
  DenseLoss result;
  result.add("ranking", 1, (weight * bpr(z_user, z_positive, z_negative)).sum());
  result.add("l2", config_.l2,
             (weight * (z_user.pow(2).sum(1) + z_positive.pow(2).sum(1) + z_negative.pow(2).sum(1)))
                 .sum());
  if (config_.inductive()) {
    const at::Tensor& table = parameters.at("embedding");
    const at::Tensor all_templates =
        templates.index_select(0, u) * templates.index_select(0, i) * templates.index_select(0, j);
    result.add("self", config_.self_weight,
               (weight * all_templates.squeeze(1) *
                bpr(table.index_select(0, u) * parameters.at("self_weight"),
                    table.index_select(0, i), table.index_select(0, j)))
                   .sum());
  }
  at::Tensor contrastive = at::zeros({}, kReal);
  for (int k = 0; k < domains && config_.contrastive_weight > 0; ++k) {
    for (int l = k + 1; l < domains; ++l) {
      const auto people = people_in_both(k, l);
      const auto count = static_cast<std::int64_t>(people.size());
      if (count < 2) continue;
      const bool some = config_.contrastive_batch > 0 && config_.contrastive_batch < count;
      const Permutation permutation(count, seed_, Purpose::contrastive_batch,
                                    static_cast<std::uint32_t>(step));
      std::vector<std::int64_t> first, second;
      for (std::int64_t n = 0; n < (some ? config_.contrastive_batch : count); ++n) {
        const auto& [a, b] = people[some ? static_cast<std::int64_t>(permutation.at(n)) : n];
        first.push_back(a);
        second.push_back(b);
      }
      const at::Tensor logits = at::mm(unit(z.index_select(0, indices(first))),
                                       unit(z.index_select(0, indices(second))).t()) /
                                config_.temperature;
      const at::Tensor log_share = at::log_softmax(logits, 1).diagonal().mean() +
                                   at::log_softmax(logits, 0).diagonal().mean();
      contrastive = contrastive - log_share / 2;
    }
  }
  result.add("contrastive", config_.contrastive_weight, contrastive);
  return result;
}

at::Tensor DenseModel::embeddings(Observed observed, std::int64_t epoch) const {
  const c10::NoGradGuard no_gradient;
  const at::Tensor& graph = world_.graph(observed);
  const at::Tensor degree = graph.sum(1, true);
  at::Tensor z = graph_rows(base_rows(observed, epoch, 0, /*training=*/false), observed);
  if (config_.has_semantic()) {
    at::Tensor has_neighbours = at::zeros_like(degree);
    for (const auto& [name, matrix] : semantic_) has_neighbours += matrix.sum(1, true);
    z = at::where((degree == 0).logical_and(has_neighbours > 0), semantic_sum(z), z);
  }
  if (config_.has_content()) {
    // Only users have item neighbours, only items have features of their own: one of the two terms
    // is zero.
    std::vector<at::Tensor> means, present;
    for (const std::string& name : config_.modalities) {
      const at::Tensor& own = world_.features.at(name).present;
      const at::Tensor x = inputs(name);
      const at::Tensor count = at::mm(graph, own);
      means.push_back(x + ratio_or_zero(at::mm(graph, x), count.expand({-1, x.size(1)})));
      present.push_back((own + count > 0).to(at::kDouble));
    }
    z = z + content(means, present);
  }
  if (ridge.empty()) return z;
  const at::Tensor unfilled = z.clone();
  for (int to = 0; to < world_.space.domains(); ++to) {
    for (std::size_t person = 0; person < world_.user_of_person[to].size(); ++person) {
      const std::int32_t node = world_.user_of_person[to][person];
      if (node < 0 || degree[node][0].item<double>() > 0) continue;
      std::vector<at::Tensor> mapped;
      for (int from = 0; from < world_.space.domains(); ++from) {
        const std::int32_t other = world_.user_of_person[from][person];
        const auto map = ridge.find({from, to});
        if (other < 0 || map == ridge.end() || degree[other][0].item<double>() == 0) continue;
        const at::Tensor row = at::cat({unfilled[other], at::ones({1}, kReal)}).unsqueeze(0);
        mapped.push_back(at::mm(row, map->second).squeeze(0));
      }
      if (!mapped.empty()) z[node].copy_(at::stack(mapped).mean(0));
    }
  }
  return z;
}

void DenseModel::fit_ridge(const at::Tensor& z) {
  const c10::NoGradGuard no_gradient;
  const at::Tensor rows = z.to(at::kDouble);
  const int domains = world_.space.domains();
  for (int from = 0; from < domains; ++from) {
    for (int to = 0; to < domains; ++to) {
      if (from == to) continue;
      const auto people = people_in_both(from, to);
      if (people.size() < 2) continue;
      std::vector<std::int64_t> first, second;
      for (const auto& [a, b] : people) {
        first.push_back(a);
        second.push_back(b);
      }
      const at::Tensor x = rows.index_select(0, indices(first));
      const at::Tensor y = rows.index_select(0, indices(second));
      const at::Tensor centred = x - x.mean(0);
      // Ridge regression as least squares on rows added below: the penalty's square roots.
      const double penalty = 0.1 * centred.pow(2).sum().item<double>() / config_.dim;
      const at::Tensor system =
          at::cat({centred, std::sqrt(penalty) * at::eye(config_.dim, kReal)});
      const at::Tensor target =
          at::cat({y - y.mean(0), at::zeros({config_.dim, config_.dim}, kReal)});
      const at::Tensor weights = std::get<0>(at::linalg_lstsq(system, target));
      const at::Tensor offset = y.mean(0) - at::mv(weights.t(), x.mean(0));
      ridge[{from, to}] = at::cat({weights, offset.unsqueeze(0)});
    }
  }
}

}  // namespace micrec
