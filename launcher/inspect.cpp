#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/format.h"
#include "checkpoints/store.h"
#include "cluster/agreement.h"
#include "data/dataset_file.h"
#include "data/dataset_format.h"
#include "evaluate/embedding_file.h"
#include "io/durable_files.h"
#include "io/feature_file.h"
#include "io/hdf5.h"
#include "io/paths.h"
#include "io/run_lock.h"
#include "launcher/command.h"
#include "launcher/commands.h"
#include "launcher/train_flags.h"
#include "train/metrics_log.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostConfigBytes = std::int64_t{1} << 20;
using json = nlohmann::ordered_json;

constexpr std::size_t kLabelColumns = 14;
constexpr std::size_t kTextColumns = 100;

// --- Words and numbers ---

void print_row(const std::string& label, const std::string& value,
               std::size_t label_columns = kLabelColumns) {
  std::cout << label << std::string(label_columns - std::min(label_columns - 1, label.size()), ' ')
            << value << "\n";
}

// Words after a label, broken into lines.
void print_paragraph(const std::string& label, const std::vector<std::string>& words,
                     std::size_t label_columns = kLabelColumns) {
  std::string line;
  std::string first_label = label;
  for (const std::string& word : words) {
    if (!line.empty() && label_columns + line.size() + 1 + word.size() > kTextColumns) {
      print_row(std::exchange(first_label, ""), line, label_columns);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  print_row(first_label, line.empty() ? "none" : line, label_columns);
}

std::string decimal(const char* format, double number) {
  char out[48];
  std::snprintf(out, sizeof out, format, number);
  return out;
}

std::string count_of(std::int64_t count, const std::string& thing) {
  return with_commas(count) + " " + thing + (count == 1 ? "" : "s");
}

// "7,601 of 11,837 items (64.2%)"
std::string share(std::int64_t part, std::int64_t whole, const std::string& things) {
  const double percent =
      whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return text(with_commas(part), " of ", with_commas(whole), " ", things, " (",
              decimal("%.1f%%", percent), ")");
}

std::string or_none(const std::string& value) { return value.empty() ? "none" : value; }

std::string size_of_file(const fs::path& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return error ? "size unknown" : in_bytes(static_cast<double>(bytes));
}

std::string in_words(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) sizes.push_back(with_commas(size));
  return shape.empty() ? "a single number" : join(sizes, " x ");
}

// --- A dataset ---

std::int64_t ones_in(const std::vector<std::uint8_t>& flags) {
  return std::count(flags.begin(), flags.end(), std::uint8_t{1});
}

void print_domain(const DatasetFile& dataset, int number) {
  const DomainInfo& domain = dataset.domains()[static_cast<std::size_t>(number)];
  std::int64_t all = 0;
  std::vector<std::string> by_split;
  for (const Split split : dataset_format::kSplits) {
    const std::int64_t count = domain.interactions[static_cast<int>(split)];
    all += count;
    if (count > 0) by_split.push_back(text(with_commas(count), " ", name_of(split)));
  }
  const double pairs = static_cast<double>(domain.users) * static_cast<double>(domain.items);
  const double train = static_cast<double>(domain.interactions[static_cast<int>(Split::train)]);

  std::cout << "\ndomain " << domain.name << "\n";
  print_row("  users", text(with_commas(domain.users), "; ",
                            decimal("%.1f", train / std::max<double>(1, domain.users)),
                            " training interactions each on average"));
  print_row("  items", text(with_commas(domain.items), "; ",
                            decimal("%.1f", train / std::max<double>(1, domain.items)),
                            " training interactions each on average"));
  print_row("  interactions",
            text(with_commas(all), ": ", or_none(join(by_split, ", ")), "; ",
                 decimal("%.4f%%", pairs > 0 ? 100.0 * static_cast<double>(all) / pairs : 0),
                 " of all pairs; ", domain.has_timestamps ? "with" : "without", " timestamps"));
  for (const ModalityInfo& modality : domain.modalities) {
    print_row("  " + modality.name, text(modality.width, " columns, for ",
                                         share(modality.present, domain.items, "items")));
  }
  if (domain.modalities.empty()) print_row("  features", "none");
  if (!dataset.has_hold_outs()) return;
  print_row("  held out",
            text(share(ones_in(dataset.new_users(number)), domain.users, "users"), " are new, ",
                 share(ones_in(dataset.new_items(number)), domain.items, "items"), " are new, ",
                 share(ones_in(dataset.cold_items(number)), domain.items, "items"), " are cold"));
}

void print_overlap(const DatasetFile& dataset) {
  const auto domains = static_cast<int>(dataset.domains().size());
  if (domains < 2) return;
  std::vector<std::vector<bool>> is_user;  // by domain, by person
  for (int domain = 0; domain < domains; ++domain) {
    std::vector<bool>& people = is_user.emplace_back(static_cast<std::size_t>(dataset.people()));
    for (const std::int32_t person : dataset.person_of_user(domain)) {
      people[static_cast<std::size_t>(person)] = true;
    }
  }
  std::cout << "\noverlap\n";
  for (int a = 0; a < domains; ++a) {
    for (int b = a + 1; b < domains; ++b) {
      std::int64_t both = 0;
      for (std::size_t person = 0; person < is_user[0].size(); ++person) {
        both += is_user[static_cast<std::size_t>(a)][person] &&
                is_user[static_cast<std::size_t>(b)][person];
      }
      const DomainInfo& first = dataset.domains()[static_cast<std::size_t>(a)];
      const DomainInfo& second = dataset.domains()[static_cast<std::size_t>(b)];
      std::cout << "  " << share(both, first.users, "users of " + first.name) << " are among the "
                << with_commas(second.users) << " users of " << second.name << "\n";
    }
  }
}

void inspect_dataset(const std::string& path) {
  const DatasetFile dataset = DatasetFile::open(path);
  std::cout << path << ": a dataset, " << size_of_file(path) << "\n";
  print_row("fingerprint", dataset.fingerprint());
  print_row("made by", or_none(dataset.provenance()));
  print_row("split", text(or_none(dataset.split_rule()), ", seed ", dataset.seed()));
  print_row("core", dataset.core().empty() ? "everything kept" : dataset.core());
  print_row("held out", dataset.hold_out().empty() ? "nothing" : dataset.hold_out());
  print_row("domains", text(dataset.domains().size(), ", with ", with_commas(dataset.people()),
                            " distinct people"));
  for (std::size_t domain = 0; domain < dataset.domains().size(); ++domain) {
    print_domain(dataset, static_cast<int>(domain));
  }
  print_overlap(dataset);
}

// --- A feature file ---

void inspect_features(const std::string& path) {
  constexpr std::int64_t kRowsAtOnce = 4096;
  const FeatureFile file = FeatureFile::open(path);
  const auto rows = static_cast<std::int64_t>(file.keys().size());
  std::vector<float> block;
  double length_sum = 0;
  std::int64_t zero_rows = 0;
  for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const Range range{begin, std::min(rows, begin + kRowsAtOnce)};
    block.resize(static_cast<std::size_t>(range.size() * file.width()));
    file.read_rows(range, block.data());
    for (std::int64_t row = 0; row < range.size(); ++row) {
      double square = 0;
      for (std::int64_t c = 0; c < file.width(); ++c) {
        const double element = block[static_cast<std::size_t>(row * file.width() + c)];
        square += element * element;
      }
      length_sum += std::sqrt(square);
      zero_rows += square == 0;
    }
  }
  std::cout << path << ": features of items, " << size_of_file(path) << "\n";
  print_row("items", with_commas(rows));
  print_row("columns", with_commas(file.width()));
  print_row("values", text("all finite; mean length of a row ",
                           decimal("%.4g", rows == 0 ? 0 : length_sum / static_cast<double>(rows)),
                           "; ", count_of(zero_rows, "row"), " of zeros only"));
  std::vector<std::string> examples(file.keys().begin(),
                                    file.keys().begin() + std::min<std::int64_t>(rows, 5));
  if (rows > 5) examples.emplace_back("...");
  print_paragraph("keys", examples);
  std::cout << "\nGive it to micrec prepare as --features=MODALITY:DOMAIN=" << path << "\n";
}

