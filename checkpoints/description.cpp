#include "checkpoints/description.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <sstream>
#include <vector>

#include "base/description.h"
#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "cluster/agreement.h"

namespace micrec {
namespace {

std::string in_words(const std::vector<std::int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const std::int64_t size : shape) sizes.push_back(with_commas(size));
  return shape.empty() ? "a single number" : join(sizes, " x ");
}

}  // namespace

void describe_progress(const CheckpointInfo& info, std::ostream& out) {
  print_row(out, "trained",
            text(count_of(info.step, "step"), ", ", count_of(info.epoch, "epoch"), " completed"));
  if (info.best_step > 0) {
    print_row(out, "best",
              text("validation metric ", decimal("%.6f", info.best_metric), " at step ",
                   with_commas(info.best_step), "; ",
                   count_of(info.validations_without_improvement, "validation"),
                   " since without improvement"));
  } else {
    print_row(out, "best", "not validated yet");
  }
}

void describe_settings(const std::string& flagfile, std::ostream& out) {
  constexpr std::size_t kGroupColumns = 24;
  out << "settings\n";
  std::string group;
  std::vector<std::string> flags;
  const auto print_group = [&] {
    if (!flags.empty()) print_words(out, "  " + group, flags, kGroupColumns);
    flags.clear();
  };
  for (const std::string& line : split(flagfile, '\n')) {
    if (line.starts_with(kHistoryLine)) {
      print_row(out, "  changed", line.substr(2));
    } else if (line.starts_with("# ")) {
      print_group();
      group = line.substr(2);
    } else if (!line.empty()) {
      flags.push_back(line);
    }
  }
  print_group();
}

namespace {

/// NAME=VALUE of each member; or the whole, where it has none.
std::vector<std::string> settings_of(const nlohmann::ordered_json& json) {
  std::vector<std::string> settings;
  if (!json.is_object()) settings.push_back(printable(json.dump()));
  for (const auto& [name, value] : json.items()) {
    if (json.is_object()) settings.push_back(printable(name + "=" + value.dump()));
  }
  return settings;
}

/// How coefficients were fitted: a line a domain, and one for each that was tried for it; or how
/// neighbours were found; or the text as it is, where another program wrote it.
void describe_fit(const std::string& settings, std::ostream& out) {
  const auto json = nlohmann::ordered_json::parse(settings, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    print_row(out, "made with", or_none(printable(settings)));
    return;
  }
  if (!json.contains("chosen") || !json["chosen"].is_object()) {
    print_words(out, "made with", settings_of(json));
    return;
  }
  for (const auto& [domain, value] : json["chosen"].items()) {
    nlohmann::ordered_json chosen = value;
    nlohmann::ordered_json tried;
    if (chosen.is_object() && chosen.contains("tried")) {
      tried = chosen["tried"];
      chosen.erase("tried");
    }
    print_words(out, "fitted " + printable(domain), settings_of(chosen));
    for (const auto& one : tried) print_words(out, "  tried", settings_of(one));
  }
}

}  // namespace

void describe_item_regression(const std::string& path, Verify verify, std::ostream& out) {
  const bool reads_all = verify == Verify::checksums;
  const CoefficientSummary what =
      reads_all ? summarise_coefficients(path) : look_at_coefficients(path);
  const double each = static_cast<double>(what.bytes) /
                      static_cast<double>(std::max<std::int64_t>(1, what.coefficients));
  const bool has_neighbours = what.origin.format == kSemanticNeighboursFormat;
  print_row(out, has_neighbours ? "neighbours" : "coefficients",
            text(with_commas(what.coefficients), " of ", count_of(what.items, "item"),
                 reads_all ? text(", at most ", with_commas(what.most_of_item), " an item") : "",
                 "; ", decimal("%.1f", each), " bytes each"));
  print_row(out, "of",
            text("a dataset with fingerprint ", printable(what.origin.dataset_fingerprint)));
  describe_fit(what.origin.settings, out);
  if (reads_all) print_row(out, "verified", "every number, as the file's own checksums say");
}

void describe_coefficient_file(const std::string& path, std::ostream& out) {
  std::ostringstream told;  // not before every byte has been read
  describe_item_regression(path, Verify::checksums, told);
  const bool has_neighbours = look_at_coefficients(path).origin.format == kSemanticNeighboursFormat;
  print_title(out, path,
              has_neighbours ? "semantic neighbours" : "the coefficients of an item regression");
  out << told.str();
}

void describe_checkpoint(const std::string& path, std::ostream& out) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  verify_item_regression(checkpoint);
  out << path << ": a checkpoint, " << in_bytes(static_cast<double>(checkpoint.bytes())) << "\n";
  const CheckpointInfo& info = checkpoint.info();
  describe_progress(info, out);
  print_row(out, "saved by",
            text(count_of(info.world_size, "rank"), " in a grid of ", info.grid,
                 "; any number of ranks can restore it"));
  print_row(out, "complete by",
            checkpoint.commit() == Commit::marker ? "its marker" : "the rename of its folder");
  print_row(out, "dataset", text(info.dataset_path, " (", info.dataset_fingerprint, ")"));
  for (const auto& [key, value] : info.extra) print_row(out, key, value);
  if (info.item_regression) {
    print_row(out, "coefficients",
              text(coefficient_file_beside(checkpoint.directory()), ", ",
                   in_bytes(static_cast<double>(info.item_regression->bytes))));
  }
  describe_settings(info.config, out);
  print_row(
      out, "verified",
      text(count_of(std::ssize(checkpoint.shards()), "file"), ", every byte as the manifest says"));
  out << "\ntensors\n";
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    out << "  " << tensor.name << ": " << in_words(tensor.shape) << " " << tensor.type
        << (tensor.sharded ? ", a row a node" : "") << (tensor.trained ? ", trained" : "")
        << (tensor.description.empty() ? "" : "; " + tensor.description) << "\n";
  }
}

void describe_checkpoints(const std::string& directory, std::ostream& out) {
  const std::vector<std::string> names = list_checkpoints(directory);
  std::optional<std::string> best;
  const std::optional<Failure> no_best = attempt([&] { best = best_checkpoint(directory); });
  out << "\n" << count_of(std::ssize(names), "checkpoint") << " in " << directory << "\n";
  for (const std::string& name : names) {
    const std::string path = (std::filesystem::path(directory) / name).string();
    out << "  " << name;
    try {
      const Checkpoint checkpoint = Checkpoint::open(path, Verify::sizes);
      out << ": epoch " << checkpoint.info().epoch << ", "
          << in_bytes(static_cast<double>(checkpoint.bytes())) << " from "
          << count_of(checkpoint.info().world_size, "rank") << (best == path ? ", the best" : "")
          << "\n";
    } catch (const Error& error) {
      out << ": cannot be used: " << error.what() << "\n";
    }
  }
  if (no_best) out << "  which is the best is unknown: " << no_best->message << "\n";
}

}  // namespace micrec
