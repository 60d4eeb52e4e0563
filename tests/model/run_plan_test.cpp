#include "partition/planning/run_plan.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "model/step/step_shape.h"
#include "tests/partition/random_world.h"

namespace micrec {
namespace {

PlanInputs make_inputs(int domains = 2) {
  const RandomWorld world = make_random_world({.domains = domains,
                                               .users = 300,
                                               .items = 200,
                                               .interactions = 3000,
                                               .tastes = 4,
                                               .skew = 1.5});
  ModelShape model;
  model.config.modalities = {"text"};
  model.config.semantic_neighbors = 10;
  model.domains = domains;
  model.content_columns = {48};
  const BatchShape batch{.triples = 256, .has_contrastive = domains > 1, .contrastive_batch = 64};
  DatasetShape dataset;
  dataset.nodes = world.space.nodes();
  dataset.users = world.space.users();
  dataset.items_of_domain = std::vector<std::int64_t>(domains, 200);
  dataset.feature_width = {96};
  std::vector<std::uint8_t> present(world.eligible.size(), 1);
  return {world.space,
          world.people,
          world.graph,
          world.eligible,
          {{present, std::nullopt}},
          step_shape(model, batch),
          dataset};
}

GridPlan plan(const PlanInputs& inputs, ProcessGrid grid) {
  return plan_grid(inputs, assign_by_hash(inputs.space, inputs.people, grid.rows), grid, {});
}

double bytes(const GridPlan& plan, const std::string& name) {
  const CollectiveBytes* found = plan.bytes.find(name);
  return found == nullptr ? 0 : found->total();
}

TEST(RunPlan, OneRankSendsNothing) {
  const GridPlan alone = plan(make_inputs(), {1, 1});
  EXPECT_TRUE(alone.bytes.collectives.empty());
  EXPECT_EQ(alone.bytes.total(), 0);
  EXPECT_EQ(alone.time.front().network, 0);
}

TEST(RunPlan, ColumnPartsExchangeNoRowsInPropagationAndTemplates) {
  for (const int columns : {2, 4, 64}) {
    const GridPlan sharded = plan(make_inputs(), {1, columns});
    for (const CollectiveBytes& collective : sharded.bytes.collectives) {
      EXPECT_NE(collective.name.substr(0, 5), "halo.") << collective.name;
    }
    EXPECT_GT(sharded.bytes.total(), 0) << "sums over columns and replicated parameters";
  }
}

TEST(RunPlan, HaloBytesOfAGridAreThoseOfItsRowPartsOnce) {
  const PlanInputs inputs = make_inputs();
  const GridPlan rows_alone = plan(inputs, {4, 1});
  const GridPlan grid = plan(inputs, {4, 4});
  for (const char* name : {"halo.template", "halo.template.backward", "halo.propagate",
                           "halo.weighted", "halo.weighted.backward"}) {
    EXPECT_GT(bytes(grid, name), 0) << name;
    EXPECT_NEAR(bytes(grid, name), bytes(rows_alone, name), 1e-6) << name;
  }
  EXPECT_EQ(grid.bytes.find("halo.propagate")->bytes.size(), 16U);
}

TEST(RunPlan, HaloBytesAreRowsTimesColumnsTimesFour) {
  const PlanInputs inputs = make_inputs();
  const GridPlan sharded = plan(inputs, {3, 1});
  const auto rows = static_cast<double>(sharded.needs.halo.total());
  EXPECT_EQ(bytes(sharded, "halo.template"), rows * 64 * 4);
  EXPECT_EQ(bytes(sharded, "halo.propagate"), 5 * rows * 64 * 4) << "three forward, two back";
}

TEST(RunPlan, PartsOfTheModelThatAreOffSendNothing) {
  PlanInputs inputs = make_inputs(1);
  ModelShape model;
  model.config.kind = ModelKind::mf;
  model.config = resolve(model.config, /*domains=*/1);
  inputs.shape = step_shape(model, inputs.shape.batch);
  inputs.semantic.clear();
  const GridPlan sharded = plan(inputs, {4, 1});
  std::vector<std::string> names;
  for (const CollectiveBytes& collective : sharded.bytes.collectives) {
    names.push_back(collective.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"batch.plan", "batch.items", "step.dense"}));
}

TEST(RunPlan, SharesOutEmbeddingsAndMomentsWhole) {
  const PlanInputs inputs = make_inputs();
  const auto table = static_cast<double>(inputs.space.nodes()) * 64 * 4;
  for (const ProcessGrid grid : {ProcessGrid{1, 1}, {3, 1}, {1, 4}, {4, 2}, {64, 1}}) {
    const GridPlan planned = plan(inputs, grid);
    double embeddings = 0;
    double optimizer = 0;
    for (const RankMemory& rank : planned.memory) {
      embeddings += rank[MemoryKind::embeddings];
      optimizer += rank[MemoryKind::optimizer];
      EXPECT_GE(rank.peak(), rank[MemoryKind::program] + rank[MemoryKind::graph]);
    }
    EXPECT_NEAR(embeddings, table, 1) << to_text(grid);
    EXPECT_NEAR(optimizer, 2 * table, 1) << to_text(grid);
  }
}

TEST(RunPlan, TimeFollowsTheRates) {
  const PlanInputs inputs = make_inputs();
  const Ownership rows = assign_by_hash(inputs.space, inputs.people, 4);
  MachineRates slow;
  slow.network_bytes_per_second /= 2;
  slow.message_seconds *= 2;
  const GridPlan fast_network = plan_grid(inputs, rows, {4, 1}, {});
  const GridPlan slow_network = plan_grid(inputs, rows, {4, 1}, slow);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_NEAR(slow_network.time[rank].network, 2 * fast_network.time[rank].network, 1e-9);
    EXPECT_EQ(slow_network.time[rank].products, fast_network.time[rank].products);
    EXPECT_GT(fast_network.time[rank].products, 0);
  }
}

