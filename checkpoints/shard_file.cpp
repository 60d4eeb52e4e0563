#include "checkpoints/shard_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoints/element_type.h"
#include "checkpoints/format.h"
#include "checkpoints/manifest.h"
#include "io/durable_files.h"
#include "io/hdf5.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDatasetsNamed = 4;  // in a message

/// Writes datasets in pieces, so that whoever else reads or writes HDF5 waits for a piece at most.
class ShardWriter {
 public:
  ShardWriter(Hdf5File& file, const std::atomic<bool>& abandoned)
      : file_(file), abandoned_(abandoned) {}

  void write(const std::string& name, const at::Tensor& tensor) {
    const at::Tensor rows = tensor.dim() == 0 ? tensor.detach().view({1}) : tensor.detach();
    visit_element_type(rows.scalar_type(), [&]<typename T>(T) {
      write_rows<T>(name, rows.sizes().vec(), [&](Range range, std::vector<T>&) {
        kept_ = rows.narrow(0, range.begin, range.size()).to(at::kCPU).contiguous();
        return kept_.const_data_ptr<T>();
      });
    });
  }

  void write(const std::string& name, const std::vector<GlobalNode>& owned) {
    write_rows<std::int64_t>(
        name, {std::ssize(owned)}, [&](Range range, std::vector<std::int64_t>& numbers) {
          numbers.resize(static_cast<std::size_t>(range.size()));
          std::transform(owned.begin() + range.begin, owned.begin() + range.end, numbers.begin(),
                         [](GlobalNode node) { return std::int64_t{value(node)}; });
          return numbers.data();
        });
  }

  std::vector<StoredDataset> take_datasets() { return std::move(datasets_); }

 private:
  template <typename T, typename ValuesOf>
  void write_rows(const std::string& name, const std::vector<std::int64_t>& shape,
                  const ValuesOf& values_of) {
    file_.reserve<T>(name, shape, {.zeros = false});
    std::int64_t row_bytes = sizeof(T);
    for (std::size_t d = 1; d < shape.size(); ++d) row_bytes *= shape[d];
    if (row_bytes == 0 || shape[0] == 0) return;
    datasets_.push_back(
        {name, file_.offset_in_file(name).value(), shape[0] * row_bytes, shape[0], ""});
    const std::int64_t at_once = std::max<std::int64_t>(1, kTransferBytes / row_bytes);
    std::vector<T> space;
    for (std::int64_t begin = 0; begin < shape[0]; begin += at_once) {
      if (abandoned_) throw Error(Cause::io, "it was abandoned, as the run ended");
      const Range range{begin, std::min(shape[0], begin + at_once)};
      file_.write_rows(name, range, values_of(range, space));
    }
  }

  Hdf5File& file_;
  const std::atomic<bool>& abandoned_;
  at::Tensor kept_;  // while it is being written
  std::vector<StoredDataset> datasets_;
};

std::vector<FilePart> parts_of(const StoredShard& shard) {
  std::vector<FilePart> parts;
  for (const StoredDataset& dataset : shard.datasets) {
    parts.push_back({dataset.offset, dataset.bytes});
  }
  return parts;
}

// "/tensors/templates/value, rows 0 to 4,095 of 7,140", of bytes [begin, end) of a dataset.
std::string place_in(const StoredDataset& dataset, std::int64_t begin, std::int64_t end) {
  const std::int64_t row_bytes = dataset.bytes / dataset.rows;
  const std::int64_t first = begin / row_bytes;
  const std::int64_t last = (end - 1) / row_bytes;
  if (first == 0 && last == dataset.rows - 1) return dataset.name + " (any of its rows)";
  return text(dataset.name, first == last ? ", row " : ", rows ", with_commas(first),
              first == last ? "" : " to " + with_commas(last), " of ", with_commas(dataset.rows));
}

std::string named(std::vector<std::string> places) {
  const std::size_t count = places.size();
  places.resize(std::min(count, kDatasetsNamed));
  return join(places, "; ") +
         (count > kDatasetsNamed ? text("; and ", count - kDatasetsNamed, " more") : "");
}

// What a file that ends too early has lost.
std::string lost_beyond(const StoredShard& shard, std::int64_t bytes) {
  std::vector<StoredDataset> by_offset = shard.datasets;
  std::ranges::sort(by_offset, {}, &StoredDataset::offset);
  std::vector<std::string> places;
  for (const StoredDataset& dataset : by_offset) {
    const std::int64_t kept = std::max<std::int64_t>(0, bytes - dataset.offset);
    if (kept >= dataset.bytes) continue;
    places.push_back(kept == 0 ? dataset.name : place_in(dataset, kept, dataset.bytes));
  }
  if (shard.datasets.empty()) return "";
  return places.empty() ? "; no dataset is cut off, but HDF5's own tables are"
                        : "; cut off: " + named(std::move(places));
}