// --- Exported embeddings ---

void inspect_embeddings(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  std::cout << path << ": exported embeddings, " << size_of_file(path) << "\n";
  for (const char* attribute : {"model", "checkpoint", "dataset_fingerprint"}) {
    if (!file.has_attribute("/", attribute)) continue;
    const std::string label =
        attribute == std::string("dataset_fingerprint") ? "dataset" : attribute;
    print_row(label, or_none(file.text_attribute("/", attribute)));
  }
  for (const std::string& domain : file.children("/domains")) {
    std::vector<std::string> counts;
    std::int64_t dim = 0;
    for (const char* kind : {"users", "items"}) {
      const std::string group = text("/domains/", domain, "/", kind);
      const std::vector<std::int64_t> shape = file.expect_shape(group + "/embedding", {-1, -1});
      file.expect_shape(group + "/key", {shape[0]});
      counts.push_back(text(with_commas(shape[0]), " ", kind));
      dim = shape[1];
    }
    print_row("domain " + domain, text(join(counts, ", "), ", ", dim, " columns"));
  }
  std::cout
      << "\nThe score of a user and an item of one domain is the dot product of their rows.\n";
}

// --- A checkpoint ---

void print_progress(const CheckpointInfo& info) {
  print_row("trained",
            text(count_of(info.step, "step"), ", ", count_of(info.epoch, "epoch"), " completed"));
  if (info.best_step > 0) {
    print_row("best", text("validation metric ", decimal("%.6f", info.best_metric), " at step ",
                           with_commas(info.best_step), "; ",
                           count_of(info.validations_without_improvement, "validation"),
                           " since without improvement"));
  } else {
    print_row("best", "not validated yet");
  }
}

