#include "train/plan/plan_inputs.h"

#include <vector>

#include "data/training_graph.h"
#include "model/modality.h"
#include "model/semantic_neighbours.h"
#include "model/step/step_shape.h"

namespace micrec {
namespace {

// About five seconds of one core: more items than that are estimated.
constexpr double kMostSearchOperations = 3e11;

/// The choices of every item of a modality, over all nodes.
Adjacency choices_of_items(const TrainingTask& task, const std::string& modality) {
  const NodeSpace& space = task.summary.space;
  const Ownership all_here{1, std::vector<std::int32_t>(space.nodes(), 0)};
  Adjacency result;
  result.offsets.reserve(static_cast<std::size_t>(space.nodes()) + 1);
  result.offsets.assign(static_cast<std::size_t>(space.users()) + 1, 0);
  for (int domain = 0; domain < space.domains(); ++domain) {
    const NeighbourQuestion question = semantic_question(
        task.dataset, task.summary, all_here, domain, modality, task.model.semantic_neighbors);
    const NumberLists nearest =
        find_neighbours(question, {.search = task.model.neighbor_search}, nullptr);
    std::int64_t query = 0;
    for (std::int64_t item = 0; item < question.source.items; ++item) {
      std::vector<std::int32_t> nodes;
      if (question.asked_by[item] == 0) {
        for (const std::int32_t neighbour : nearest.of(query++)) {
          nodes.push_back(value(space.item(domain, neighbour)));
        }
      }
      result.add(nodes);
    }
  }
  return result;
}

}  // namespace

std::vector<SemanticGraph> semantic_graphs(const TrainingTask& task, SemanticDetail detail) {
  const DatasetFile& dataset = task.dataset;
  const std::vector<std::string>& modalities = task.model.modalities;
  std::vector<SemanticGraph> graphs;
  double operations = 0;
  for (const std::string& modality : modalities) {
    const auto width = static_cast<double>(modality_width(dataset, modality));
    for (const DomainInfo& domain : dataset.domains()) {
      for (const ModalityInfo& info : domain.modalities) {
        if (info.name != modality) continue;
        const auto count = static_cast<double>(info.present);
        operations += 2 * count * count * width;
      }
    }
    graphs.push_back({items_with(dataset, modality), std::nullopt});
  }
  if (detail == SemanticDetail::found && operations <= kMostSearchOperations) {
    for (std::size_t m = 0; m < graphs.size(); ++m) {
      graphs[m].neighbours = choices_of_items(task, modalities[m]);
    }
  }
  return graphs;
}

PlanInputs read_plan_inputs(const TrainingTask& task, SemanticDetail detail) {
  const DatasetFile& dataset = task.dataset;
  const NodeSpace& space = task.summary.space;
  PlanInputs inputs{space,
                    task.summary.people,
                    read_training_graph(dataset, space),
                    eligible_items(dataset, space),
                    {},
                    step_shape(dataset, task.summary, task.model, task.sampling),
                    {}};
  if (task.model.has_semantic()) inputs.semantic = semantic_graphs(task, detail);
  inputs.dataset.nodes = space.nodes();
  inputs.dataset.users = space.users();
  inputs.dataset.has_evaluation = false;
  for (const DomainInfo& domain : dataset.domains()) {
    inputs.dataset.items_of_domain.push_back(domain.items);
    for (const Split split : {Split::valid, Split::test}) {
      inputs.dataset.has_evaluation |= domain.interactions[static_cast<int>(split)] > 0;
    }
  }
  inputs.dataset.feature_width = widths_of(task);
  return inputs;
}

std::vector<std::int64_t> widths_of(const TrainingTask& task) {
  std::vector<std::int64_t> widths;
  for (const std::string& modality : task.modalities) {
    widths.push_back(modality_width(task.dataset, modality));
  }
  return widths;
}

}  // namespace micrec
