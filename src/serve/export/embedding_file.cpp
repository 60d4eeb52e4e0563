#include "serve/export/embedding_file.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <ostream>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "evaluate/gathered_rows.h"
#include "evaluate/histories.h"
#include "io/unfinished_file.h"
#include "model/item_regression/recency.h"
#include "serve/export/node_blocks.h"

namespace micrec {
namespace {

/// Writes one file from the rows of all ranks; all functions but the constructor are collective.
class Exporter {
 public:
  /// `file` is null on all ranks but 0.
  Exporter(const NodeSpace& space, const NodeBlocks& blocks, Communicator& communicator,
           Hdf5File* file)
      : space_(space), blocks_(blocks), communicator_(communicator), file_(file) {}

  /// Shapes   rows: (owned rows, dim) float32.
  void write_embeddings(Range nodes, const at::Tensor& rows, const std::string& name) {
    if (file_ != nullptr) file_->reserve<float>(name, {nodes.size(), rows.size(1)});
    blocks_.gather(nodes, rows, [&](Range some, std::span<const float> values) {
      file_->write_rows(name, {some.begin - nodes.begin, some.end - nodes.begin}, values.data());
    });
  }

  /// The coefficients of a domain's items. Shapes   own: of this rank's items of all domains.
  void write_regression(int domain, const SparseRows& own, const ScoreMix& mix, c10::Device device,
                        const std::string& group) {
    const Range nodes = space_.items_of(domain);
    const std::int64_t columns = space_.items();
    const std::int64_t first =
        blocks_.owned_before(nodes.begin) - blocks_.owned_before(space_.users());
    const std::int64_t last =
        blocks_.owned_before(nodes.end) - blocks_.owned_before(space_.users());
    at::Tensor total = at::full({1}, own.offsets[last] - own.offsets[first], at::kLong).to(device);
    communicator_.all_reduce("export.coefficients", total);
    if (file_ != nullptr) {
      const auto coefficients = total.item<std::int64_t>();
      file_->make_group(group);
      file_->set_attribute(group, "embeddings", mix.embeddings ? 1 : 0);
      file_->set_attribute(group, "regression", static_cast<double>(mix.regression));
      file_->reserve<float>(group + "/data", {coefficients});
      file_->reserve<std::int32_t>(group + "/indices", {coefficients});
      file_->write(group + "/shape", std::vector<std::int64_t>{nodes.size(), columns});
    }
    std::vector<std::int64_t> begins = {0};    // of the rows written, and of the next
    constexpr std::int64_t kItemBytes = 1024;  // about 100 coefficients
    blocks_.for_each(nodes, kItemBytes, [&](const NodeBlocks::Block& block) {
      std::vector<std::int64_t> rows(block.rows_of[communicator_.rank()]);
      std::iota(rows.begin(), rows.end(), block.first_own - blocks_.owned_before(space_.users()));
      const SparseRows received = to_host(
          gather_rows("export.coefficients", own, rows, block.rows_of, device, communicator_));
      if (file_ != nullptr) write_block(received, block.row_of, group, begins);
    });
    if (file_ != nullptr) file_->write(group + "/indptr", begins);
  }

 private:
  /// Writes rows of a sparse matrix behind those that are there.
  void write_block(const SparseRows& rows, const std::vector<std::int32_t>& row_of,
                   const std::string& group, std::vector<std::int64_t>& begins) const {
    std::vector<std::int32_t> indices;
    std::vector<float> data;
    const std::int64_t begin = begins.back();
    for (const std::int32_t row : row_of) {
      const std::int64_t from = rows.offsets[row];
      const std::int64_t to = rows.offsets[row + 1];
      indices.insert(indices.end(), rows.column.begin() + from, rows.column.begin() + to);
      data.insert(data.end(), rows.value.begin() + from, rows.value.begin() + to);
      begins.push_back(begins.back() + to - from);
    }
    if (data.empty()) return;
    file_->write_rows(group + "/indices", {begin, begins.back()}, indices.data());
    file_->write_rows(group + "/data", {begin, begins.back()}, data.data());
  }

