#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/coefficient_file.h"
#include "checkpoints/description.h"
#include "checkpoints/directory.h"
#include "checkpoints/format.h"
#include "data/dataset_description.h"
#include "data/dataset_format.h"
#include "evaluate/per_user_file.h"
#include "io/feature_description.h"
#include "io/hdf5.h"
#include "io/paths.h"
#include "launcher/commands.h"
#include "serve/export/embedding_file.h"
#include "train/log/run_description.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr char kKnown[] =
    "expected a dataset (micrec prepare), a feature file (HDF5 with /key and /value, or NAME.npy "
    "beside NAME.keys.txt), exported embeddings (micrec export), metrics by user (micrec evaluate "
    "--per_user), a run folder (micrec train), one of its checkpoints, its item_regression.h5 or "
    "semantic_neighbours.MODALITY.h5";

/// What a file is told by, after what its attribute `format` says.
struct FileFormat {
  const char* name;
  void (*describe)(const std::string& path, std::ostream& out);
};

constexpr FileFormat kFormats[] = {{dataset_format::kFormat, describe_dataset},
                                   {kEmbeddingsFormat, describe_embeddings},
                                   {kItemRegressionFormat, describe_coefficient_file},
                                   {kSemanticNeighboursFormat, describe_coefficient_file},
                                   {kPerUserFormat, describe_per_user}};

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
  for (const FileFormat& known : kFormats) {
    if (format == known.name) return known.describe(path, std::cout);
  }
  if (has_features) return describe_features(path, std::cout);
  if (format == kCheckpointShardFormat) {
    std::cout << path << " is one file of a checkpoint; here is the whole.\n\n";
    const fs::path folder = fs::path(path).parent_path();
    return describe_checkpoint(folder.empty() ? "." : folder.string(), std::cout);
  }
  throw Error(Cause::data, path, " is an HDF5 file of something else (it has ",
              contents.empty() ? "nothing" : contents, "); ", kKnown);
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
  if (head.starts_with("\x93NUMPY")) return describe_features(path, std::cout);
  throw Error(Cause::data, path, head.empty() ? " is empty; " : " is none of what inspect reads; ",
              kKnown, "; raw interactions are read by micrec prepare");
}

void inspect_folder(const std::string& path) {
  if (is_there((fs::path(path) / kCheckpointManifestFile).string())) {
    return describe_checkpoint(path, std::cout);
  }
  if (is_run(path)) return describe_run(path, std::cout);
  if (!list_checkpoints(path).empty()) return describe_checkpoints(path, std::cout);
  throw Error(Cause::data, path, " is a folder without a run or a checkpoint in it; ", kKnown);
}

int run_inspect(const Arguments& arguments) {
  const std::string& path = arguments.plain.front();
  is_folder(path) ? inspect_folder(path) : inspect_file(path);
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
