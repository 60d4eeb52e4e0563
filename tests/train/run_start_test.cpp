#include "train/run_start.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/store.h"
#include "data/additions.h"
#include "data/append.h"
#include "data/dataset_writer.h"
#include "tests/support/dense_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/later_world.h"
#include "tests/support/sharded_model.h"
#include "tests/support/temporary_folder.h"
#include "train/node_origins.h"
#include "train/training_state.h"

namespace micrec {
namespace {

constexpr std::int64_t kStep = 25;
constexpr std::int64_t kStepsPerEpoch = 10;
constexpr std::int64_t kEpoch = 2;

/// What a run begins with, put together on one rank.
struct Begun {
  WholeTensors values;
  WholeTensors buffers;
  at::Tensor first, second;  // moments of the embedding
  TrainingState state;
  std::string said;
};

class BeginFrom : public testing::Test {
 protected:
  BeginFrom() : later_(write_later_world({.users = 30, .items = 24}, folder_.path())) {
    known_ = std::make_shared<const DatasetFile>(DatasetFile::open(later_.known));
    std::ostringstream report;
    write_dataset(append(known_,
                         make_additions(*known_, later_.interactions, {}, FeaturesOf::met_items,
                                        SplitKind::ratio, report),
                         {parse_split_rule("ratio:1:0:0"), "a test"}, report),
                  folder_ / "more.h5");
    more_ = std::make_unique<DatasetFile>(DatasetFile::open(folder_ / "more.h5"));
  }

  /// Saves a run on what was known, with parameters and moments that are not the initial ones.
  void save(const ModelConfig& config, const DatasetFile& dataset,
            const std::string& settings = "") {
    CheckpointInfo info;
    info.config = settings;
    info.step = kStep;
    info.dataset_path = dataset.path();
    info.dataset_fingerprint = dataset.fingerprint();
    info.grid = "2x1";
    info.world_size = 2;
    info.extra = {{"steps_per_epoch", std::to_string(kStepsPerEpoch)}};
    ShardedSetting setting;
    setting.ranks = 2;
    parameters_ = make_parameters(DenseModel(resolve(config, 2), read_dense_world(dataset), 3), 8);
    on_ranks(dataset, config, setting, [&](ModelRank& rank) {
      fill_parameters(rank.model, parameters_);
      Optimizer optimizer(rank.model);
      for (std::size_t p = 0; p < rank.model.parameters().size(); ++p) {
        const at::Tensor value = rank.model.parameters()[p].value.detach();
        at::Tensor(optimizer.moments()[p].first).copy_(value * 0.1);
        at::Tensor(optimizer.moments()[p].second).copy_(value.square() * 0.01);
      }
      CheckpointStore store(folder_ / "run/checkpoints", rank.communicator);
      store.save(info, rank.shard.whole_nodes, checkpoint_tensors(rank.model, optimizer));
      const WholeTensors buffers = gather_buffers(rank);
      if (rank.communicator.rank() == 0) buffers_ = buffers;
    });
  }

  Begun begun(const ModelConfig& config, const DatasetFile& dataset, int ranks, int columns = 1) {
    Begun result;
    ShardedSetting setting;
    setting.ranks = ranks;
    setting.columns = columns;
    setting.initialise = false;
    on_ranks(dataset, config, setting, [&](ModelRank& rank) {
      Optimizer optimizer(rank.model);
      std::ostringstream log;
      const RunStart start = begin_from(folder_ / "run", dataset, rank.model, optimizer, log);
      const Parameter& embedding = rank.model.parameters().front();
      ASSERT_EQ(embedding.name, "embedding");
      const at::Tensor first = gather_like(rank, embedding, optimizer.moments()[0].first);
      const at::Tensor second = gather_like(rank, embedding, optimizer.moments()[0].second);
      const WholeTensors values = gather_parameters(rank);
      const WholeTensors buffers = gather_buffers(rank);
      if (rank.communicator.rank() == 0) {
        result = {values, buffers, first, second, start.state, log.str()};
      }
    });
    return result;
  }

