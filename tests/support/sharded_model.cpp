#include "tests/support/sharded_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>
#include <deque>

#include "base/random.h"
#include "cluster/thread_communicator.h"

namespace micrec {
namespace {

at::Tensor node_numbers(const std::vector<GlobalNode>& nodes) {
  std::vector<std::int64_t> numbers;
  for (const GlobalNode node : nodes) numbers.push_back(value(node));
  return at::tensor(numbers, at::kLong);
}

void fill(std::deque<StateTensor>& tensors, const Shard& shard, const WholeTensors& values) {
  const c10::NoGradGuard no_gradient;
  CHECK_EQ(tensors.size(), values.size());
  const at::Tensor owned = node_numbers(shard.owned());
  for (StateTensor& tensor : tensors) {
    const auto found = values.find(tensor.name);
    CHECK(found != values.end()) << tensor.name;
    at::Tensor value =
        has_row_a_node(tensor.placement) ? found->second.index_select(0, owned) : found->second;
    if (is_cut_in_columns(tensor.placement)) {
      const Range own =
          columns_of(shard.grid, static_cast<int>(value.size(-1)), shard.column_part());
      value = value.slice(-1, own.begin, own.end);
    }
    tensor.value.copy_(value);
  }
}

WholeTensors gather(ModelRank& rank, const std::deque<StateTensor>& tensors) {
  WholeTensors whole;
  for (const StateTensor& tensor : tensors) {
    whole[tensor.name] = gather_like(rank, tensor, tensor.value);
  }
  return whole;
}

}  // namespace

Ownership scattered_ownership(const DatasetSummary& summary, int ranks) {
  std::vector<std::int32_t> working;
  for (int rank = 0; rank < ranks; ++rank) {
    const bool idle = ranks >= 3 && (rank == 1 || rank == 4);
    if (!idle) working.push_back(rank);
  }
  Ownership ownership =
      assign_by_hash(summary.space, summary.people, static_cast<int>(working.size()));
  for (std::int32_t& owner : ownership.owner) owner = working[owner];
  ownership.ranks = ranks;
  return ownership;
}

std::vector<SemanticLists> search_semantic_neighbours(const DatasetFile& dataset,
                                                      const Shard& shard,
                                                      const ModelConfig& config) {
  std::vector<SemanticLists> lists;
  if (!config.has_semantic()) return lists;
  for (const std::string& modality : config.modalities) {
    lists.push_back(find_semantic_neighbours(dataset, shard, modality, config));
  }
  return lists;
}

void on_ranks(const DatasetFile& dataset, const ModelConfig& config, const ShardedSetting& setting,
              const std::function<void(ModelRank&)>& body) {
  const DatasetSummary summary = summarise(dataset);
  const ModelConfig resolved = resolve(config, summary.space.domains());
  CommunicatorOptions options;
  options.check_collectives = setting.checks_collectives;
  const ProcessGrid grid{setting.ranks, setting.columns};
  const bool reproducible = setting.summands > 0;
  run_ranks(
      grid.ranks(),
      [&](Communicator& host) {
        const std::unique_ptr<Communicator> over = setting.over ? setting.over(host) : nullptr;
        Communicator& communicator = over ? *over : host;
        const GridGroups groups = split_world(communicator, grid);
        Layout layout = make_layout(
            summary.space, summary.people,
            scattered_ownership(summary, reproducible ? setting.summands : setting.ranks), grid,
            reproducible);
        Shard shard = load_shard(dataset, summary, std::move(layout), setting.observed, groups);
        move_to(shard, setting.device);
        Model model(resolved, dataset, shard, setting.seed,
                    search_semantic_neighbours(dataset, shard, resolved));
        if (setting.initialise) model.initialise();
        ModelRank rank{communicator, dataset, shard, model};
        body(rank);
      },
      options);
}

void fill_parameters(Model& model, const WholeTensors& values) {
  fill(model.parameters(), model.shard(), values);
}

void fill_buffers(Model& model, const WholeTensors& values) {
  fill(model.buffers(), model.shard(), values);
}

at::Tensor gather_rows(ModelRank& rank, const at::Tensor& rows) {
  Communicator& communicator = rank.communicator;
  const std::vector<std::int64_t> counts = gather_counts(communicator, "test.counts", rows.size(0));
  const at::Tensor all = communicator.all_gather("test.rows", rows.cpu().contiguous(), counts);
  const at::Tensor numbers =
      communicator.all_gather("test.nodes", node_numbers(rank.shard.whole_nodes), counts);
  if (rank.communicator.rank() != 0) return {};
  CHECK_EQ(all.size(0), rank.shard.space().nodes());
  return at::empty_like(all).index_copy_(0, numbers, all);
}

at::Tensor gather_like(ModelRank& rank, const Parameter& parameter, const at::Tensor& value) {
  const at::Tensor whole = to_whole(rank.shard, value, parameter.placement);
  return has_row_a_node(parameter.placement) ? gather_rows(rank, whole) : whole.clone();
}

WholeTensors gather_parameters(ModelRank& rank) { return gather(rank, rank.model.parameters()); }

WholeTensors gather_buffers(ModelRank& rank) { return gather(rank, rank.model.buffers()); }

WholeTensors make_parameters(const DenseModel& model, std::uint64_t seed) {
  WholeTensors values;
  std::uint32_t stream = 1000;
  for (const auto& [name, shape] : model.parameters) {
    const Random random(seed, Purpose::synthetic, stream++);
    const bool around_one =
        name == "self_weight" || name == "content.scale" || name == "semantic.gate";
    at::Tensor value = at::empty(shape.sizes(), at::kFloat);
    for (std::int64_t n = 0; n < value.numel(); ++n) {
      const double normal = random.normal(n)[0];
      value.data_ptr<float>()[n] = static_cast<float>(around_one ? 1 + 0.2 * normal : 0.4 * normal);
    }
    values[name] = value;
  }
  return values;
}

ShardedStep sharded_step(const DatasetFile& dataset, const ModelConfig& config,
                         const ShardedSetting& setting, const WholeTensors& parameters,
                         std::int64_t batch_size, StepTime time) {
  ShardedStep result;
  std::vector<std::vector<DenseTriple>> triples(setting.ranks * setting.columns);
  on_ranks(dataset, config, setting, [&](ModelRank& rank) {
    if (!parameters.empty()) fill_parameters(rank.model, parameters);
    const NodeSpace& space = rank.shard.space();
    const int number = rank.communicator.rank();
    EpochSampler sampler(
        space, read_training_share(dataset, space, rank.shard.ownership, rank.shard.rank()),
        eligible_items(dataset, space), {Sampling::interactions, batch_size, setting.seed});
    const std::int64_t step_in_epoch = time.step % sampler.steps_per_epoch();
    const TripleBatch batch = sampler.batch(time.epoch, step_in_epoch);
    const std::int64_t rows = sampler.global_batch_rows(step_in_epoch);
    for (std::int64_t t = 0; t < batch.size() && rank.shard.column_part() == 0; ++t) {
      triples[number].push_back({value(batch.user[t]), value(batch.positive[t]),
                                 value(batch.negative[t]), batch.domain[t], batch.weight[t]});
    }
    at::Tensor votes = at::ones({1}, at::kDouble);
    const std::unique_ptr<StepContext> step = rank.model.plan(batch, rows, time);
    rank.model.loss(*step);
    const StepLoss loss = rank.model.backward(*step, votes).read();
    CHECK_EQ(votes.item<double>(), rank.communicator.size());
    WholeTensors gradients;
    for (const Parameter& parameter : rank.model.parameters()) {
      const at::Tensor own = parameter.value.grad().defined()
                                 ? parameter.value.grad()
                                 : at::zeros_like(parameter.value.detach());
      gradients[parameter.name] = gather_like(rank, parameter, own);
    }
    WholeTensors buffers = gather_buffers(rank);
    if (number != 0) return;
    result.loss = loss;
    result.gradients = std::move(gradients);
    result.buffers = std::move(buffers);
    result.batch_rows = rows;
  });
  for (const std::vector<DenseTriple>& own : triples) {
    result.triples.insert(result.triples.end(), own.begin(), own.end());
  }
  return result;
}

at::Tensor sharded_embeddings(const DatasetFile& dataset, const ModelConfig& config,
                              const ShardedSetting& setting, const WholeTensors& parameters,
                              const WholeTensors& buffers, std::int64_t epoch) {
  at::Tensor z;
  ShardedSetting given = setting;
  given.initialise = setting.initialise && setting.observed == Observed::training;
  on_ranks(dataset, config, given, [&](ModelRank& rank) {
    if (!parameters.empty()) fill_parameters(rank.model, parameters);
    if (!buffers.empty()) fill_buffers(rank.model, buffers);
    rank.model.refresh();
    const at::Tensor whole = gather_rows(rank, rank.model.embeddings(epoch));
    if (rank.communicator.rank() == 0) z = whole;
  });
  return z;
}

}  // namespace micrec
