#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/checkpoint.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/description.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "data/dataset_description.h"
#include "data/dataset_file.h"
#include "data/dataset_format.h"
#include "evaluate/per_user_file.h"
#include "io/feature_description.h"
#include "io/feature_file.h"
#include "io/hdf5.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "serve/embedding_file.h"
#include "train/metrics_log.h"
#include "train/run_description.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr char kKnown[] =
    "expected a dataset (micrec prepare), a feature file (HDF5 with /key and /value, or NAME.npy "
    "beside NAME.keys.txt), exported embeddings (micrec export), metrics by user (micrec evaluate "
    "--per_user), a run folder (micrec train), one of its checkpoints or its item_regression.h5";

/// "food.h5: a dataset, 3.1 MiB"
void print_title(const std::string& path, const std::string& what) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  std::cout << path << ": " << what << ", "
            << (error ? "size unknown" : in_bytes(static_cast<double>(bytes))) << "\n";
}

void inspect_dataset(const std::string& path) {
  const DatasetFile dataset = DatasetFile::open(path);
  print_title(path, "a dataset");
  describe(dataset, std::cout);
}

void inspect_features(const std::string& path) {
  std::ostringstream told;  // not before all values have been read
  describe(FeatureFile::open(path), told);
  print_title(path, "features of items");
  std::cout << told.str() << "\nGive it to micrec prepare as --features=MODALITY:DOMAIN=" << path
            << "\n";
}

void inspect_embeddings(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  print_title(path, "exported embeddings");
  describe_embeddings(file, std::cout);
  std::cout << "\nThe score of a user and an item of one domain is the dot product of their rows; "
               "where a "
               "domain has item\nregression, its weight times the sum of the item's coefficients "
               "over the "
               "person's history comes to it, or is\nthe score alone.\n";
}

void inspect_item_regression(const std::string& path) {
  std::ostringstream told;  // not before every byte has been read
  describe_item_regression(path, Verify::checksums, told);
  print_title(path, "the coefficients of an item regression");
  std::cout << told.str();
}

void inspect_per_user(const std::string& path) {
  const Hdf5File file = Hdf5File::open(path);
  print_title(path, "metrics by user");
  describe_per_user(file, std::cout);
  std::cout << "\nGive several to micrec compare.\n";
}

void inspect_checkpoint(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  verify_item_regression(checkpoint);
  std::cout << path << ": a checkpoint, " << in_bytes(static_cast<double>(checkpoint.bytes()))
            << "\n";
  describe(checkpoint, std::cout);
}

void inspect_directory(const std::string& path) {
  const fs::path folder(path);
  if (is_there((folder / kCheckpointManifestFile).string())) return inspect_checkpoint(path);
  if (is_there((folder / "config.txt").string()) || is_there(MetricsLog::path_in(path)) ||
      !list_checkpoints(checkpoints_of(path)).empty()) {
    std::cout << path << ": a run\n";
    return describe_run(path, std::cout);
  }
  if (!list_checkpoints(path).empty()) return describe_checkpoints(path, std::cout);
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
  if (format == kItemRegressionFormat) return inspect_item_regression(path);
  if (format == kPerUserFormat) return inspect_per_user(path);
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
  is_folder(path) ? inspect_directory(path) : inspect_file(path);
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
      "a dataset, a feature file, exported embeddings, coefficients, metrics by user, a run folder "
      "or a checkpoint";
  command.run = run_inspect;
  return command;
}

}  // namespace micrec
