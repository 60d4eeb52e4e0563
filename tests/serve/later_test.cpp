// What came after training, given beside a run, is the graph that a data set has which held it out.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/store.h"
#include "cluster/thread_communicator.h"
#include "data/additions.h"
#include "data/dataset_writer.h"
#include "data/feature_matching.h"
#include "data/key_table.h"
#include "io/feature_file.h"
#include "model/item_regression/item_regression_fit.h"
#include "serve/evaluation.h"
#include "serve/later_files.h"
#include "serve/recommender.h"
#include "serve/served_model.h"
#include "serve/service.h"
#include "serve/trained_run.h"
#include "tests/support/dense_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/feature_file.h"
#include "tests/support/later_world.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"
#include "train/optimizer.h"
#include "train/semantic_neighbours_run.h"
#include "train/training_state.h"

namespace micrec {
namespace {

constexpr std::int64_t kStep = 25;
constexpr std::int64_t kStepsPerEpoch = 10;
constexpr std::uint64_t kSeed = 3;
const std::vector<std::string> kModalities = {"image", "text"};
const SmallWorld kWorld = {.users = 30, .items = 24};

/// Rows of the nodes of one data set for those of another, by name; new ones get `fill`.
at::Tensor carried(const at::Tensor& rows, const DatasetFile& from, const DatasetFile& to,
                   double fill) {
  std::map<NodeName, std::int64_t> place;
  std::int64_t next = 0;
  for (const NodeName& name : names_of_nodes(from)) place[name] = next++;
  std::vector<std::int64_t> shape = rows.sizes().vec();
  const std::vector<NodeName> names = names_of_nodes(to);
  shape.front() = static_cast<std::int64_t>(names.size());
  at::Tensor result = at::full(shape, fill, rows.options());
  for (std::size_t n = 0; n < names.size(); ++n) {
    const auto found = place.find(names[n]);
    if (found != place.end()) result[static_cast<std::int64_t>(n)].copy_(rows[found->second]);
  }
  return result;
}

class LaterTest : public testing::Test {
 protected:
  LaterTest()
      : whole_(write_small_world(kWorld, folder_ / "whole.h5")),
        later_(write_later_world(kWorld, folder_.path())),
        known_(DatasetFile::open(later_.known)) {
    options_.run_dir = folder_ / "run";
    options_.read_settings = [this](const std::string&, const std::string&) { return config_; };
    options_.read_additions = [this](const DatasetFile& dataset, ColdItems, std::ostream& report) {
      return make_additions(dataset,
                            gives_interactions_ ? later_.interactions : std::vector<RawDomain>(),
                            gives_features_ ? later_.features : std::vector<FeatureInput>(),
                            FeaturesOf::new_items, SplitKind::ratio, report);
    };
  }

  /// Saves a model on what is known, at parameters that are not the initial ones.
  void save(const ModelConfig& config, std::optional<StoredFile> regression = {}) {
    config_ = config;
    const DenseWorld dense = read_dense_world(known_);
    const ModelConfig resolved = resolve(config, 2);
    if (!resolved.is_solved()) parameters_ = make_parameters(DenseModel(resolved, dense, 3), 8);
    CheckpointInfo info;
    info.step = kStep;
    info.dataset_path = known_.path();
    info.dataset_fingerprint = known_.fingerprint();
    info.grid = "2x1";
    info.world_size = 2;
    info.extra["steps_per_epoch"] = std::to_string(kStepsPerEpoch);
    info.item_regression = regression;
    ShardedSetting setting;
    setting.ranks = 2;
    on_ranks(known_, config, setting, [&](ModelRank& rank) {
      if (resolved.is_solved()) {
        at::Tensor votes = at::zeros({1}, at::kDouble);
        for (int step = 0; step < 2; ++step) rank.model.solve(votes);
      } else {
        fill_parameters(rank.model, parameters_);
      }
      rank.model.refresh();
      rank.model.fit_ridge(rank.model.embeddings(epoch()));
      CheckpointStore store(folder_ / "run/checkpoints", rank.communicator);
      const Optimizer optimizer(rank.model);
      store.save(info, rank.shard.whole_nodes, checkpoint_tensors(rank.model, optimizer));
      const WholeTensors buffers = gather_buffers(rank);
      if (rank.communicator.rank() == 0) buffers_ = buffers;
    });
  }

