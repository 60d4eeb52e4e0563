#include "model/model_config.h"

#include <iterator>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

void require(bool holds, const char* flag, const char* expected, double got) {
  if (!holds) {
    throw Error(Cause::usage, "--", flag, "=", got, " is out of range: expected ", expected);
  }
}

}  // namespace

const char* name_of(ModelKind kind) {
  constexpr const char* kNames[] = {"mf",     "lightgcn", "inmo_mf",    "inmo",
                                    "micrec", "ials",     "popularity", "item_regression"};
  static_assert(std::size(kNames) == std::size(kModelKinds));
  return kNames[static_cast<int>(kind)];
}

ModelConfig resolve(ModelConfig config, int domains) {
  require(config.dim >= 1 && config.dim <= 4096, "dim", "1 to 4096 columns", config.dim);
  require(config.layers >= 0 && config.layers <= 16, "layers", "0 to 16", config.layers);
  require(config.template_ratio > 0 && config.template_ratio <= 1, "template_ratio",
          "above 0, at most 1", config.template_ratio);
  require(config.dropout >= 0 && config.dropout < 1, "dropout", "0 or more, below 1",
          config.dropout);
  require(config.temperature > 0, "temperature", "above 0", config.temperature);
  require(config.cold_simulation >= 0 && config.cold_simulation < 1, "cold_simulation",
          "0 or more, below 1", config.cold_simulation);
  require(config.annealing > 0 && config.annealing <= 1, "annealing", "above 0, at most 1",
          config.annealing);
  require(config.modalities.size() <= kMostModalities, "modalities", "at most 10 of them",
          static_cast<double>(config.modalities.size()));

  require(config.ials_weight >= 0, "ials_weight", "0 or more", config.ials_weight);
  require(config.ials_reg > 0, "ials_reg", "above 0", config.ials_reg);

  const bool has_no_graph = config.kind == ModelKind::mf || config.kind == ModelKind::inmo_mf;
  if (has_no_graph || config.is_solved()) config.layers = 0;
  if (config.kind == ModelKind::popularity) config.dim = 1;
  if (config.kind == ModelKind::item_regression) {
    config.dim = 1;
    config.item_regression = ItemRegressionUse::alone;
  }
  if (!config.inductive()) {
    config.template_ratio = 1;
    config.share_templates = 0;
    config.dropout = 0;
    config.self_weight = 0;
  }
  if (config.kind != ModelKind::micrec) {
    config.modalities.clear();
    config.contrastive_weight = 0;
  }
  if (config.modalities.empty()) {
    config.content = false;
    config.semantic_neighbors = 0;
  }
  if (config.semantic_neighbors == 0) config.cold_simulation = 0;
  if (domains < 2) {
    config.contrastive_weight = 0;
    config.share_templates = 0;
  }
  return config;
}

}  // namespace micrec
