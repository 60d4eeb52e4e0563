#include "launcher/train_flags.h"

#include <gflags/gflags.h>

#include "base/error.h"
#include "base/text.h"
#include "launcher/common_flags.h"
#include "train/run_planner.h"

DEFINE_string(model, "micrec", "what to train");
DEFINE_int32(dim, 64, "columns of an embedding");
DEFINE_int32(layers, 3, "propagation layers");
DEFINE_double(init_std, 0.1, "standard deviation of the initial tables");
DEFINE_double(l2, 0, "weight of the squared norms of the rows in a triple");
DEFINE_string(domain_weights, "uniform",
              "weights of the domains' losses; balanced weighs small ones up");
DEFINE_double(template_ratio, 1, "share of users and of items whose rows are templates");
DEFINE_double(share_templates, 0, "weight of a person's templates of other domains");
DEFINE_double(dropout, 0, "probability to drop a nonzero of the template operator");
DEFINE_double(annealing, 0.99, "factor of the template exponent's annealing each epoch");
DEFINE_double(self_weight, 0.01, "weight of the self-enhanced loss");
DEFINE_bool(content, true, "add the content term of the modalities");
DEFINE_int32(feature_dim, 128, "principal directions kept of a wider modality");
DEFINE_int32(semantic_neighbors, 10, "semantic neighbours an item and modality; 0: none");
DEFINE_string(semantic, "before", "where semantic neighbours enter: before or after propagation");
DEFINE_double(cold_simulation, 0, "share of items treated as strictly cold in each step");
DEFINE_double(contrastive_weight, 0.01, "weight of the cross-domain contrastive loss");
DEFINE_double(temperature, 0.2, "temperature of the contrastive loss");
DEFINE_int64(contrastive_batch, 1024,
             "people a step in the contrastive loss; 0: all who shop in both");

DEFINE_string(
    item_regression, "auto",
    "item regression in the score: auto (beside the embeddings, weighed on validation), off "
    "(the embeddings alone), alone (as --model=item_regression); where it is not given, "
    "auto of micrec and off of other models");
DEFINE_string(regression_lambda, "auto", "ridge of item regression");
DEFINE_string(regression_alpha, "auto", "weight of the items' features in item regression");
DEFINE_string(regression_cross, "auto",
              "weight of the other domains' interactions in item regression; 0: none");
DEFINE_string(regression_weight, "auto",
              "weight of item regression beside the embeddings, both divided by their spread");
DEFINE_double(ials_weight, 0.01,
              "weight of every pair of a user and an item, where an interaction adds 1");
DEFINE_double(ials_reg, 0.006,
              "weight of a row's squared norm, times its interactions and --ials_weight times the "
              "rows of the other side");

DEFINE_int64(batch, 2048, "triples a step, of all ranks together");
DEFINE_string(sampling, "interactions",
              "what an epoch goes through: every interaction once, or users drawn uniformly");
DEFINE_double(lr, 1e-3, "learning rate of Adam");
DEFINE_bool(lr_decay, false, "after half of --max_steps let the learning rate fall to 5%");
DEFINE_int64(epochs, 1000,
             "epochs at most; unless given, 8 of ials, 1 of popularity and item_regression");
DEFINE_int64(max_steps, 0, "steps at most; 0: as many as the epochs have");
DEFINE_int64(patience, 50, "validations without improvement that end the run; 0: none do");
DEFINE_int64(validate_every, 1, "epochs between validations; 0: not by epochs");
DEFINE_int64(validate_every_steps, 0, "steps between validations; 0: not by steps");
DEFINE_int64(log_every, 50, "steps between lines of progress");
DEFINE_int64(profile_steps, 0,
             "steps after the first 10 whose parts are timed for metrics.jsonl; 0: none");
DEFINE_int64(save_every_steps, 0, "steps between checkpoints; 0: not by steps");
DEFINE_int64(
    save_every_epochs, 1,
    "epochs between checkpoints, one left out where another is still being written; 0: not "
    "by epochs");
DEFINE_double(save_every_minutes, 30, "minutes between checkpoints; 0: not by time");
DEFINE_bool(async_save, true,
            "write checkpoints while training goes on; takes memory for a copy of the state");
DEFINE_string(commit, "rename",
              "how a checkpoint becomes complete: by the rename of its folder, or by its last file "
              "where the file system cannot rename a folder in one instant");
DEFINE_int32(keep_last, 3, "checkpoints to keep; the best one is kept besides");
DEFINE_double(time_limit, 0,
              "minutes after which the run saves and ends with exit code 75; 0: none");

DEFINE_string(
    partition, "balanced",
    "how users and items are shared out over the row parts: balanced (even work), metis "
    "(few rows to exchange, nearly even work; takes seconds a million interactions), hash, "
    "or file:PATH (made elsewhere, see micrec plan --write_partition)");
DEFINE_string(
    grid, "auto",
    "process grid RxC: users and items over R row parts, columns over C column parts; auto: "
    "the shortest predicted step, see micrec plan");