// Where a file of the right size differs from what was written.
std::string where_different(const std::string& path, const StoredShard& shard) {
  if (shard.datasets.empty()) return "";  // of an older program
  const FileDigest digest = digest_file(path, parts_of(shard), shard.block_bytes);
  std::vector<std::string> places;
  for (std::size_t i = 0; i < shard.datasets.size(); ++i) {
    const StoredDataset& dataset = shard.datasets[i];
    std::int64_t begin = -1;
    std::int64_t end = -1;
    for (std::size_t at = 0; at < dataset.xxh3_64.size(); at += 16) {
      if (digest.parts[i].compare(at, 16, dataset.xxh3_64, at, 16) == 0) continue;
      const auto block = static_cast<std::int64_t>(at / 16);
      if (begin < 0) begin = block * shard.block_bytes;
      end = std::min(dataset.bytes, (block + 1) * shard.block_bytes);
    }
    if (begin >= 0) places.push_back(place_in(dataset, begin, end));
  }
  return places.empty() ? "; the difference is outside of its datasets, in HDF5's own tables"
                        : "; the difference is in dataset " + named(std::move(places));
}

}  // namespace

std::vector<StoredDataset> write_shard(const std::string& path, const ShardContents& contents,
                                       const std::atomic<bool>& abandoned) {
  Hdf5File file = Hdf5File::create(path);
  file.set_attribute("/", "format", kCheckpointShardFormat);
  file.set_attribute("/", "format_version", kCheckpointFormatVersion);
  file.set_attribute("/", "shard", contents.rank);
  file.set_attribute("/", "step", contents.step);
  file.make_group("/tensors");
  ShardWriter writer(file, abandoned);
  for (const CheckpointTensor& tensor : contents.tensors) {
    const std::string group = "/tensors/" + tensor.name;
    file.make_group(group);
    if (!tensor.description.empty()) {
      file.set_attribute(group, "description", tensor.description);
    }
    if (tensor.sharded) writer.write(group + "/row", contents.owned);
    for (const auto& [name, part] : kTensorParts) {
      if ((tensor.*part).defined()) writer.write(text(group, "/", name), tensor.*part);
    }
  }
  file.close();
  return writer.take_datasets();
}

StoredShard describe_shard(const std::string& path, const ShardContents& contents,
                           std::vector<StoredDataset> datasets) {
  StoredShard shard;
  shard.file = shard_name(contents.rank);
  shard.rows = std::ssize(contents.owned);
  shard.block_bytes = kCheckpointBlockBytes;
  shard.datasets = std::move(datasets);
  FileDigest digest = digest_file(path, parts_of(shard), shard.block_bytes);
  shard.bytes = digest.bytes;
  shard.xxh3_128 = std::move(digest.xxh3_128);
  for (std::size_t i = 0; i < shard.datasets.size(); ++i) {
    shard.datasets[i].xxh3_64 = std::move(digest.parts[i]);
  }
  return shard;
}

std::optional<std::string> tensor_not_finite(const std::vector<CheckpointTensor>& tensors) {
  for (const CheckpointTensor& tensor : tensors) {
    if (!tensor.adam_m.defined()) continue;
    const at::Tensor values = tensor.value.detach().to(at::kCPU).contiguous();
    int bad = 0;
    visit_element_type(values.scalar_type(), [&]<typename T>(T) {
      if constexpr (std::is_floating_point_v<T>) {
        // The difference of a number and itself is 0 unless the number is not finite.
        const T* const elements = values.const_data_ptr<T>();
        for (std::int64_t i = 0; i < values.numel(); ++i) bad |= elements[i] - elements[i] != 0;
      }
    });
    if (bad != 0) return tensor.name;
  }
  return std::nullopt;
}

std::optional<std::string> damage_of(const std::string& path, const StoredShard& shard,
                                     Verify verify) {
  if (!is_there(path)) return "it is missing, though the manifest lists it";
  refuse_unreadable(path);
  const std::int64_t bytes = bytes_of_file(path);
  if (bytes != shard.bytes) {
    return text("it has ", with_commas(bytes), " bytes, the manifest says ",
                with_commas(shard.bytes), lost_beyond(shard, bytes));
  }
  if (verify == Verify::sizes) return std::nullopt;
  const FileDigest digest = digest_file(path);
  if (digest.xxh3_128 == shard.xxh3_128) return std::nullopt;
  return text("its checksum is ", digest.xxh3_128, ", the manifest says ", shard.xxh3_128,
              where_different(path, shard));
}

}  // namespace micrec
