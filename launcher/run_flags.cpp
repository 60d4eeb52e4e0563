#include "launcher/run_flags.h"

#include "base/text.h"
#include "cluster/signals.h"
#include "launcher/common_flags.h"
#include "train/plan/run_planner.h"

namespace micrec {
namespace {

std::string check_partition(const std::string& value) {
  if (value == "balanced" || value == "hash" || value == "metis") return "";
  return file_of_partition(value).empty() ? "balanced, metis, hash or file:PATH" : "";
}

std::string check_grid(const std::string& value) {
  return value == "auto" || read_grid(value)
             ? ""
             : "auto, or RxC with R times C the number of ranks, such as 4x2";
}

std::string check_signals(const std::string& value) {
  return parse_signals(value) ? ""
                              : "some of TERM, INT, USR1, USR2, HUP, QUIT, ALRM, XCPU and PWR "
                                "with commas between, or nothing";
}

using Why = std::function<std::string()>;

/// "with --model=mf" where the kind is none of those that a flag is for.
Why unless_kind(const ModelConfig& model, bool (*has)(const ModelConfig&)) {
  return [&model, has] {
    return has(model) ? std::string() : text("with --model=", name_of(model.kind));
  };
}

bool has_columns(const ModelConfig& model) {
  return !model.is_solved() || model.kind == ModelKind::ials;
}
bool has_layers(const ModelConfig& model) {
  return model.kind == ModelKind::lightgcn || model.kind == ModelKind::inmo ||
         model.kind == ModelKind::micrec;
}
bool has_steps(const ModelConfig& model) { return !model.is_solved(); }
bool is_inductive(const ModelConfig& model) { return model.inductive(); }
bool is_micrec(const ModelConfig& model) { return model.kind == ModelKind::micrec; }
bool is_ials(const ModelConfig& model) { return model.kind == ModelKind::ials; }

/// `reason` where a flag switches off what others are for.
Why where(const std::function<bool()>& is_off, const std::string& reason) {
  return [=] { return is_off() ? reason : ""; };
}

std::vector<Flag> embedding_flags(ModelConfig& model) {
  const std::vector<Flag> columns = {
      {"dim", "Model", "columns", "columns of an embedding", model.dim, between(1, 4096)}};
  const std::vector<Flag> layers = {
      {"layers", "Model", "layers", "propagation layers", model.layers, between(0, 16)}};
  const std::vector<Flag> tables = {{"init_std", "Model", "",
                                     "standard deviation of the initial tables", model.initial_std,
                                     above(0)}};
  const std::vector<Flag> descended = {
      recorded({"l2", "Model", "", "weight of the squared norms of the rows in a triple", model.l2,
                at_least(0)}),
      {"domain_weights", "Model", "",
       "weights of the domains' losses; balanced weighs small ones up",
       one_of(model.domain_weights,
              {{"uniform", DomainWeights::uniform}, {"balanced", DomainWeights::balanced}})}};
  return std::vector<Flag>{
             {"model", "Model", "", "what to train", one_of(model.kind, by_name(kModelKinds))}} +
         idle_where(unless_kind(model, has_columns), columns) +
         idle_where(unless_kind(model, has_layers), layers) +
         idle_where(unless_kind(model, has_columns), tables) +
         idle_where(unless_kind(model, has_steps), descended);
}

std::vector<Flag> template_flags(ModelConfig& model) {
  return idle_where(
      unless_kind(model, is_inductive),
      {{"template_ratio", "Inductive templates", "",
        "share of users and of items whose rows are templates", model.template_ratio,
        above_up_to(0, 1)},
       {"share_templates", "Inductive templates", "",
        "weight of a person's templates of other domains", model.share_templates, at_least(0)},
       recorded({"dropout", "Inductive templates", "",
                 "probability to drop a nonzero of the template operator", model.dropout,
                 between(0, 0.99)}),
       {"annealing", "Inductive templates", "",
        "factor of the template exponent's annealing each epoch", model.annealing, between(0, 1)},
       {"self_weight", "Inductive templates", "", "weight of the self-enhanced loss",
        model.self_weight, at_least(0)}});
}

std::vector<Flag> modality_flags(ModelConfig& model) {
  const Why unused = [&model] {
    if (is_micrec(model) || model.item_regression != ItemRegressionUse::off) return std::string();
    return text("with --model=", name_of(model.kind));
  };
  const Why no_modalities =
      where([&model] { return model.modalities.empty(); }, "with --modalities=");
  const Why no_neighbours =
      where([&model] { return model.semantic_neighbors == 0; }, "with --semantic_neighbors=0");
  const Why no_search = where(
      [&model] {
        return model.semantic_neighbors == 0 && model.item_regression == ItemRegressionUse::off;
      },
      "with --semantic_neighbors=0 --item_regression=off");
  const Flag search = {
      "neighbor_search", "Modalities", "",
      text("how the nearest items by features are found: exact, approximate (hierarchical graphs, "
           "recall printed), auto (approximate among more than ",
           with_commas(kMostSearchedExactly), " items, but for a few new ones)"),
      one_of(model.neighbor_search, {{"auto", NeighbourSearch::automatic},
                                     {"exact", NeighbourSearch::exact},
                                     {"approximate", NeighbourSearch::approximate}})};
  const std::vector<Flag> neighbours = {
      {"semantic", "Modalities", "", "where semantic neighbours enter: before or after propagation",
       one_of(model.semantic,
              {{"before", SemanticPlace::before}, {"after", SemanticPlace::after}})},
      {"cold_simulation", "Modalities", "", "share of items treated as strictly cold in each step",
       model.cold_simulation, between(0, 0.99)}};
  const std::vector<Flag> terms =
      std::vector<Flag>{
          {"content", "Modalities", "", "add the content term of the modalities", model.content},
          {"feature_dim", "Modalities", "columns", "principal directions kept of a wider modality",
           model.feature_dim, at_least(1)},
          {"semantic_neighbors", "Modalities", "items",
           "semantic neighbours an item and modality; 0: none", model.semantic_neighbors,
           between(0, 1000)}} +
      idle_where(no_neighbours, neighbours);
  const std::vector<Flag> names = {{"modalities", "Modalities", "names with commas between",
                                    "modalities of the dataset to use; all, or empty for none",
                                    model.modalities}};
  return idle_where(unused, names + idle_where(no_modalities, idle_where(no_search, {search}))) +
         idle_where(unless_kind(model, is_micrec), idle_where(no_modalities, terms));
}

std::vector<Flag> contrastive_flags(ModelConfig& model) {
  const Why no_loss =
      where([&model] { return model.contrastive_weight == 0; }, "with --contrastive_weight=0");
  const std::vector<Flag> weight = {{"contrastive_weight", "Cross-domain", "",
                                     "weight of the cross-domain contrastive loss",
                                     model.contrastive_weight, at_least(0)}};
  const std::vector<Flag> loss = {
      {"temperature", "Cross-domain", "", "temperature of the contrastive loss", model.temperature,
       above(0)},
      {"contrastive_batch", "Cross-domain", "people",
       "people a step in the contrastive loss; 0: all who shop in both", model.contrastive_batch,
       at_least(0)}};
  return idle_where(unless_kind(model, is_micrec), weight + idle_where(no_loss, loss));
}

std::vector<Flag> item_regression_flags(RunConfig& config) {
  ModelConfig& model = config.model;
  ItemRegressionWish& wish = config.item_regression;
  const Why is_off = where([&model] { return model.item_regression == ItemRegressionUse::off; },
                           "with --item_regression=off");
  const Why is_alone = where([&model] { return model.item_regression == ItemRegressionUse::alone; },
                             "with --item_regression=alone");
  const std::vector<Flag> fit = {
      {"regression_lambda", "Item regression", "", "ridge of item regression", wish.lambda,
       auto_or_numbers(/*above_zero=*/true)},
      {"regression_alpha", "Item regression", "",
       "weight of the items' features in item regression", wish.alpha,
       auto_or_numbers(/*above_zero=*/false)},
      {"regression_cross", "Item regression", "",
       "weight of the other domains' interactions in item regression; 0: none", wish.cross,
       auto_or_numbers(/*above_zero=*/false)},
      {"recency", "Item regression", "interactions",
       "half-life of a history in item regression: so many newer interactions of the person in the "
       "domain halve what one counts; 0: all count the same",
       wish.half_life, auto_or_numbers(/*above_zero=*/false)}};
  return std::vector<Flag>{
             {"item_regression", "Item regression", "",
              "item regression in the score: auto (beside the embeddings, weighed on validation), "
              "off (the embeddings alone), alone (as --model=item_regression); where it is not "
              "given, auto of micrec and off of other models",
              one_of(model.item_regression, {{"auto", ItemRegressionUse::automatic},
                                             {"off", ItemRegressionUse::off},
                                             {"alone", ItemRegressionUse::alone}})}} +
         idle_where(
             is_off,
             fit + idle_where(is_alone,
                              {{"regression_weight", "Item regression", "",
                                "weight of item regression beside the embeddings, both divided by "
                                "their spread",
                                config.regression_weight, auto_or_numbers(/*above_zero=*/false)}}));
}

std::vector<Flag> ials_flags(ModelConfig& model) {
  return idle_where(
      unless_kind(model, is_ials),
      {{"ials_weight", "Implicit ALS", "",
        "weight of every pair of a user and an item, where an interaction adds 1",
        model.ials_weight, at_least(0)},
       {"ials_reg", "Implicit ALS", "",
        "weight of a row's squared norm, times its interactions and --ials_weight times the rows "
        "of the other side",
        model.ials_reg, above(0)}});
}

std::vector<Flag> descent_flags(RunConfig& config) {
  TrainingConfig& training = config.training;
  return idle_where(
      unless_kind(config.model, has_steps),
      {{"batch", "Training", "triples",
        "triples a step, of all ranks together; auto: a sixteenth of the training interactions, at "
        "least 2,048, so that an epoch of much data has 16 steps and not more",
        positive_or_auto(config.sampling.batch_size), written_as("auto, or a whole number from 1")},
       {"sampling", "Training", "",
        "what an epoch goes through: every interaction once, or users drawn uniformly",
        one_of(config.sampling.sampling,
               {{"interactions", Sampling::interactions}, {"user", Sampling::users}})},
       recorded({"lr", "Training", "",
                 "learning rate of Adam; auto: 0.001, with --batch=auto 0.01 times the root of the "
                 "batch over 8,192, and at most 0.05",
                 positive_or_auto(training.learning_rate),
                 written_as("auto, or a number above 0")}),
       {"lr_decay", "Training", "", "after half of --max_steps let the learning rate fall to 5%",
        training.lr_decay}});
}

std::vector<Flag> step_flags(RunConfig& config) {
  TrainingConfig& training = config.training;
  return {
      may_change({"epochs", "Training", "epochs",
                  "epochs at most; unless given, 8 of ials, 1 of popularity and item_regression",
                  training.epochs, at_least(0)}),
      recorded({"max_steps", "Training", "steps", "steps at most; 0: as many as the epochs have",
                training.max_steps, at_least(0)}),
      may_change({"patience", "Training", "validations",
                  "validations without improvement that end the run; 0: none do", training.patience,
                  at_least(0)}),
      {"validate_every", "Training", "epochs", "epochs between validations; 0: not by epochs",
       training.validate_every, at_least(0)},
      {"validate_every_steps", "Training", "steps", "steps between validations; 0: not by steps",
       training.validate_every_steps, at_least(0)},
      {"validate_users", "Training", "users",
       "users of a domain in validations while it trains, a sample by --seed whose NDCG is told "
       "with its 95% interval; the result is validated and tested on --test_users; 0: all",
       config.validate_users, at_least(0)},
      may_change(
          {"test_users", "Training", "users",
           "users of a domain that the result is tested on at most, a sample as that of evaluate "
           "--most_users; 0: all",
           config.test_users, at_least(0)}),
      may_change({"log_every", "Training", "steps", "steps between lines of progress",
                  training.log_every, at_least(1)}),
      may_change({"profile_steps", "Training", "steps",
                  "steps after the first 10 whose parts are timed for metrics.jsonl; 0: none",
                  training.profile_steps, at_least(0)}),
  };
}

std::vector<Flag> saving_flags(RunConfig& config) {
  TrainingConfig& training = config.training;
  return {
      may_change({"save_every_steps", "Checkpoints", "steps",
                  "steps between checkpoints; 0: not by steps", training.save_every_steps,
                  at_least(0)}),
      may_change({"save_every_epochs", "Checkpoints", "epochs",
                  "epochs between checkpoints, one left out where another is still being written; "
                  "0: not by epochs",
                  training.save_every_epochs, at_least(0)}),
      may_change({"save_every_minutes", "Checkpoints", "minutes",
                  "minutes between checkpoints; 0: not by time", training.save_every_minutes,
                  at_least(0)}),
      may_change({"async_save", "Checkpoints", "",
                  "write checkpoints while training goes on; takes memory for a copy of the state",
                  training.async_save}),
      may_change(
          {"commit", "Checkpoints", "",
           "how a checkpoint becomes complete: by the rename of its folder, or by its last "
           "file where the file system cannot rename a folder in one instant",
           one_of(training.commit, {{"rename", Commit::rename}, {"marker", Commit::marker}})}),
      may_change({"keep_last", "Checkpoints", "checkpoints",
                  "checkpoints to keep; the best one is kept besides", training.keep_last,
                  at_least(1)}),
      may_change({"time_limit", "Checkpoints", "minutes",
                  "minutes after which the run saves and ends with exit code 75; 0: none",
                  config.time_limit_minutes, at_least(0)}),
  };
}

std::vector<Flag> file_flags(RunConfig& config) {
  return {
      dataset_flag(config.dataset),
      run_dir_flag(config.run_dir),
      may_change({"resume", "Files", "",
                  "go on with the run in --run_dir from its newest checkpoint, or begin it again "
                  "where it ended before its first, with the settings of its config.txt; what the "
                  "run computes stays but for --lr, --l2 and --dropout, and --max_steps under "
                  "--lr_decay, whose change config.txt and metrics.jsonl tell; its end, its places "
                  "and when it saves and tests may be given anew",
                  config.resume}),
      {"init_from", "Files", "FOLDER",
       "a run whose model this one begins with, on a dataset that holds more: rows and moments of "
       "known users and items are taken over, new ones begin with what the model infers, and the "
       "model's flags, where they are not given, are that run's; train then for a tenth of its "
       "steps",
       config.init_from},
      may_change({"dry_run", "Files", "",
                  "print the plan and the configuration, and stop before training",
                  config.dry_run}),
  };
}

std::vector<Flag> running_flags(RunConfig& config) {
  return {
      partition_flag(config.sharing),
      grid_flag(config.sharing, check_grid),
      {"reproducible", "Distribution", "",
       "the same bits on any grid of at most 16 row parts, by sums in one fixed order; with "
       "--partition=balanced, and takes about 4% of a step",
       config.sharing.reproducible},
      device_flag(config.job),
      threads_flag(config.job.threads),
      seed_flag(config.seed),
      may_change({"stop_signals", "Cluster", "signals",
                  "signals that make the run save and end with exit code 75; a second one ends it "
                  "at once",
                  config.stop_signals, written_as("names with commas between", check_signals)}),
  };
}

}  // namespace

Flag partition_flag(GridWish& sharing) {
  return may_change({"partition", "Distribution", "",
                     "how users and items are shared out over the row parts: balanced (even work), "
                     "metis (few rows to exchange, nearly even work; takes seconds a million "
                     "interactions), hash, or file:PATH (made elsewhere, see micrec plan "
                     "--write_partition)",
                     sharing.partition,
                     written_as("balanced, metis, hash or file:PATH", check_partition)});
}

Flag grid_flag(GridWish& sharing, std::function<std::string(const std::string&)> check) {
  return may_change({"grid", "Distribution", "",
                     "process grid RxC: users and items over R row parts, columns over C column "
                     "parts; auto: the shortest predicted step, see micrec plan",
                     sharing.grid, written_as("auto or RxC", std::move(check))});
}

std::vector<Flag> model_flags(RunConfig& config) {
  ModelConfig& model = config.model;
  return embedding_flags(model) + template_flags(model) + modality_flags(model) +
         contrastive_flags(model) + item_regression_flags(config) + ials_flags(model);
}

std::vector<Flag> training_flags(RunConfig& config) {
  return descent_flags(config) + step_flags(config) + saving_flags(config);
}

std::vector<Flag> run_flags(RunConfig& config) {
  return file_flags(config) + model_flags(config) + training_flags(config) + running_flags(config) +
         cluster_flags(config.job) + std::vector{k_flag(config.k)};
}

}  // namespace micrec