// A flagfile, each of its groups in a paragraph.
void print_settings(const std::string& flagfile) {
  constexpr std::size_t kGroupColumns = 24;
  std::cout << "settings\n";
  std::string group;
  std::vector<std::string> flags;
  const auto print_group = [&] {
    if (!flags.empty()) print_paragraph("  " + group, flags, kGroupColumns);
    flags.clear();
  };
  for (const std::string& line : split(flagfile, '\n')) {
    if (line.starts_with(kHistoryLine)) {
      print_row("  changed", line.substr(2));
    } else if (line.starts_with("# ")) {
      print_group();
      group = line.substr(2);
    } else if (!line.empty()) {
      flags.push_back(line);
    }
  }
  print_group();
}

void inspect_checkpoint(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const CheckpointInfo& info = checkpoint.info();
  std::cout << path << ": a checkpoint, " << in_bytes(static_cast<double>(checkpoint.bytes()))
            << "\n";
  print_progress(info);
  print_row("saved by", text(count_of(info.world_size, "rank"), " in a grid of ", info.grid,
                             "; any number of ranks can restore it"));
  print_row("complete by",
            checkpoint.commit() == Commit::marker ? "its marker" : "the rename of its folder");
  print_row("dataset", text(info.dataset_path, " (", info.dataset_fingerprint, ")"));
  for (const auto& [key, value] : info.extra) print_row(key, value);
  print_settings(info.config);
  print_row("verified",
            text(count_of(static_cast<std::int64_t>(checkpoint.shards().size()), "file"),
                 ", every byte as the manifest says"));
  std::cout << "\ntensors\n";
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    std::cout << "  " << tensor.name << ": " << in_words(tensor.shape) << " " << tensor.type
              << (tensor.sharded ? ", a row a node" : "") << (tensor.trained ? ", trained" : "")
              << (tensor.description.empty() ? "" : "; " + tensor.description) << "\n";
  }
}

// --- A run ---

// What is worth telling of metrics.jsonl.
struct MetricsSummary {
  std::map<std::string, json> last;  // by kind
  std::deque<json> validations;      // the last few
  std::int64_t lines = 0;
  std::int64_t unreadable = 0;
};