  static std::int64_t epoch() { return epoch_of_last_step(kStep, kStepsPerEpoch); }

  /// Final rows of the same model on the data set that holds out what came later.
  at::Tensor rows_where_held_out() {
    constexpr double kMeaningless = 7;  // of rows that belong to nobody the model was trained on
    WholeTensors parameters, buffers;
    const auto is_by_node = [&](const at::Tensor& value) {
      return value.dim() > 0 &&
             value.size(0) == static_cast<std::int64_t>(names_of_nodes(known_).size());
    };
    for (const auto& [name, value] : parameters_) {
      parameters[name] = is_by_node(value) ? carried(value, known_, whole_, kMeaningless) : value;
    }
    for (const auto& [name, value] : buffers_) {
      // Of kinds that are solved a row without training interactions is zero.
      buffers[name] = is_by_node(value) ? carried(value, known_, whole_, 0) : value;
    }
    ShardedSetting setting;
    setting.observed = Observed::all;
    return sharded_embeddings(whole_, config_, setting, parameters, buffers, epoch());
  }

  void open(int ranks, const std::function<void(TrainedRun&)>& body) {
    run_ranks(ranks, [&](Communicator& communicator) {
      const auto run = open_trained_run(options_, communicator);
      body(*run);
    });
  }

  void expect_refused(Cause cause, const std::vector<std::string>& parts) {
    expect_error(cause, parts, [&] { open(1, [](TrainedRun&) {}); });
  }

  /// Coefficients by the names of items, of all ranks of an opened run.
  using Coefficients = std::map<std::pair<NodeName, NodeName>, float>;
  Coefficients coefficients_when_opened(int ranks) {
    Coefficients all;
    std::mutex mutex;
    open(ranks, [&](TrainedRun& run) {
      const std::lock_guard<std::mutex> lock(mutex);
      add_coefficients(run.dataset, whole_items(run.shard), *run.coefficients(), all);
    });
    return all;
  }

  static void add_coefficients(const DatasetFile& dataset, const std::vector<std::int32_t>& own,
                               const SparseRows& rows, Coefficients& to) {
    std::vector<NodeName> items = names_of_nodes(dataset);
    std::erase_if(items, [](const NodeName& name) { return std::get<1>(name) == "user"; });
    ASSERT_EQ(rows.rows(), static_cast<std::int64_t>(own.size()));
    for (std::size_t n = 0; n < own.size(); ++n) {
      for (std::int64_t at = rows.offsets[n]; at < rows.offsets[n + 1]; ++at) {
        if (at > rows.offsets[n]) {
          EXPECT_LT(rows.column[at - 1], rows.column[at]);
        }
        to[{items[own[n]], items[rows.column[at]]}] = rows.value[at];
      }
    }
  }

  /// Fits item regression on the training interactions of a data set.
  static std::pair<std::vector<std::int32_t>, SparseRows> fit_on(const DatasetFile& dataset) {
    std::vector<std::int32_t> own;
    SparseRows rows;
    on_ranks(dataset, small_config(ModelKind::mf), {}, [&](ModelRank& rank) {
      const ItemRegressionFit fit(rank.dataset, rank.shard, kModalities, ItemFeatures::kColumns,
                                  kSeed);
      const ItemRegressionSettings first{.lambda = 20, .cross = 0.6, .alpha = {2, 1}};
      const ItemRegressionSettings second{.lambda = 60, .cross = 0.4, .alpha = {1, 3}};
      own = fit.histories().own_items();
      rows = fit.solve({{first.cross, first.lambda, {first}, 0},
                        {second.cross, second.lambda, {second}, 0}},
                       [](double) {})
                 .front();
    });
    return {own, rows};
  }

  StoredFile write_fit(const SparseRows& rows, const std::vector<std::int32_t>& own) {
    const std::string settings =
        R"({"asked":{"modalities":["image","text"],"seed":3},"chosen":{)"
        R"("domain0":{"lambda":20,"cross":0.6,"alpha":{"image":2,"text":1}},)"
        R"("domain1":{"lambda":60,"cross":0.4,"alpha":{"image":1,"text":3}}}})";
    StoredFile stored;
    run_ranks(1, [&](Communicator& communicator) {
      stored = write_coefficients(coefficient_file_of(options_.run_dir),
                                  static_cast<std::int64_t>(own.size()), own, rows,
                                  {known_.fingerprint(), settings}, communicator);
    });
    return stored;
  }