  TemporaryFolder folder_;
  LaterWorld later_;
  std::shared_ptr<const DatasetFile> known_;
  std::unique_ptr<DatasetFile> more_;
  WholeTensors parameters_;
  WholeTensors buffers_;
};

/// What a template row is inferred to be, in plain loops: of the templates among the neighbours.
std::vector<double> inferred(const DatasetFile& dataset, const std::vector<NodeName>& names,
                             const std::map<NodeName, at::Tensor>& templates,
                             const at::Tensor& tokens, std::size_t node) {
  const auto& [domain, kind, key] = names[node];
  const bool is_user = kind == "user";
  const std::vector<std::string> users = dataset.user_keys(domain);
  const std::vector<std::string> items = dataset.item_keys(domain);
  const Interactions train = dataset.read(domain, Split::train);
  std::vector<double> sum(8, 0.0);
  double count = 1;
  for (std::size_t n = 0; n < train.user.size(); ++n) {
    if ((is_user ? users[train.user[n]] : items[train.item[n]]) != key) continue;
    const NodeName other = is_user ? NodeName(domain, "item", items[train.item[n]])
                                   : NodeName(domain, "user", users[train.user[n]]);
    const auto found = templates.find(other);
    if (found == templates.end()) continue;
    ++count;
    for (int c = 0; c < 8; ++c) sum[c] += found->second[c].item<double>();
  }
  const double scale = std::pow(count, std::pow(0.99, kEpoch) / 2 - 1);
  for (int c = 0; c < 8; ++c) {
    sum[c] = scale * (sum[c] + tokens[(is_user ? 0 : 2) + domain][c].item<double>());
  }
  return sum;
}

TEST_F(BeginFrom, KeepsWhatIsKnownAndInfersWhatIsNew) {
  const ModelConfig config = small_config(ModelKind::micrec);
  save(config, *known_);
  const std::vector<NodeName> names = names_of_nodes(*more_);
  const std::vector<NodeName> before = names_of_nodes(*known_);
  const at::Tensor rows_before = parameters_.at("embedding");
  const at::Tensor mask_before = buffers_.at("template_mask");
  std::map<NodeName, at::Tensor> templates;
  std::map<NodeName, std::int64_t> place;
  for (std::size_t n = 0; n < before.size(); ++n) {
    place[before[n]] = static_cast<std::int64_t>(n);
    if (mask_before[static_cast<std::int64_t>(n)].item<int>() != 0) {
      templates[before[n]] = rows_before[static_cast<std::int64_t>(n)];
    }
  }
  for (const auto& [ranks, columns] : {std::pair(1, 1), std::pair(3, 1), std::pair(2, 2)}) {
    const Begun begun = this->begun(config, *more_, ranks, columns);
    EXPECT_EQ(begun.state.step, 0);
    EXPECT_EQ(begun.state.steps_before, kStep);
    EXPECT_EQ(begun.state.epochs_before, kEpoch);
    expect_has(begun.said, {"extends the data set"});
    const at::Tensor& rows = begun.values.at("embedding");
    int of_new = 0;
    for (std::size_t n = 0; n < names.size(); ++n) {
      const auto node = static_cast<std::int64_t>(n);
      if (templates.count(names[n]) > 0) {
        EXPECT_TRUE(at::equal(rows[node], templates[names[n]]));
        EXPECT_TRUE(at::equal(begun.first[node], templates[names[n]] * 0.1));
        EXPECT_TRUE(at::equal(begun.second[node], templates[names[n]].square() * 0.01));
        continue;
      }
      const std::vector<double> expected =
          inferred(*more_, names, templates, parameters_.at("tokens"), n);
      for (int c = 0; c < 8; ++c) {
        EXPECT_NEAR(rows[node][c].item<double>(), expected[c], 1e-5) << std::get<2>(names[n]);
      }
      if (place.count(names[n]) > 0) continue;
      ++of_new;
      EXPECT_EQ(begun.first[node].abs().sum().item<double>(), 0);
      EXPECT_GT(begun.second[node].min().item<double>(), 0) << "that of its kind on average";
    }
    EXPECT_GT(of_new, 10);
    for (const auto& [name, value] : parameters_) {
      if (name == "embedding") continue;
      EXPECT_TRUE(at::equal(begun.values.at(name), value)) << name;
    }
    const at::Tensor& mask = begun.buffers.at("template_mask");
    EXPECT_GT(mask.sum().item<std::int64_t>(), mask_before.sum().item<std::int64_t>())
        << "new nodes are templates now";
    for (const char* statistics : {"features.text.mean", "features.image.scale"}) {
      EXPECT_TRUE(at::equal(begun.buffers.at(statistics), buffers_.at(statistics)));
    }
  }
}

TEST_F(BeginFrom, GivesNewRowsOfATableTheMeanOfTheirKind) {
  const ModelConfig config = small_config(ModelKind::lightgcn);
  save(config, *known_);
  const Begun begun = this->begun(config, *more_, 2);
  const std::vector<NodeName> names = names_of_nodes(*more_);
  const Interactions train = known_->read(0, Split::train);
  std::vector<std::int32_t> trained = train.user;
  trained.erase(std::unique(trained.begin(), trained.end()), trained.end());
  const at::Tensor mean = parameters_.at("embedding").index_select(0, at::tensor(trained)).mean(0);
  const auto first_new = known_->domains()[0].users;
  ASSERT_GT(more_->domains()[0].users, first_new);
  EXPECT_TRUE(at::allclose(begun.values.at("embedding")[first_new], mean, 1e-5, 1e-5));
}

TEST_F(BeginFrom, MatchesByKeyWhereTheDataSetWasMadeAnew) {
  const ModelConfig config = small_config(ModelKind::micrec);
  save(config, *known_);
  const DatasetFile anew = write_small_world({.users = 30, .items = 24}, folder_ / "anew.h5");
  ASSERT_FALSE(origins_by_record(anew, known_->fingerprint()).has_value());
  const Begun begun = this->begun(config, anew, 2);
  expect_has(begun.said, {"matched by the keys of " + known_->path()});
  const std::vector<NodeName> names = names_of_nodes(anew);
  const std::vector<NodeName> before = names_of_nodes(*known_);
  int known = 0;
  for (std::size_t n = 0; n < names.size(); ++n) {
    const auto found = std::ranges::find(before, names[n]);
    if (found == before.end()) continue;
    const std::int64_t then = found - before.begin();
    if (buffers_.at("template_mask")[then].item<int>() == 0) continue;
    ++known;
    EXPECT_TRUE(at::equal(begun.values.at("embedding")[static_cast<std::int64_t>(n)],
                          parameters_.at("embedding")[then]));
  }
  EXPECT_GT(known, 40);
  std::filesystem::remove(known_->path());
  expect_error(Cause::io, {"--append"}, [&] { this->begun(config, anew, 1); });
}

/// How many interactions of a split have users and items of the same keys in the training of then.
std::int64_t trained_on(const DatasetFile& now, const DatasetFile& then, int domain, Split split) {
  const auto pairs_of = [domain](const DatasetFile& dataset, Split which) {
    const std::vector<std::string> users = dataset.user_keys(domain);
    const std::vector<std::string> items = dataset.item_keys(domain);
    const Interactions part = dataset.read(domain, which);
    std::set<std::pair<std::string, std::string>> pairs;
    for (std::size_t n = 0; n < part.user.size(); ++n) {
      pairs.emplace(users[part.user[n]], items[part.item[n]]);
    }
    return pairs;
  };
  const auto trained = pairs_of(then, Split::train);
  const auto held = pairs_of(now, split);
  return std::ranges::count_if(held, [&](const auto& pair) { return trained.contains(pair); });
}

TEST_F(BeginFrom, TellsHowMuchOfTheTestWasTrainedOn) {
  const ModelConfig config = small_config(ModelKind::lightgcn);
  save(config, *known_);
  EXPECT_EQ(begun(config, *more_, 2).said.find("WARNING"), std::string::npos);
  const DatasetFile anew =
      write_small_world({.users = 30, .items = 24, .seed = 5}, folder_ / "anew.h5");
  const std::string said = begun(config, anew, 2).said;
  expect_has(said, {"leakage"});
  std::int64_t all = 0;
  for (int d = 0; d < 2; ++d) {
    const DomainInfo& info = anew.domains()[d];
    for (const auto& [split, name] :
         {std::pair(Split::valid, "validation"), std::pair(Split::test, "test")}) {
      const std::int64_t count = trained_on(anew, *known_, d, split);
      all += count;
      if (count == 0) continue;
      expect_has(said, {text(count, " of ", info.interactions[static_cast<int>(split)], " ", name,
                             " interactions of ", info.name)});
    }
  }
  EXPECT_GT(all, 0);
  std::filesystem::remove_all(folder_ / "run");
  save(config, anew, "--init_from=" + (folder_ / "gone") + "\n");
  const std::string of_gone = begun(config, anew, 1).said;
  expect_has(of_gone, {"leakage was not checked"});
  std::filesystem::rename(folder_ / "run", folder_ / "gone");
  save(config, anew, "--init_from=" + (folder_ / "gone") + "\n");
  EXPECT_EQ(begun(config, anew, 1).said.find("WARNING"), std::string::npos);
}

TEST_F(BeginFrom, IsTheSameModelOnTheSameDataSet) {
  const ModelConfig config = small_config(ModelKind::micrec);
  save(config, *known_);
  const Begun begun = this->begun(config, *known_, 2);
  const at::Tensor mask = buffers_.at("template_mask").to(at::kBool);
  EXPECT_TRUE(at::equal(begun.values.at("embedding").index({mask}),
                        parameters_.at("embedding").index({mask})));
  EXPECT_TRUE(at::equal(begun.buffers.at("template_mask"), buffers_.at("template_mask")));
}

TEST_F(BeginFrom, IsTheSameModelWhereNothingWasAdded) {
  std::ostringstream report;
  write_dataset(
      append(known_,
             make_additions(*known_, {}, {}, FeaturesOf::met_items, SplitKind::ratio, report),
             {parse_split_rule("ratio:1:0:0"), "a test"}, report),
      folder_ / "same.h5");
  const DatasetFile same = DatasetFile::open(folder_ / "same.h5");
  ASSERT_EQ(same.fingerprint(), known_->fingerprint());
  EXPECT_FALSE(origins_by_record(same, known_->fingerprint()));
  const ModelConfig config = small_config(ModelKind::micrec);
  save(config, *known_);
  EXPECT_EQ(begun(config, same, 1).said.find("extends"), std::string::npos);
}

TEST_F(BeginFrom, NamesWhatTheOldRunHasNothingOf) {
  save(small_config(ModelKind::lightgcn), *known_);
  expect_error(Cause::usage,
               {"--init_from", "micrec", "tokens", "leave the flags of the model out"},
               [&] { begun(small_config(ModelKind::micrec), *known_, 2); });
}

TEST_F(BeginFrom, TellsWhatAnotherModelLeavesBehind) {
  save(small_config(ModelKind::micrec), *known_);
  const std::string said = begun(small_config(ModelKind::lightgcn), *known_, 2).said;
  expect_has(said,
             {"not taken over, as lightgcn as it is set has nothing of the kind: ", "tokens"});
}

TEST_F(BeginFrom, RefusesKindsThatAreSolvedAndRunsWithoutACheckpoint) {
  for (const auto& [kind, cause] : {std::pair(ModelKind::ials, Cause::usage),
                                    std::pair(ModelKind::micrec, Cause::checkpoint)}) {
    expect_error(cause, {}, [&, kind = kind] { begun(small_config(kind), *more_, 1); });
  }
}

}  // namespace
}  // namespace micrec