MetricsSummary read_metrics(const std::string& path) {
  constexpr std::size_t kValidationsShown = 5;
  MetricsSummary summary;
  refuse_unreadable(path);
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("kind") || !object["kind"].is_string()) {
      ++summary.unreadable;
      continue;
    }
    ++summary.lines;
    const std::string kind = object["kind"];
    if (kind == "validation") {
      summary.validations.push_back(object);
      if (summary.validations.size() > kValidationsShown) summary.validations.pop_front();
    }
    summary.last[kind] = std::move(object);
  }
  return summary;
}

std::string integer_in(const json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number_integer()) return "?";
  return with_commas(field->get<std::int64_t>());
}

std::string real_in(const json& object, const char* name, const char* format) {
  const auto field = object.find(name);
  if (field == object.end() || !field->is_number()) return "not a number";
  return decimal(format, field->get<double>());
}

std::string seconds_in(const json& object) {
  const auto field = object.find("seconds");
  return field != object.end() && field->is_number() ? in_time(field->get<double>()) : "?";
}

void print_metrics(const std::string& path) {
  if (!is_there(path)) {
    print_row("metrics", "none yet");
    return;
  }
  const MetricsSummary metrics = read_metrics(path);
  print_row("metrics", text(count_of(metrics.lines, "line"), " in ", path,
                            metrics.unreadable > 0
                                ? text("; ", count_of(metrics.unreadable, "line"), " unreadable")
                                : ""));
  if (const auto step = metrics.last.find("step"); step != metrics.last.end()) {
    print_row(
        "  last step",
        text(integer_in(step->second, "step"), ": loss ", real_in(step->second, "loss", "%.5f"),
             ", ", real_in(step->second, "triples_per_second", "%.0f"), " triples/s"));
  }
  for (const json& validation : metrics.validations) {
    const bool improved = validation.value("improved", json(false)) == true;
    print_row("  validation",
              text("step ", integer_in(validation, "step"), ": ",
                   real_in(validation, "metric", "%.5f"), improved ? ", the best until then" : ""));
  }
  if (const auto test = metrics.last.find("test"); test != metrics.last.end()) {
    std::vector<std::string> words;
    const json mean = test->second.value("mean", json::object());
    for (const auto& [name, number] : mean.items()) {
      if (number.is_number()) words.push_back(name + " " + decimal("%.5f", number.get<double>()));
    }
    print_paragraph("  test", words);
  }
  if (const auto end = metrics.last.find("end"); end != metrics.last.end()) {
    const json reason = end->second.value("reason", json("?"));
    print_row("  ended", text(reason.is_string() ? reason.get<std::string>() : "?", " after step ",
                              integer_in(end->second, "step"), ", ", seconds_in(end->second)));
  } else {
    print_row("  ended", "no: it is running, or it was cut off");
  }
}

void print_checkpoints(const std::string& directory) {
  const std::vector<std::string> names = list_checkpoints(directory);
  std::optional<std::string> best;
  const std::optional<Failure> no_best = attempt([&] { best = best_checkpoint(directory); });
  std::cout << "\n"
            << count_of(static_cast<std::int64_t>(names.size()), "checkpoint") << " in "
            << directory << "\n";
  for (const std::string& name : names) {
    const std::string path = (fs::path(directory) / name).string();
    std::cout << "  " << name;
    try {
      const Checkpoint checkpoint = Checkpoint::open(path, Verify::sizes);
      std::cout << ": epoch " << checkpoint.info().epoch << ", "
                << in_bytes(static_cast<double>(checkpoint.bytes())) << " from "
                << count_of(checkpoint.info().world_size, "rank")
                << (best == path ? ", the best" : "") << "\n";
    } catch (const Error& error) {
      std::cout << ": cannot be used: " << error.what() << "\n";
    }
  }
  if (no_best) std::cout << "  which is the best is unknown: " << no_best->message << "\n";
}