TEST(RunPlan, ColumnsNarrowerThanACacheLineSaveNoTimeInProducts) {
  const PlanInputs inputs = make_inputs();
  const double whole = plan(inputs, {1, 1}).time.front().products;
  const double quarter = plan(inputs, {1, 4}).time.front().products;  // 16 columns, 64 bytes
  const double sixteenth = plan(inputs, {1, 16}).time.front().products;
  EXPECT_LT(quarter, 0.3 * whole);
  EXPECT_EQ(sixteenth, quarter);
}

// On a CPU the first product backward goes along the lists of few rows, turned round; else it looks
// at every nonzero.
TEST(RunPlan, ASmallBatchOnOneCpuHoldsItsListsAndReadsLess) {
  PlanInputs inputs = make_inputs();
  PlanInputs on_gpu = inputs;
  on_gpu.shape.on_gpu = true;
  const auto activations = [](const GridPlan& plan) {
    return plan.memory.front()[MemoryKind::activations];
  };
  for (PlanInputs* each : {&inputs, &on_gpu}) each->shape.batch = {.triples = 4};
  const GridPlan cpu = plan(inputs, {1, 1}), gpu = plan(on_gpu, {1, 1});
  const auto rows = static_cast<double>(inputs.space.nodes());
  EXPECT_NEAR(activations(cpu) - activations(gpu),
              12 * rows + 4 * cpu.needs.wanted_nonzeros.front(), 1e-6);
  EXPECT_LT(cpu.time.front().products, gpu.time.front().products);
  EXPECT_EQ(activations(plan(inputs, {2, 1})), activations(plan(on_gpu, {2, 1})));
  for (PlanInputs* each : {&inputs, &on_gpu}) each->shape.batch = {.triples = 4000};
  EXPECT_EQ(activations(plan(inputs, {1, 1})), activations(plan(on_gpu, {1, 1})));
}

TEST(RunPlan, PlansForAThousandRanks) {
  const GridPlan planned = plan(make_inputs(), {1024, 1});
  EXPECT_EQ(planned.memory.size(), 1024U);
  EXPECT_EQ(planned.bytes.bytes_of_ranks().size(), 1024U);
  EXPECT_GE(planned.balance.nonzeros, 1);
  const GridCost cost = planned.cost();
  EXPECT_GT(cost.step_seconds, 0);
  EXPECT_GT(cost.most_memory_bytes, 0);
}

TEST(RunPlan, EstimatedSemanticHaloIsThatOfRandomChoicesOnAverage) {
  const PlanInputs inputs = make_inputs(1);
  const int parts = 3;
  const Ownership rows = assign_by_hash(inputs.space, inputs.people, parts);
  const int neighbours = 10;
  const SemanticHalo estimated = expected_semantic_halo(
      inputs.space, inputs.graph, inputs.semantic.front().present, rows, neighbours);
  std::vector<std::int32_t> targets;
  for (std::int64_t item = inputs.space.users(); item < inputs.space.nodes(); ++item) {
    if (inputs.graph.degree(item) > 0) targets.push_back(static_cast<std::int32_t>(item));
  }
  double forward = 0;
  double backward = 0;
  constexpr int kRepeats = 200;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const Random random(repeat, Purpose::synthetic);
    Adjacency choices;
    for (std::int64_t node = 0; node < inputs.space.nodes(); ++node) {
      std::vector<std::int32_t> own;
      for (std::uint32_t draw = 0; node >= inputs.space.users() && own.size() < neighbours;
           ++draw) {
        const std::int32_t target = targets[random.index(targets.size(), node, draw)];
        if (target != node && std::find(own.begin(), own.end(), target) == own.end()) {
          own.push_back(target);
        }
      }
      choices.add(own);
    }
    forward += static_cast<double>(count_halo(transposed(choices), rows).total()) / kRepeats;
    backward += static_cast<double>(count_halo(choices, rows).total()) / kRepeats;
  }
  EXPECT_NEAR(static_cast<double>(estimated.forward.total()), forward, 0.02 * forward);
  EXPECT_NEAR(static_cast<double>(estimated.backward.total()), backward, 0.02 * backward);
}

}  // namespace
}  // namespace micrec