namespace micrec {
namespace {

std::string check_partition(const std::string& value) {
  if (value == "balanced" || value == "hash" || value == "metis") return "";
  return file_of_partition(value).empty() ? "balanced, metis, hash or file:PATH" : "";
}

/// "auto", or numbers with commas between, one for all domains or one each.
Bound automatic_or(double minimum, bool above_minimum) {
  constexpr double kMost = 1e6;  // beyond it float32 has nothing left of the other term
  const std::string grammar = text("auto, or numbers ", above_minimum ? "above " : "from ", minimum,
                                   above_minimum ? " and at most " : " to ", kMost,
                                   ", one for all domains or one each with commas between");
  return written_as(grammar, [=](const std::string& value) {
    if (value == "auto") return std::string();
    for (const std::string& part : split(value, ',')) {
      const std::optional<double> number = parse_real(part);
      const bool is_in = number && *number >= minimum && *number <= kMost &&
                         !(above_minimum && *number == minimum);
      if (!is_in) return grammar;  // not a number is in no range
    }
    return split(value, ',').empty() ? grammar : std::string();
  });
}

std::vector<double> numbers_of(const std::string& value) {
  std::vector<double> numbers;
  if (value == "auto") return numbers;
  for (const std::string& part : split(value, ',')) numbers.push_back(parse_real(part).value());
  return numbers;
}

}  // namespace

FlagSpec partition_flag() {
  return may_change({"partition", "Distribution", "",
                     written_as("balanced, metis, hash or file:PATH", check_partition)});
}

std::vector<FlagSpec> model_flags() {
  FlagSpec modalities{"modalities", "Modalities", "names with commas between"};
  modalities.default_value = "all";
  modalities.meaning = "modalities of the dataset to use; all, or empty for none";
  return {
      {"model", "Model", "",
       one_of({"mf", "lightgcn", "inmo_mf", "inmo", "micrec", "ials", "popularity",
               "item_regression"})},
      {"dim", "Model", "columns", between(1, 4096)},
      {"layers", "Model", "layers", between(0, 16)},
      {"init_std", "Model", "", above(0)},
      recorded({"l2", "Model", "", at_least(0)}),
      {"domain_weights", "Model", "", one_of({"uniform", "balanced"})},
      {"template_ratio", "Inductive templates", "", between(0, 1)},
      {"share_templates", "Inductive templates", "", at_least(0)},
      recorded({"dropout", "Inductive templates", "", between(0, 0.99)}),
      {"annealing", "Inductive templates", "", between(0, 1)},
      {"self_weight", "Inductive templates", "", at_least(0)},
      modalities,
      {"content", "Modalities", ""},
      {"feature_dim", "Modalities", "columns", at_least(1)},
      {"semantic_neighbors", "Modalities", "items", between(0, 1000)},
      {"semantic", "Modalities", "", one_of({"before", "after"})},
      {"cold_simulation", "Modalities", "", between(0, 0.99)},
      {"contrastive_weight", "Cross-domain", "", at_least(0)},
      {"temperature", "Cross-domain", "", above(0)},
      {"contrastive_batch", "Cross-domain", "people", at_least(0)},
      {"item_regression", "Item regression", "", one_of({"auto", "off", "alone"})},
      {"regression_lambda", "Item regression", "", automatic_or(0, /*above_minimum=*/true)},
      {"regression_alpha", "Item regression", "", automatic_or(0, /*above_minimum=*/false)},
      {"regression_cross", "Item regression", "", automatic_or(0, /*above_minimum=*/false)},
      {"regression_weight", "Item regression", "", automatic_or(0, /*above_minimum=*/false)},
      {"ials_weight", "Implicit ALS", "", at_least(0)},
      {"ials_reg", "Implicit ALS", "", above(0)},
  };
}

std::vector<FlagSpec> training_flags() {
  return {
      {"batch", "Training", "triples", at_least(1)},
      {"sampling", "Training", "", one_of({"interactions", "user"})},
      recorded({"lr", "Training", "", above(0)}),
      {"lr_decay", "Training", ""},
      may_change({"epochs", "Training", "epochs", at_least(0)}),
      recorded({"max_steps", "Training", "steps", at_least(0)}),
      may_change({"patience", "Training", "validations", at_least(0)}),
      {"validate_every", "Training", "epochs", at_least(0)},
      {"validate_every_steps", "Training", "steps", at_least(0)},
      may_change({"log_every", "Training", "steps", at_least(1)}),
      may_change({"profile_steps", "Training", "steps", at_least(0)}),
      may_change({"save_every_steps", "Checkpoints", "steps", at_least(0)}),
      may_change({"save_every_epochs", "Checkpoints", "epochs", at_least(0)}),
      may_change({"save_every_minutes", "Checkpoints", "minutes", at_least(0)}),
      may_change({"async_save", "Checkpoints", ""}),
      may_change({"commit", "Checkpoints", "", one_of({"rename", "marker"})}),
      may_change({"keep_last", "Checkpoints", "checkpoints", at_least(1)}),
      may_change({"time_limit", "Checkpoints", "minutes", at_least(0)}),
  };
}

void complete_item_regression(const Arguments& arguments) {
  if (!arguments.is_given("item_regression")) {
    if (FLAGS_model == "item_regression") FLAGS_item_regression = "alone";
    if (FLAGS_model != "item_regression" && FLAGS_model != "micrec") FLAGS_item_regression = "off";
    return;
  }
  if (FLAGS_item_regression == "auto" && FLAGS_model == "item_regression") {
    FLAGS_item_regression = "alone";
  }
  if (FLAGS_item_regression == "alone" && !arguments.is_given("model")) {
    FLAGS_model = "item_regression";
  }
  if ((FLAGS_item_regression == "alone") == (FLAGS_model == "item_regression")) return;
  throw Error(Cause::usage,
              text("--model=", FLAGS_model, " and --item_regression=", FLAGS_item_regression,
                   " do not go together: for item regression alone give --model=item_regression "
                   "and nothing else, for another model beside it --item_regression=auto"));
}

ModelConfig model_config_from_flags() {
  ModelConfig config;
  config.kind = parse_model_kind(FLAGS_model);
  config.dim = FLAGS_dim;
  config.layers = FLAGS_layers;
  config.initial_std = FLAGS_init_std;
  config.l2 = FLAGS_l2;
  config.domain_weights =
      FLAGS_domain_weights == "balanced" ? DomainWeights::balanced : DomainWeights::uniform;
  config.template_ratio = FLAGS_template_ratio;
  config.share_templates = FLAGS_share_templates;
  config.dropout = FLAGS_dropout;
  config.annealing = FLAGS_annealing;
  config.self_weight = FLAGS_self_weight;
  config.modalities = split(FLAGS_modalities, ',');
  config.content = FLAGS_content;
  config.feature_dim = FLAGS_feature_dim;
  config.semantic_neighbors = FLAGS_semantic_neighbors;
  config.semantic = FLAGS_semantic == "after" ? SemanticPlace::after : SemanticPlace::before;
  config.cold_simulation = FLAGS_cold_simulation;
  config.contrastive_weight = FLAGS_contrastive_weight;
  config.temperature = FLAGS_temperature;
  config.contrastive_batch = FLAGS_contrastive_batch;
  config.item_regression = FLAGS_item_regression == "off"     ? ItemRegressionUse::off
                           : FLAGS_item_regression == "alone" ? ItemRegressionUse::alone
                                                              : ItemRegressionUse::automatic;
  config.ials_weight = FLAGS_ials_weight;
  config.ials_reg = FLAGS_ials_reg;
  return config;
}

ItemRegressionWish item_regression_from_flags() {
  return {numbers_of(FLAGS_regression_lambda), numbers_of(FLAGS_regression_cross),
          numbers_of(FLAGS_regression_alpha)};
}

std::vector<double> regression_weight_from_flags() { return numbers_of(FLAGS_regression_weight); }

std::int64_t default_epochs(std::int64_t otherwise) {
  constexpr std::int64_t kEpochsOfIals = 8;
  switch (parse_model_kind(FLAGS_model)) {
    case ModelKind::ials:
      return kEpochsOfIals;
    case ModelKind::popularity:
    case ModelKind::item_regression:
      return 1;
    default:
      return otherwise;
  }
}

TrainingConfig training_config_from_flags() {
  TrainingConfig config;
  config.adam.learning_rate = FLAGS_lr;
  config.lr_decay = FLAGS_lr_decay;
  config.epochs = FLAGS_epochs;
  config.max_steps = FLAGS_max_steps;
  config.patience = FLAGS_patience;
  config.validate_every = FLAGS_validate_every;
  config.validate_every_steps = FLAGS_validate_every_steps;
  config.log_every = FLAGS_log_every;
  config.profile_steps = FLAGS_profile_steps;
  config.save_every_steps = FLAGS_save_every_steps;
  config.save_every_epochs = FLAGS_save_every_epochs;
  config.save_every_minutes = FLAGS_save_every_minutes;
  config.async_save = FLAGS_async_save;
  config.commit = FLAGS_commit == "marker" ? Commit::marker : Commit::rename;
  config.keep_last = FLAGS_keep_last;
  config.time_limit_seconds = 60 * FLAGS_time_limit;
  if (config.lr_decay && config.max_steps == 0) {
    throw Error(
        Cause::usage,
        "--lr_decay needs an end to decay towards: give --max_steps, the steps of the whole run");
  }
  return config;
}

SamplingConfig sampling_config_from_flags(std::uint64_t seed) {
  return {FLAGS_sampling == "user" ? Sampling::users : Sampling::interactions, FLAGS_batch, seed,
          /*threads=*/1};
}

JobOptions job_options_from_flags(const std::string& command) {
  JobOptions options;
  options.program = "micrec " + command;
  options.threads = FLAGS_threads;
  options.device = FLAGS_device;
  options.communicator.deadline_seconds = FLAGS_deadline;
  options.communicator.check_collectives = FLAGS_check_collectives;
  options.watchdog = FLAGS_watchdog;
  return options;
}

}  // namespace micrec