  /// Saves a run with item regression that was fitted on what is known.
  Coefficients save_with_regression() {
    const auto [own, rows] = fit_on(known_);
    std::filesystem::create_directories(options_.run_dir);
    ModelConfig config = small_config(ModelKind::micrec);
    config.item_regression = ItemRegressionUse::automatic;
    save(config, write_fit(rows, own));
    Coefficients fitted;
    add_coefficients(known_, own, rows, fitted);
    return fitted;
  }

  static bool is_new(const DatasetFile& known, const NodeName& item) {
    const std::vector<NodeName> names = names_of_nodes(known);
    return std::ranges::find(names, item) == names.end();
  }

  TemporaryFolder folder_;
  DatasetFile whole_;
  LaterWorld later_;
  DatasetFile known_;
  bool gives_interactions_ = true;
  bool gives_features_ = true;
  ModelConfig config_;
  WholeTensors parameters_;
  WholeTensors buffers_;
  TrainedRunOptions options_;
};

class LaterOfKind : public LaterTest, public testing::WithParamInterface<ModelKind> {};

TEST_P(LaterOfKind, HasTheRowsThatAHoldOutHasAtAnyNumberOfRanks) {
  ModelConfig config = small_config(GetParam());
  if (GetParam() == ModelKind::inmo) config.share_templates = 0.5;
  gives_features_ = GetParam() == ModelKind::micrec;  // others have no place for cold items
  save(config);
  const at::Tensor expected = rows_where_held_out();
  std::map<NodeName, std::int64_t> place;
  std::int64_t next = 0;
  for (const NodeName& name : names_of_nodes(whole_)) place[name] = next++;
  for (const int ranks : {1, 2, 3}) {
    std::mutex mutex;
    std::int64_t compared = 0;
    std::int64_t of_new = 0;
    open(ranks, [&](TrainedRun& run) {
      const std::vector<NodeName> names = names_of_nodes(run.dataset);
      const at::Tensor z = run.model->embeddings(run.epoch);
      const std::lock_guard<std::mutex> lock(mutex);
      for (std::size_t row = 0; row < run.shard.whole_nodes.size(); ++row) {
        const NodeName& name = names[value(run.shard.whole_nodes[row])];
        const at::Tensor own = z[static_cast<std::int64_t>(row)];
        EXPECT_TRUE(at::allclose(own, expected[place.at(name)], 1e-5, 1e-5))
            << std::get<1>(name) << " " << std::get<2>(name) << " at " << ranks << " ranks:\n"
            << own << expected[place.at(name)];
        ++compared;
        of_new += is_new(known_, name) ? 1 : 0;
      }
    });
    EXPECT_GT(compared, 80);
    EXPECT_GT(of_new, 10);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, LaterOfKind,
                         testing::Values(ModelKind::micrec, ModelKind::inmo, ModelKind::lightgcn,
                                         ModelKind::ials, ModelKind::popularity),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_F(LaterTest, SearchesForTheNeighboursOfNewItemsAlone) {
  save(small_config(ModelKind::micrec));
  const auto asked = [](TrainedRun& run) {
    std::int64_t sum = 0;
    for (const NamedSearch& search : run.model->neighbour_searches()) sum += search.report.asking;
    return sum;
  };
  std::int64_t asked_before = 0;
  std::map<std::pair<int, int>, at::Tensor> rows;  // by ranks and rank
  std::mutex mutex;
  for (const int ranks : {1, 3}) {
    open(ranks, [&](TrainedRun& run) {
      const at::Tensor z = run.model->embeddings(run.epoch);
      const std::lock_guard<std::mutex> lock(mutex);
      rows[{ranks, run.shard.rank()}] = z;
      asked_before = asked(run);
    });
  }
  ShardedSetting setting;
  setting.ranks = 2;
  on_ranks(known_, config_, setting, [&](ModelRank& rank) {
    const NeighbourFiles files{.run_dir = options_.run_dir,
                               .dataset_fingerprint = known_.fingerprint()};
    keep_semantic_neighbours(files, rank.model.config(),
                             search_semantic_neighbours(known_, rank.shard, rank.model.config()),
                             rank.shard);
  });
  for (const int ranks : {1, 3}) {
    open(ranks, [&](TrainedRun& run) {
      const at::Tensor z = run.model->embeddings(run.epoch);
      const std::lock_guard<std::mutex> lock(mutex);
      EXPECT_TRUE(at::equal(z, (rows[{ranks, run.shard.rank()}])));
      EXPECT_GT(asked(run), 0);
      EXPECT_LT(2 * asked(run), asked_before);
    });
  }
  gives_features_ = false;
  open(1, [&](TrainedRun& run) { EXPECT_TRUE(run.model->neighbour_searches().empty()); });
}

TEST_F(LaterTest, LeavesTheRunAsItWasWhereNothingCame) {
  save(small_config(ModelKind::micrec));
  at::Tensor before;
  const AdditionsReader reader = std::exchange(options_.read_additions, nullptr);
  open(1, [&](TrainedRun& run) { before = run.model->embeddings(run.epoch); });
  gives_features_ = false;
  gives_interactions_ = false;
  options_.read_additions = reader;
  open(1,
       [&](TrainedRun& run) { EXPECT_TRUE(at::equal(run.model->embeddings(run.epoch), before)); });
}

TEST_F(LaterTest, SolvesColdItemsAsIfTheyHadBeenHeldOut) {
  const Coefficients fitted = save_with_regression();
  gives_interactions_ = false;
  Coefficients expected;
  const auto [own, rows] = fit_on(whole_);
  add_coefficients(whole_, own, rows, expected);
  for (const int ranks : {1, 3}) {
    const Coefficients now = coefficients_when_opened(ranks);
    std::int64_t of_new = 0;
    for (const auto& [pair, coefficient] : now) {
      if (is_new(known_, pair.first)) {
        ++of_new;
        ASSERT_EQ(expected.count(pair), 1U);
        EXPECT_NEAR(coefficient, expected.at(pair), 1e-5) << std::get<2>(pair.first);
      } else {
        EXPECT_EQ(coefficient, fitted.at(pair)) << "what was fitted stays";
      }
    }
    EXPECT_GT(of_new, 20);
    EXPECT_EQ(now.size() - of_new, fitted.size());
  }
}

TEST_F(LaterTest, SolvesNewItemsFromWhatPeopleDidSince) {
  const Coefficients fitted = save_with_regression();
  // The data set that a refreshed run would be fitted on: what came later is of training.
  const AdditionsReader& read = options_.read_additions;
  std::ostringstream report;
  const DatasetFile extended =
      DatasetFile::with(DatasetFile::open(known_.path()), *read(known_, ColdItems::placed, report));
  PreparedDataset world = make_small_world(kWorld);
  for (PreparedDomain& domain : world.domains) {
    for (Split& split : domain.split) split = split == Split::later ? Split::train : split;
  }
  write_dataset(world, folder_ / "trained.h5");
  Coefficients expected;
  const DatasetFile trained = DatasetFile::open(folder_ / "trained.h5");
  const auto [own, rows] = fit_on(trained);
  add_coefficients(trained, own, rows, expected);
  const Coefficients now = coefficients_when_opened(2);
  std::int64_t of_new = 0;
  std::int64_t from_new = 0;
  for (const auto& [pair, coefficient] : now) {
    if (!is_new(known_, pair.first)) {
      EXPECT_EQ(coefficient, fitted.at(pair));
      continue;
    }
    ++of_new;
    from_new += is_new(known_, pair.second) ? 1 : 0;
    ASSERT_EQ(expected.count(pair), 1U);
    EXPECT_NEAR(coefficient, expected.at(pair), 1e-5);
  }
  EXPECT_GT(of_new, 20);
  EXPECT_GT(from_new, 0) << "new items that people met are sources of new items";
}

TEST_F(LaterTest, IsEvaluatedOverTheLargerCatalogue) {
  save_with_regression();
  open(2, [&](TrainedRun& run) {
    const auto evaluation = evaluate_run(run, Split::test, {5});
    ASSERT_TRUE(evaluation.has_value());
    EXPECT_GT(evaluation->report.domains[0].candidates, known_.domains()[0].items);
  });
}

TEST_F(LaterTest, RefusesColdItemsWhereTheModelLooksAtNoFeatures) {
  save(small_config(ModelKind::lightgcn));
  config_.modalities = {};
  gives_interactions_ = false;
  expect_refused(Cause::usage, {"--items", "looks at no features", "--observed"});
}

TEST_F(LaterTest, SaysWhatToDoWithADataSetThatExtendsTheRuns) {
  save(small_config(ModelKind::micrec));
  PreparedDataset world = make_small_world(kWorld);
  world.extends = {{known_.fingerprint(), {1, 1}, {1, 1}, 1}};
  options_.dataset = folder_ / "extends.h5";
  write_dataset(world, options_.dataset);
  expect_refused(Cause::checkpoint, {"extends the data set", "--init_from", "--observed"});
}

/// What came later as clients tell a server of it, the last first.
Observation told_backwards(const LaterWorld& later, const DatasetFile& known) {
  std::map<std::pair<std::string, std::string>, NewItem> items;
  std::map<std::string, KeyTable> old;
  for (int d = 0; d < static_cast<int>(known.domains().size()); ++d) {
    old[known.domains()[d].name] = number_keys(known.item_keys(d));
  }
  Observation told;
  for (const RawDomain& raw : later.interactions) {
    for (std::size_t n = 0; n < raw.user.size(); ++n) {
      const std::string item(raw.items.key(raw.item[n]));
      told.events.push_back({raw.name, std::string(raw.users.key(raw.user[n])), item});
      if (old[raw.name].find(item) < 0) items[{raw.name, item}] = {raw.name, item};
    }
  }
  for (const FeatureInput& input : later.features) {
    const FeatureFile file = FeatureFile::open(input.path);
    for (std::size_t row = 0; row < file.keys().size(); ++row) {
      NewItem& item = items[{input.domain, file.keys()[row]}];
      item.domain = input.domain;
      item.item = file.keys()[row];
      std::vector<float>& numbers = item.features[input.modality];
      numbers.resize(file.width());
      const auto number = static_cast<std::int64_t>(row);
      file.read_rows({number, number + 1}, numbers.data());
    }
  }
  for (const auto& [name, item] : items) told.items.push_back(item);
  std::ranges::reverse(told.events);
  std::ranges::reverse(told.items);
  return told;
}

/// The interactions with new items alone: those that a server takes into the graph.
std::vector<RawDomain> with_new_items(const std::vector<RawDomain>& interactions,
                                      const DatasetFile& known) {
  std::vector<RawDomain> result;
  for (const RawDomain& raw : interactions) {
    const KeyTable old = number_keys(known.item_keys(known.domain_number(raw.name)));
    RawDomain kept;
    kept.name = raw.name;
    for (std::size_t n = 0; n < raw.user.size(); ++n) {
      if (old.find(raw.items.key(raw.item[n])) >= 0) continue;
      kept.user.push_back(kept.users.add(raw.users.key(raw.user[n])));
      kept.item.push_back(kept.items.add(raw.items.key(raw.item[n])));
    }
    if (!kept.user.empty()) result.push_back(std::move(kept));
  }
  return result;
}

/// The people's histories as a server has them: what the model has seen and what was told.
void set_histories(const Observation& told, const DatasetFile& dataset, Recommender& recommender) {
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const KeyTable items = number_keys(dataset.item_keys(d));
    History history;
    for (const ObservedEvent& event : told.events) {
      if (event.domain != dataset.domains()[d].name) continue;
      const std::int32_t user = history.users.add(event.user);
      history.met.resize(history.users.size());
      history.met[user].items.push_back(items.find(event.item));
    }
    for (std::int32_t u = 0; u < history.users.size(); ++u) {
      std::vector<std::int32_t>& list = history.met[u].items;
      if (const MetItems* const seen = recommender.met(d, {history.users.key(u), {}})) {
        list.insert(list.end(), seen->items.begin(), seen->items.end());
      }
      std::ranges::sort(list);
      list.erase(std::unique(list.begin(), list.end()), list.end());
    }
    recommender.set_history(d, std::move(history));
  }
}

/// What is served, beside what Recommender lists on the same graph.
class ServedLaterTest : public LaterTest {
 protected:
  ServedLaterTest() : people_(known_.person_keys()) {
    people_.emplace_back("nobody");
    save_with_regression();
  }

  /// The lists of everybody where later_ is the graph and `told` a part of the histories.
  std::vector<AnsweredList> lists_of_recommender(const Observation& told) {
    std::vector<AnsweredList> lists;
    open(1, [&](TrainedRun& run) {
      Recommender recommender(run.dataset, *run.model, run.epoch, run.coefficients(),
                              run.model->item_regression().mixes());
      set_histories(told, run.dataset, recommender);
      for (const std::string& key : people_) {
        for (const int domain : {0, 1}) {
          const std::vector<std::string> keys = run.dataset.item_keys(domain);
          recommender.recommend(domain, std::vector<std::string>{key}, {.k = 30},
                                [&](const Recommendation& list) {
                                  lists.push_back({"", name_of(list.basis), {}});
                                  for (const ScoredItem& item : list.items) {
                                    lists.back().items.push_back({keys[item.item], "", item.score});
                                  }
                                });
        }
      }
    });
    return lists;
  }

  void expect_lists(const RecommendationService& service,
                    const std::vector<AnsweredList>& expected) const {
    std::size_t next = 0;
    for (const std::string& key : people_) {
      for (const AnsweredList& list : service.recommend({{key, {}}, {}, 30}).lists) {
        const AnsweredList& wanted = expected[next++];
        EXPECT_EQ(list.basis, wanted.basis) << key;
        ASSERT_EQ(list.items.size(), wanted.items.size()) << key;
        for (std::size_t n = 0; n < wanted.items.size(); ++n) {
          EXPECT_EQ(list.items[n].item, wanted.items[n].item) << key;
          EXPECT_NEAR(list.items[n].score, wanted.items[n].score, 1e-5) << key;
        }
      }
    }
  }

  /// Opens the run on the files and on what was told.
  ModelLoader loader(Communicator& communicator, const LaterFiles& files = {}) {
    return [this, &communicator, files](const ServedAdditions& additions) {
      ++opened_;
      TrainedRunOptions options = options_;
      options.read_additions = additions_reader(files, additions.told);
      options.report = &report_;
      return std::make_shared<const ServedModel>(open_trained_run(options, communicator),
                                                 ServedFiles{additions.titles, {}}, report_);
    };
  }

  std::vector<std::string> people_;
  int opened_ = 0;
  std::ostringstream report_;
};

TEST_F(ServedLaterTest, WhoIsToldOfItHasTheListsOfRecommendAtOnceAndAfterARestart) {
  const Observation told = told_backwards(later_, known_);
  later_.interactions = with_new_items(later_.interactions, known_);
  const std::vector<AnsweredList> expected = lists_of_recommender(told);
  run_ranks(1, [&](Communicator& communicator) {
    int notified = 0;
    {
      RecommendationService service(loader(communicator), {}, folder_ / "observed.log", report_,
                                    [&] { ++notified; });
      EXPECT_FALSE(service.has_news());
      Observation first = told;
      first.items[0].title = "A new thing";
      first.events.resize(first.events.size() / 2);
      const ObserveAnswer answer = service.observe(first);
      EXPECT_EQ(answer.added_items, std::ssize(told.items));
      EXPECT_EQ(answer.added, std::ssize(first.events));
      EXPECT_EQ(service.state().waiting_items, std::ssize(told.items));
      EXPECT_EQ(notified, 1);
      service.observe(told);
      EXPECT_TRUE(service.has_news());
      service.reload();
      EXPECT_FALSE(service.has_news());
      EXPECT_EQ(service.state().new_items, std::ssize(told.items));
      EXPECT_EQ(service.state().waiting_items, 0);
      EXPECT_EQ(service.find_items({told.items[0].domain, "a new thing", 5}).lists[0].items.size(),
                1U);
      EXPECT_EQ(service.observe(told).known_items, std::ssize(told.items));
      EXPECT_FALSE(service.has_news());
      expect_lists(service, expected);
      const Answer similar =
          service.similar({{{told.items[0].domain, {told.items[0].item}}}, {}, 5});
      EXPECT_EQ(similar.lists[0].items.size(), 5U);
    }
    opened_ = 0;
    const RecommendationService again(loader(communicator), {}, folder_ / "observed.log", report_);
    EXPECT_EQ(opened_, 1) << "a start with new items opens the model once";
    EXPECT_FALSE(again.has_news());
    EXPECT_EQ(again.state().new_items, std::ssize(told.items));
    expect_lists(again, expected);
  });
}

/// Interactions [begin, end), with their keys alone.
RawDomain part_of(const RawDomain& raw, std::size_t begin, std::size_t end) {
  RawDomain part;
  part.name = raw.name;
  for (std::size_t n = begin; n < end; ++n) {
    part.user.push_back(part.users.add(raw.users.key(raw.user[n])));
    part.item.push_back(part.items.add(raw.items.key(raw.item[n])));
  }
  return part;
}

RawDomain joined(const RawDomain& first, const RawDomain& second) {
  RawDomain both = part_of(first, 0, first.user.size());
  for (std::size_t n = 0; n < second.user.size(); ++n) {
    both.user.push_back(both.users.add(second.users.key(second.user[n])));
    both.item.push_back(both.items.add(second.items.key(second.item[n])));
  }
  return both;
}

/// A later world as a half in files and a rest that a server is told.
struct HalfInFiles {
  LaterFiles files;
  std::vector<RawDomain> rest;
};

/// Leaves in `later` what the graph takes of both: of the rest what was done with new items.
HalfInFiles divide(LaterWorld& later, const DatasetFile& known, const TemporaryFolder& folder) {
  HalfInFiles halves;
  for (RawDomain& raw : later.interactions) {
    const std::size_t half = raw.user.size() / 2;
    const RawDomain first = part_of(raw, 0, half);
    halves.rest.push_back(part_of(raw, half, raw.user.size()));
    std::string lines = "user_id,item_id,timestamp\n";
    for (std::size_t n = 0; n < half; ++n) {
      lines += text(first.users.key(first.user[n]), ",", first.items.key(first.item[n]), ",",
                    1'400'000'000 + n, "\n");
    }
    halves.files.observed += text(halves.files.observed.empty() ? "" : ",", raw.name, "=",
                                  folder.write(raw.name + "-later.csv", lines));
    const std::vector<RawDomain> of_new = with_new_items({halves.rest.back()}, known);
    raw = of_new.empty() ? part_of(first, 0, half) : joined(first, of_new.front());
  }
  for (const FeatureInput& input : later.features) {
    halves.files.items += text(halves.files.items.empty() ? "" : ",", input.modality, ":",
                               input.domain, "=", input.path);
  }
  return halves;
}

TEST_F(ServedLaterTest, WhoHasFilesAndIsToldTheRestHasTheListsOfRecommendOnBoth) {
  for (const RawDomain& raw : later_.interactions) {
    for (std::int32_t user = 0; user < raw.users.size(); ++user) {
      people_.emplace_back(raw.users.key(user));
    }
  }
  const HalfInFiles halves = divide(later_, known_, folder_);
  const Observation told = told_backwards({later_.known, halves.rest, {}}, known_);
  const std::vector<AnsweredList> expected = lists_of_recommender(told);
  run_ranks(1, [&](Communicator& communicator) {
    const std::string log = folder_ / "observed.log";
    {
      RecommendationService service(loader(communicator, halves.files), {}, log, report_);
      EXPECT_GT(service.state().new_items, 0);
      EXPECT_FALSE(service.has_news());
      const ObserveAnswer answer = service.observe(told);
      EXPECT_EQ(answer.added, std::ssize(told.events));
      EXPECT_GT(answer.known_items, 0) << "items of the files are known";
      EXPECT_TRUE(service.has_news()) << "events with them make their rows better";
      service.reload();
      expect_lists(service, expected);
    }
    opened_ = 0;
    const RecommendationService again(loader(communicator, halves.files), {}, log, report_);
    EXPECT_EQ(opened_, 1);
    expect_lists(again, expected);
  });
}

TEST_F(ServedLaterTest, WhatWasToldIsJoinedToFilesThatCameAfterIt) {
  const LaterWorld whole = later_;
  const HalfInFiles halves = divide(later_, known_, folder_);
  const Observation told = told_backwards({later_.known, halves.rest, whole.features}, known_);
  const std::vector<AnsweredList> expected = lists_of_recommender(told);
  // A file lacks an item whose features were told.
  const FeatureInput& input = whole.features.front();
  const FeatureFile file = FeatureFile::open(input.path);
  ASSERT_GE(file.keys().size(), 2U);
  std::vector<std::string> keys = file.keys();
  keys.pop_back();
  std::vector<float> rows(keys.size() * file.width());
  file.read_rows({0, std::ssize(keys)}, rows.data());
  LaterFiles files = halves.files;
  write_feature_file(folder_ / "fewer.h5", keys, file.width(), rows.data());
  files.items.replace(files.items.find(input.path), input.path.size(), folder_ / "fewer.h5");
  run_ranks(1, [&](Communicator& communicator) {
    const std::string log = folder_ / "observed.log";
    RecommendationService(loader(communicator), {}, log, report_).observe(told);
    const RecommendationService service(loader(communicator, files), {}, log, report_);
    expect_has(report_.str(), {"fewer.h5 and what was observed"});
    expect_lists(service, expected);
  });
}

TEST_F(ServedLaterTest, RowsFarLongerThanThoseThatWereTrainedOnAreRefusedAndHarmNoOther) {
  const ModalityInfo& info = known_.domains()[0].modalities.front();
  const double longest = longest_row(known_, info.name);
  const auto item = [&](const std::string& key, double times) {
    std::vector<float> row(info.width, 0.0F);
    row.back() = static_cast<float>(times * longest);
    return NewItem{"domain0", key, {{info.name, row}}};
  };
  const std::string log = folder_ / "observed.log";
  run_ranks(1, [&](Communicator& communicator) {
    RecommendationService service(loader(communicator), {}, log, report_);
    EXPECT_EQ(service.observe({{}, {item("as before", 1)}}).added_items, 1);
    EXPECT_EQ(service.observe({{}, {item("long", 9)}}).added_items, 1);
    EXPECT_THROW(service.observe({{}, {item("longer", 80)}}), Error);
    service.reload();
    EXPECT_EQ(service.state().new_items, 2);
    EXPECT_THROW(service.observe({{}, {item("longer", 80)}}), Error) << "beside the long one too";
  });
  ObservedLog(
      log, [](const Observation&) {}, report_)
      .append({{}, {item("of an old log", 80)}});
  run_ranks(1, [&](Communicator& communicator) {
    const RecommendationService service(loader(communicator), {}, log, report_);
    EXPECT_EQ(service.state().new_items, 2);
    expect_has(report_.str(), {"left out: the item 'of an old log' has a row of length"});
  });
}

TEST_F(LaterTest, AModelThatLooksAtNoFeaturesIsServedAnItemOnceSomebodyMetIt) {
  save(small_config(ModelKind::lightgcn));
  std::ostringstream report;
  run_ranks(1, [&](Communicator& communicator) {
    RecommendationService service(
        [&](const ServedAdditions& additions) {
          TrainedRunOptions options = options_;
          options.read_additions = additions_reader({}, additions.told);
          return std::make_shared<const ServedModel>(open_trained_run(options, communicator),
                                                     ServedFiles{}, report);
        },
        {}, folder_ / "observed.log", report);
    const ModalityInfo& info = known_.domains()[0].modalities.front();
    const NewItem item = {"domain0", "brand new", {{info.name, std::vector<float>(info.width, 1)}}};
    EXPECT_EQ(service.observe({{}, {item}}).added_items, 1);
    service.reload();
    EXPECT_EQ(service.state().waiting_items, 1);
    // Keys of items for users would be refused in a file, whose columns may be swapped.
    const std::string item_key = known_.item_keys(0)[0];
    EXPECT_EQ(service.observe({{{"domain0", item_key, "brand new"}}}).added, 1);
    service.reload();
    EXPECT_EQ(service.state().new_items, 1);
    EXPECT_EQ(service.state().waiting_items, 0);
    EXPECT_EQ(service.recommend({{item_key, {}}, {"domain0"}, 5}).lists[0].basis, "history");
  });
}

}  // namespace
}  // namespace micrec
