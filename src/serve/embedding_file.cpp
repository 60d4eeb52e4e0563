#include "serve/embedding_file.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <ostream>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "io/unfinished_file.h"

namespace micrec {

void export_embeddings(const DatasetFile& dataset, const NodeSpace& space,
                       const Ownership& ownership, const at::Tensor& z,
                       const EmbeddingOrigin& origin, const std::string& path,
                       Communicator& communicator, std::int64_t block_bytes) {
  const int rank = communicator.rank();
  const std::int64_t dim = z.size(1);
  CHECK_EQ(communicator.size(), ownership.ranks);
  CHECK_EQ(z.size(0), std::count(ownership.owner.begin(), ownership.owner.end(), rank));
  CHECK(z.scalar_type() == at::kFloat) << "embeddings must be float32";
  const at::Tensor rows = z.detach().contiguous();

  std::optional<UnfinishedFile> unfinished;
  std::optional<Hdf5File> file;
  if (rank == 0) {
    unfinished.emplace(path);
    file.emplace(Hdf5File::create(unfinished->name()));
    file->set_attribute("/", "format", kEmbeddingsFormat);
    file->set_attribute("/", "format_version", kEmbeddingsVersion);
    file->set_attribute("/", "model", origin.model);
    file->set_attribute("/", "checkpoint", origin.checkpoint);
    file->set_attribute("/", "dataset_fingerprint", dataset.fingerprint());
    file->set_attribute("/", "dim", dim);
  }

  const std::int64_t block =
      std::max<std::int64_t>(1, block_bytes / (dim * std::int64_t{sizeof(float)}));
  const auto write_nodes = [&](Range nodes, const std::string& name) {
    if (rank == 0) file->reserve<float>(name, {nodes.size(), dim});
    for (std::int64_t begin = nodes.begin; begin < nodes.end; begin += block) {
      const std::int64_t end = std::min(nodes.end, begin + block);
      const auto owner = ownership.owner.begin();
      std::vector<std::int64_t> rows_of(ownership.ranks, 0);
      for (std::int64_t node = begin; node < end; ++node) ++rows_of[owner[node]];
      const std::int64_t first = std::count(owner, owner + begin, rank);
      std::vector<std::int64_t> send(ownership.ranks, 0);
      send[0] = rows_of[rank];
      const std::vector<std::int64_t> nothing(ownership.ranks, 0);
      const at::Tensor received =
          communicator
              .all_to_all("export.rows", rows.narrow(0, first, rows_of[rank]).contiguous(), send,
                          rank == 0 ? rows_of : nothing)
              .cpu();
      if (rank != 0) continue;
      std::vector<std::int64_t> next(ownership.ranks, 0);
      for (int q = 1; q < ownership.ranks; ++q) next[q] = next[q - 1] + rows_of[q - 1];
      std::vector<std::int64_t> row_of;
      for (std::int64_t node = begin; node < end; ++node) row_of.push_back(next[owner[node]]++);
      const at::Tensor in_order =
          received.index_select(0, at::tensor(row_of, at::kLong)).contiguous();
      file->write_rows(name, {begin - nodes.begin, end - nodes.begin},
                       in_order.const_data_ptr<float>());
    }
  };
  for (int d = 0; d < space.domains(); ++d) {
    const std::string group = "/domains/" + dataset.domains()[d].name;
    if (rank == 0) {
      file->write_text(group + "/users/key", dataset.user_keys(d));
      file->write_text(group + "/items/key", dataset.item_keys(d));
    }
    write_nodes(space.users_of(d), group + "/users/embedding");
    write_nodes(space.items_of(d), group + "/items/embedding");
  }
  if (rank == 0) {
    file->close();
    unfinished->finish();
  }
  communicator.barrier("export.finished");
}

void describe_embeddings(const Hdf5File& file, std::ostream& out) {
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
  }
}

}  // namespace micrec