void inspect_run(const std::string& path) {
  const std::string directory = (fs::path(path) / "checkpoints").string();
  std::cout << path << ": a run\n";
  if (const std::optional<LockHolder> holder = lock_holder_of(path)) {
    print_row("in use", in_words(*holder));
  }
  const std::optional<std::string> newest = newest_checkpoint(directory);
  if (newest) {
    try {
      const Checkpoint checkpoint = Checkpoint::open(*newest, Verify::sizes);
      print_progress(checkpoint.info());
      print_row("dataset", text(checkpoint.info().dataset_path, " (",
                                checkpoint.info().dataset_fingerprint, ")"));
    } catch (const Error& error) {
      print_row("trained", text("unknown: ", error.what()));
    }
  } else {
    print_row("trained", "nothing is saved yet");
  }
  if (const std::string config = (fs::path(path) / "config.txt").string(); is_there(config)) {
    print_settings(read_small_file(config, kMostConfigBytes));
  }
  print_metrics(MetricsLog::path_in(path));
  print_checkpoints(directory);
}

// --- What is it? ---

constexpr char kKnown[] =
    "expected a dataset (micrec prepare), a feature file (HDF5 with /key and /value, or NAME.npy "
    "beside NAME.keys.txt), exported embeddings (micrec export), a run folder (micrec train) or "
    "one "
    "of its checkpoints";

void inspect_directory(const std::string& path) {
  const fs::path folder(path);
  if (is_there((folder / kCheckpointManifestFile).string())) return inspect_checkpoint(path);
  if (is_there((folder / "config.txt").string()) || is_there(MetricsLog::path_in(path)) ||
      !list_checkpoints((folder / "checkpoints").string()).empty()) {
    return inspect_run(path);
  }
  if (!list_checkpoints(path).empty()) return print_checkpoints(path);
  throw Error(Cause::data,
              text(path, " is a folder without a run or a checkpoint in it; ", kKnown));
}

void inspect_hdf5(const std::string& path) {
  std::string format;
  std::string contents;
  bool has_features = false;  // whoever wrote them, with or without a format of their own
  {
    const Hdf5File file = Hdf5File::open(path);
    if (file.has_attribute("/", "format")) format = file.text_attribute("/", "format");
    has_features = file.is_dataset("/key") && file.is_dataset("/value");
    contents = join(file.children("/"), ", ");
  }
  if (format == dataset_format::kFormat) return inspect_dataset(path);
  if (format == kEmbeddingsFormat) return inspect_embeddings(path);
  if (has_features) return inspect_features(path);
  if (format == kCheckpointShardFormat) {
    std::cout << path << " is one file of a checkpoint; here is the whole.\n\n";
    const fs::path folder = fs::path(path).parent_path();
    return inspect_checkpoint(folder.empty() ? "." : folder.string());
  }
  throw Error(Cause::data, text(path, " is an HDF5 file of something else (it has ",
                                contents.empty() ? "nothing" : contents, "); ", kKnown));
}

void inspect_file(const std::string& path) {
  refuse_unreadable(path);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string head(8, '\0');
  if (file.read(head.data(), static_cast<std::streamsize>(head.size())).bad() || !file.is_open()) {
    refuse_path("read", path, errno);
  }
  head.resize(static_cast<std::size_t>(file.gcount()));
  file.close();
  if (head == "\x89HDF\r\n\x1a\n") return inspect_hdf5(path);
  if (head.starts_with("\x93NUMPY")) return inspect_features(path);
  throw Error(Cause::data,
              text(path, head.empty() ? " is empty; " : " is none of what inspect reads; ", kKnown,
                   "; raw interactions are read by micrec prepare"));
}

int run_inspect(const Arguments& arguments) {
  const std::string& path = arguments.plain.front();
  if (is_folder(path)) {
    inspect_directory(path);
  } else {
    inspect_file(path);
  }
  return 0;
}

}  // namespace

Command inspect_command() {
  Command command;
  command.name = "inspect";
  command.summary = "say in words what a file or a run folder holds";
  command.usage = "micrec inspect FILE|RUN_DIR";
  command.example = "micrec inspect runs/fk";
  command.min_arguments = 1;
  command.max_arguments = 1;
  command.arguments =
      "a dataset, a feature file, exported embeddings, a run folder or a checkpoint";
  command.run = run_inspect;
  return command;
}

}  // namespace micrec