  const NodeSpace& space_;
  const NodeBlocks& blocks_;
  Communicator& communicator_;
  Hdf5File* file_;
};

void write_origin(const EmbeddingOrigin& origin, const DatasetFile& dataset,
                  const ScoreTerms& terms, Hdf5File& file) {
  file.set_attribute("/", "format", kEmbeddingsFormat);
  file.set_attribute("/", "format_version",
                     terms.half_life.empty() ? kEmbeddingsWithoutRecency : kEmbeddingsVersion);
  file.set_attribute("/", "model", origin.model);
  file.set_attribute("/", "checkpoint", origin.checkpoint);
  file.set_attribute("/", "dataset_fingerprint", dataset.fingerprint());
  file.set_attribute("/", "dim", terms.z.size(1));
}

/// How the items of all domains are numbered together.
void write_numbering(const DatasetFile& dataset, const NodeSpace& space, Hdf5File& file) {
  std::vector<std::string> names;
  std::vector<std::int64_t> offsets = {0};
  for (int d = 0; d < space.domains(); ++d) {
    names.push_back(dataset.domains()[d].name);
    offsets.push_back(space.item_numbers(d).end);
  }
  file.write_text("/item_regression/domain", names);
  file.write("/item_regression/offset", offsets);
}

/// What everybody did, and how much came after it.
void write_histories(const DatasetFile& dataset, const NodeSpace& space, Hdf5File& file) {
  std::vector<std::int32_t> everybody(dataset.people());
  std::iota(everybody.begin(), everybody.end(), 0);
  const Histories histories = load_histories(dataset, space, Observed::all, HistoryAges::counted,
                                             everybody, dataset.people());
  const std::string group = "/item_regression/history";
  file.write_text(group + "/person", dataset.person_keys());
  file.write(group + "/newer", histories.newer);
  file.write(group + "/indices", histories.items.values);
  file.write(group + "/indptr", histories.items.offsets);
}

}  // namespace

void export_embeddings(const DatasetFile& dataset, const NodeSpace& space,
                       const Ownership& ownership, const ScoreTerms& terms,
                       std::span<const ScoreMix> mixes, const EmbeddingOrigin& origin,
                       const std::string& path, Communicator& communicator,
                       std::int64_t block_bytes) {
  const int rank = communicator.rank();
  const at::Tensor rows = terms.z.detach().contiguous();
  CHECK_EQ(communicator.size(), ownership.ranks);
  CHECK_EQ(rows.size(0), std::count(ownership.owner.begin(), ownership.owner.end(), rank));
  CHECK(rows.scalar_type() == at::kFloat) << "embeddings must be float32";
  const bool has_regression = terms.coefficients != nullptr;
  if (has_regression) CHECK_EQ(static_cast<int>(mixes.size()), space.domains());

  std::optional<UnfinishedFile> unfinished;
  std::optional<Hdf5File> file;
  if (rank == 0) {
    unfinished.emplace(path);
    file.emplace(Hdf5File::create(unfinished->name()));
    write_origin(origin, dataset, terms, *file);
    if (has_regression) write_numbering(dataset, space, *file);
    if (!terms.half_life.empty()) write_histories(dataset, space, *file);
  }
  const NodeBlocks blocks(ownership, communicator, block_bytes);
  Exporter exporter(space, blocks, communicator, file ? &*file : nullptr);
  for (int d = 0; d < space.domains(); ++d) {
    const std::string group = "/domains/" + dataset.domains()[d].name;
    if (rank == 0) {
      file->write_text(group + "/users/key", dataset.user_keys(d));
      file->write_text(group + "/items/key", dataset.item_keys(d));
    }
    exporter.write_embeddings(space.users_of(d), rows, group + "/users/embedding");
    exporter.write_embeddings(space.items_of(d), rows, group + "/items/embedding");
    if (has_regression) {
      exporter.write_regression(d, *terms.coefficients, mixes[d], rows.device(),
                                group + "/item_regression");
      if (rank == 0 && !terms.half_life.empty()) {
        file->set_attribute(group + "/item_regression", "half_life", terms.half_life[d]);
      }
    }
  }
  if (rank == 0) {
    file->close();
    unfinished->finish();
  }
  communicator.barrier("export.finished");
}

void describe_embeddings(const std::string& path, std::ostream& out) {
  const Hdf5File file = Hdf5File::open(path);
  print_title(out, path, "exported embeddings");
  for (const char* attribute : {"model", "checkpoint", "dataset_fingerprint"}) {
    if (!file.has_attribute("/", attribute)) continue;
    const std::string label =
        attribute == std::string("dataset_fingerprint") ? "dataset" : attribute;
    print_row(out, label, or_none(file.text_attribute("/", attribute)));
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
    print_row(out, "domain " + domain, text(join(counts, ", "), ", ", dim, " columns"));
    const std::string regression = text("/domains/", domain, "/item_regression");
    if (!file.exists(regression)) continue;
    const std::int64_t coefficients = file.expect_shape(regression + "/data", {-1})[0];
    const bool alone = file.integer_attribute(regression, "embeddings") == 0;
    print_row(out, "",
              text(with_commas(coefficients), " coefficients of item regression, ",
                   alone ? std::string("which scores alone")
                         : text("weight ",
                                decimal("%.6g", file.number_attribute(regression, "regression")),
                                " beside the embeddings")));
    if (!file.has_attribute(regression, "half_life")) continue;
    const double half_life = file.number_attribute(regression, "half_life");
    if (half_life == kNoRecency) continue;
    print_row(out, "",
              text("over histories with a half-life of ", half_life, " newer interactions"));
  }
  out << "\nThe score of a user and an item of one domain is the dot product of their rows; where "
         "a "
         "domain has item\nregression, its weight times the sum of the item's coefficients over "
         "the "
         "person's history comes to it, or is\nthe score alone.\n";
}

}  // namespace micrec
