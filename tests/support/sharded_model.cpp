#include "tests/support/sharded_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <glog/logging.h>

#include <algorithm>

#include "base/random.h"
#include "cluster/thread_communicator.h"

namespace micrec {
namespace {

at::Tensor node_numbers(const std::vector<GlobalNode>& nodes) {
  std::vector<std::int64_t> numbers;
  for (const GlobalNode node : nodes) numbers.push_back(value(node));
  return at::tensor(numbers, at::kLong);
}

template <typename Named>
void fill(std::vector<Named>& tensors, const Shard& shard, const WholeTensors& values) {
  const c10::NoGradGuard no_gradient;
  CHECK_EQ(tensors.size(), values.size());
  const at::Tensor owned = node_numbers(shard.owned());
  for (Named& tensor : tensors) {
    const auto found = values.find(tensor.name);
    CHECK(found != values.end()) << tensor.name;
    tensor.value.copy_(tensor.sharded ? found->second.index_select(0, owned) : found->second);
  }
}

double sum_over_ranks(Communicator& communicator, double own) {
  at::Tensor sum = at::full({1}, own, at::kDouble);
  communicator.all_reduce("test.sum", sum);
  return sum.item<double>();
}

template <typename Named>
WholeTensors gather(ModelRank& rank, std::vector<Named>& tensors) {
  WholeTensors whole;
  for (const Named& tensor : tensors) {
    whole[tensor.name] =
        tensor.sharded ? gather_rows(rank, tensor.value.detach()) : tensor.value.detach().clone();
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

void on_ranks(const DatasetFile& dataset, const ModelConfig& config, const ShardedSetting& setting,
              const std::function<void(ModelRank&)>& body) {
  const DatasetSummary summary = summarise(dataset);
  const ModelConfig resolved = resolve(config, summary.space.domains());
  CommunicatorOptions options;
  options.check_collectives = true;
  run_ranks(
      setting.ranks,
      [&](Communicator& communicator) {
        const Shard shard =
            load_shard(dataset, summary, scattered_ownership(summary, setting.ranks),
                       setting.observed, setting.threads, communicator);
        Model model(resolved, dataset, shard, setting.seed);
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
  const at::Tensor all = communicator.all_gather("test.rows", rows.contiguous(), counts);
  const at::Tensor numbers =
      communicator.all_gather("test.nodes", node_numbers(rank.shard.owned()), counts);
  if (rank.communicator.rank() != 0) return {};
  CHECK_EQ(all.size(0), rank.shard.space().nodes());
  return at::empty_like(all).index_copy_(0, numbers, all);
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
  std::vector<std::vector<DenseTriple>> triples(setting.ranks);
  on_ranks(dataset, config, setting, [&](ModelRank& rank) {
    if (!parameters.empty()) fill_parameters(rank.model, parameters);
    const NodeSpace& space = rank.shard.space();
    const int number = rank.communicator.rank();
    EpochSampler sampler(space, read_training_share(dataset, space, rank.shard.ownership, number),
                         eligible_items(dataset, space),
                         {Sampling::interactions, batch_size, setting.seed, 1});
    const std::int64_t step_in_epoch = time.step % sampler.steps_per_epoch();
    const TripleBatch batch = sampler.batch(time.epoch, step_in_epoch);
    const std::int64_t rows = sampler.global_batch_rows(step_in_epoch);
    for (std::int64_t t = 0; t < batch.size(); ++t) {
      triples[number].push_back({value(batch.user[t]), value(batch.positive[t]),
                                 value(batch.negative[t]), batch.domain[t], batch.weight[t]});
    }
    const StepLoss loss = rank.model.loss(batch, rows, time);
    loss.total.backward();
    const double total = sum_over_ranks(rank.communicator, loss.total.item<double>());
    const double ranking = sum_over_ranks(rank.communicator, loss.ranking);
    const double l2 = sum_over_ranks(rank.communicator, loss.l2);
    const double self = sum_over_ranks(rank.communicator, loss.self);
    const double contrastive = sum_over_ranks(rank.communicator, loss.contrastive);
    WholeTensors gradients;
    for (const Parameter& parameter : rank.model.parameters()) {
      const at::Tensor own = parameter.value.grad().defined()
                                 ? parameter.value.grad()
                                 : at::zeros_like(parameter.value.detach());
      if (parameter.sharded) {
        gradients[parameter.name] = gather_rows(rank, own);
      } else {
        at::Tensor sum = own.to(at::kDouble).contiguous().clone();
        rank.communicator.all_reduce("test.gradient", sum);
        gradients[parameter.name] = sum;
      }
    }
    WholeTensors buffers = gather_buffers(rank);
    if (number != 0) return;
    result.total = total;
    result.ranking = ranking;
    result.l2 = l2;
    result.self = self;
    result.contrastive = contrastive;
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
