#include "serve/export/embedding_arrays.h"

#include <glog/logging.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>
#include <ostream>
#include <span>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "evaluate/ranking.h"
#include "io/npy.h"
#include "io/unfinished_file.h"
#include "serve/export/node_blocks.h"
#include "serve/export/product_index.h"

namespace micrec {
namespace {

constexpr std::int64_t kCheckedUsers = 1000;
constexpr std::int64_t kCheckedItems = 20;

struct ArrayFiles {
  std::string rows;
  std::string keys;
};

struct DomainArrays {
  ArrayFiles users;
  ArrayFiles items;
};

DomainArrays arrays_of(const DatasetFile& dataset, int domain, ArrayFormat format,
                       const std::string& prefix) {
  const std::string name = text(prefix, ".", dataset.domains()[domain].name);
  return {{name + ".users.npy", name + ".users.keys.txt"},
          {name + (format == ArrayFormat::faiss ? ".items.faiss" : ".items.npy"),
           name + ".items.keys.txt"}};
}

void write_keys(const std::vector<std::string>& keys, const UnfinishedFile& file) {
  std::string lines;
  for (const std::string& key : keys) {
    if (key.find_first_of("\r\n") != std::string::npos) {
      throw Error(Cause::data, "the key ", excerpt(key), " has a line end in it, so ", file.path(),
                  " could not have a key a line; give --format=hdf5");
    }
    lines += key + "\n";
  }
  write_contents(file, lines);
}

/// Every so many of the users, from all their rows as they arrive.
class UserSample {
 public:
  UserSample(std::int64_t users, std::int64_t dim)
      : step_(std::max<std::int64_t>(1, users / kCheckedUsers)), dim_(dim) {}

  void take(std::int64_t first_user, std::span<const float> values) {
    const std::int64_t count = static_cast<std::int64_t>(values.size()) / dim_;
    for (std::int64_t n = 0; n < count && this->count() < kCheckedUsers; ++n) {
      if ((first_user + n) % step_ != 0) continue;
      const std::span<const float> row = values.subspan(n * dim_, dim_);
      rows_.insert(rows_.end(), row.begin(), row.end());
    }
  }

  std::int64_t count() const { return static_cast<std::int64_t>(rows_.size()) / dim_; }
  std::span<const float> rows() const { return rows_; }

 private:
  std::int64_t step_;
  std::int64_t dim_;
  std::vector<float> rows_;
};

/// Compares what the index gives, read back, with the exact best items of the sample.
std::string check_index(const UnfinishedFile& file, const UserSample& users,
                        std::span<const float> items, std::int64_t dim) {
  const std::int64_t count = static_cast<std::int64_t>(items.size()) / dim;
  std::vector<std::int32_t> row_of(count);
  std::iota(row_of.begin(), row_of.end(), 0);
  const Candidates candidates(items, dim, 0, row_of, std::vector<std::uint8_t>(count, 0), 1);
  NumberLists nothing;
  for (std::int64_t u = 0; u < users.count(); ++u) nothing.add({});
  const std::vector<std::vector<ScoredItem>> exact =
      top_k(candidates, {users.rows()}, nothing, {}, kCheckedItems);
  const std::vector<std::int64_t> found =
      search_product_index(file.name(), users.rows(), kCheckedItems);
  std::int64_t wanted = 0;
  std::int64_t missed = 0;
  for (std::int64_t u = 0; u < users.count(); ++u) {
    const auto first = found.begin() + u * kCheckedItems;
    wanted += static_cast<std::int64_t>(exact[u].size());
    missed += std::ranges::count_if(exact[u], [&](const ScoredItem& item) {
      return std::find(first, first + kCheckedItems, item.item) == first + kCheckedItems;
    });
  }
  return text(file.path(), ", read back, gives ",
              missed == 0 ? std::string("all") : text("all but ", with_commas(missed)), " of the ",
              with_commas(wanted), " exact best ", kCheckedItems, " items of ",
              with_commas(users.count()), " users\n");
}

}  // namespace

std::vector<std::string> files_of_arrays(const DatasetFile& dataset, ArrayFormat format,
                                         const std::string& prefix) {
  std::vector<std::string> files;
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const auto [users, items] = arrays_of(dataset, d, format, prefix);
    files.insert(files.end(), {users.rows, users.keys, items.rows, items.keys});
  }
  return files;
}

void export_arrays(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
                   const at::Tensor& z, ArrayFormat format, const std::string& prefix,
                   Communicator& communicator, std::ostream& report, std::int64_t block_bytes) {
  const at::Tensor rows = z.detach().contiguous();
  const std::int64_t dim = rows.size(1);
  CHECK_GE(dim, 1);
  CHECK(rows.scalar_type() == at::kFloat) << "embeddings must be float32";
  const bool writes = communicator.rank() == 0;
  const NodeBlocks blocks(ownership, communicator, block_bytes);
  std::deque<UnfinishedFile> files;  // of rank 0
  for (int d = 0; d < space.domains(); ++d) {
    const Range users = space.users_of(d);
    const Range items = space.items_of(d);
    const auto [of_users, of_items] = arrays_of(dataset, d, format, prefix);
    if (writes) {
      write_keys(dataset.user_keys(d), files.emplace_back(of_users.keys));
      write_keys(dataset.item_keys(d), files.emplace_back(of_items.keys));
    }
    UserSample sample(users.size(), dim);
    std::optional<NpyWriter> file;
    if (writes) file.emplace(files.emplace_back(of_users.rows), users.size(), dim);
    blocks.gather(users, rows, [&](Range some, std::span<const float> values) {
      file->write(values);
      sample.take(some.begin - users.begin, values);
    });
    if (file) file->close();
    file.reset();
    std::vector<float> all;  // of the items, for an index
    if (writes) files.emplace_back(of_items.rows);
    if (writes && format == ArrayFormat::npy) file.emplace(files.back(), items.size(), dim);
    blocks.gather(items, rows, [&](Range /*some*/, std::span<const float> values) {
      if (file) {
        file->write(values);
      } else {
        all.insert(all.end(), values.begin(), values.end());
      }
    });
    if (file) file->close();
    if (!writes || format == ArrayFormat::npy) continue;
    write_product_index(files.back(), all, dim);
    report << check_index(files.back(), sample, all, dim);
  }
  for (UnfinishedFile& file : files) file.sync();
  for (UnfinishedFile& file : files) file.finish();
  communicator.barrier("export.finished");
}

}  // namespace micrec
