#include "checkpoints/coefficient_file.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <glog/logging.h>
#include <libdeflate.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "checkpoints/manifest.h"
#include "checkpoints/shard_file.h"
#include "cluster/agreement.h"
#include "io/durable_files.h"
#include "io/hdf5.h"
#include "io/paths.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr char kOffsets[] = "/offsets";
constexpr char kSource[] = "/source";
constexpr char kValue[] = "/value";
constexpr char kChecksum[] = "crc32";
constexpr char kWritingSuffix[] = ".writing";
constexpr std::size_t kMostSettingsBytes = 32 << 10;  // an attribute of HDF5 has at most 64 KiB
constexpr std::int64_t kCoefficientBytes = sizeof(std::int32_t) + sizeof(float);
constexpr char kAdvice[] =
    "; put the run's own file back from a copy, or fit anew: train with another --run_dir";
constexpr char kAdviceOnNeighbours[] = "; remove it, or let train --resume write it again";

static_assert(std::endian::native == std::endian::little, "the checksum is of little-endian bytes");

/// CRC-32 of the elements of a dataset that pass one after the other.
class Checksum {
 public:
  template <typename T>
  void add(std::span<const T> elements) {
    if (elements.empty()) return;  // the library would begin anew at a null pointer
    sum_ = libdeflate_crc32(sum_, elements.data(), elements.size_bytes());
  }
  std::int64_t sum() const { return static_cast<std::int64_t>(sum_); }

 private:
  std::uint32_t sum_ = 0;
};

struct Checksums {
  Checksum offsets;
  Checksum source;
  Checksum value;
};

/// `what` may end with what helps where any HDF5 file is damaged; this file is the run's own, for
/// which there is one thing to do.
[[noreturn]] void refuse(const std::string& path, std::string what) {
  const std::string of_any_file = "; make or fetch it again";
  if (what.ends_with(of_any_file)) what.resize(what.size() - of_any_file.size());
  const bool has_neighbours = fs::path(path).filename().string().starts_with(kNeighbourFiles);
  throw Error(Cause::checkpoint, path, " ", what, has_neighbours ? kAdviceOnNeighbours : kAdvice);
}

/// Reads a file of which the contents, and not the system, may be what is wrong: an
/// Error(Cause::data) of it, which need not name the file.
template <typename Read>
auto read_or_refuse(const std::string& path, const Read& read) {
  if (!is_there(path)) refuse(path, "is missing");
  try {
    return read();
  } catch (const Error& error) {
    if (error.cause() != Cause::data) throw;
    refuse(path, text("is damaged: ", error.what()));
  }
}

/// An open file, its head read and compared with what can be.
struct OpenFile {
  Hdf5File file;
  CoefficientSummary what;
};

OpenFile open_file(const std::string& path, Hdf5Content content) {
  OpenFile opened{Hdf5File::open(path, content), {}};
  const Hdf5File& file = opened.file;
  CoefficientSummary& what = opened.what;
  std::string& format = what.origin.format;
  format = file.has_attribute("/", "format") ? file.text_attribute("/", "format") : "";
  if (format != kItemRegressionFormat && format != kSemanticNeighboursFormat) {
    throw Error(Cause::data, "its format is ", excerpt(format), ", expected '",
                kItemRegressionFormat, "' or '", kSemanticNeighboursFormat, "'");
  }
  const std::int64_t version = file.integer_attribute("/", "format_version");
  refuse_newer_format(path, version, kItemRegressionFormatVersion);
  if (version < 1) throw Error(Cause::data, "its format version is ", version);
  what.origin.dataset_fingerprint = file.text_attribute("/", "dataset_fingerprint");
  what.origin.settings = file.text_attribute("/", "settings");
  what.origin.has_recency = version > kItemRegressionWithoutRecency;
  what.items = file.integer_attribute("/", "items");
  if (what.items < 0 || what.items > std::numeric_limits<std::int32_t>::max()) {
    throw Error(Cause::data, "it has ", what.items, " items, expected 0 to ",
                std::numeric_limits<std::int32_t>::max());
  }
  for (const auto& [name, type] :
       {std::pair(kOffsets, Hdf5Type::int64), std::pair(kSource, Hdf5Type::int32),
        std::pair(kValue, Hdf5Type::float32)}) {
    const Hdf5Type found = file.info(name).type;
    if (found != type) {
      throw Error(Cause::data, name, " is of ", name_of(found), ", expected ", name_of(type));
    }
  }
  file.expect_shape(kOffsets, {what.items + 1});
  what.coefficients = file.expect_shape(kSource, {-1})[0];
  file.expect_shape(kValue, {what.coefficients});
  what.bytes = bytes_of_file(path);
  return opened;
}

/// One target's coefficients.
struct Row {
  std::int64_t target;
  std::span<const std::int32_t> source;
  std::span<const float> value;
};

/// Reads the rows of an open file in blocks, and refuses what cannot be.
class RowReader {
 public:
  RowReader(const OpenFile& opened, std::int64_t block_bytes)
      : file_(opened.file),
        items_(opened.what.items),
        coefficients_(opened.what.coefficients),
        items_at_once_(std::max<std::int64_t>(1, block_bytes / std::int64_t{sizeof(std::int64_t)})),
        coefficients_at_once_(std::max<std::int64_t>(1, block_bytes / kCoefficientBytes)) {}

  /// How many coefficients the targets `own` (rising) have; the offsets of all are checked.
  std::int64_t count(std::span<const std::int32_t> own) const {
    std::int64_t sum = 0;
    each_block(nullptr, [&](std::int64_t first, const std::vector<std::int64_t>& offsets) {
      for (const std::int32_t target : within(own, first, offsets)) {
        const auto at = static_cast<std::size_t>(target - first);
        sum += offsets[at + 1] - offsets[at];
      }
    });
    return sum;
  }

  /// Calls visit(Row) for each of the targets `own` (rising), in their order.
  template <typename Visit>
  void read(std::span<const std::int32_t> own, const Visit& visit) const {
    each_block(nullptr, [&](std::int64_t first, const std::vector<std::int64_t>& offsets) {
      read_block(within(own, first, offsets), first, offsets, nullptr, visit);
    });
  }

  /// The same for all targets, so that every element of the file has passed and is in the sums.
  template <typename Visit>
  Checksums read_all(const Visit& visit) const {
    Checksums sums;
    std::vector<std::int32_t> targets;
    each_block(&sums, [&](std::int64_t first, const std::vector<std::int64_t>& offsets) {
      targets.resize(offsets.size() - 1);
      std::iota(targets.begin(), targets.end(), static_cast<std::int32_t>(first));
      read_block(targets, first, offsets, &sums, visit);
    });
    return sums;
  }

 private:
  /// Calls visit(first, offsets) with the offsets of some targets from `first` on and their end.
  template <typename Visit>
  void each_block(Checksums* sums, const Visit& visit) const {
    std::vector<std::int64_t> offsets;
    std::int64_t first = 0;
    do {
      const std::int64_t last = std::min(items_, first + items_at_once_);
      offsets.resize(static_cast<std::size_t>(last - first) + 1);
      file_.read_rows(kOffsets, Range{first, last + 1}, offsets.data());
      check_offsets(first, offsets);
      // The end of a block is the beginning of the next.
      const std::size_t new_ones = offsets.size() - (last < items_ ? 1 : 0);
      if (sums != nullptr)
        sums->offsets.add(std::span<const std::int64_t>(offsets).first(new_ones));
      visit(first, offsets);
      first = last;
    } while (first < items_);
  }

  void check_offsets(std::int64_t first, const std::vector<std::int64_t>& offsets) const {
    if (first == 0 && offsets.front() != 0) {
      throw Error(Cause::data, kOffsets, " begins with ", offsets.front(), ", not 0");
    }
    for (std::size_t t = 1; t < offsets.size(); ++t) {
      const std::int64_t size = offsets[t] - offsets[t - 1];
      if (offsets[t] < 0 || offsets[t] > coefficients_ || size < 0 || size > items_) {
        throw Error(Cause::data, kOffsets, " goes from ", offsets[t - 1], " to ", offsets[t],
                    " at item ", first + static_cast<std::int64_t>(t) - 1, ", expected 0 to ",
                    items_, " more, and at most ", coefficients_);
      }
    }
    const bool is_last = first + std::ssize(offsets) == items_ + 1;
    if (is_last && offsets.back() != coefficients_) {
      throw Error(Cause::data, kOffsets, " ends with ", offsets.back(), ", but the file has ",
                  coefficients_, " coefficients");
    }
  }

  /// Those of `own` that the block has.
  static std::span<const std::int32_t> within(std::span<const std::int32_t> own, std::int64_t first,
                                              const std::vector<std::int64_t>& offsets) {
    const std::int64_t last = first + std::ssize(offsets) - 1;
    const auto begin = std::lower_bound(own.begin(), own.end(), first);
    return {begin, std::lower_bound(begin, own.end(), last)};
  }

  /// The rows of a block's targets, in windows of the file that are bounded in bytes.
  template <typename Visit>
  void read_block(std::span<const std::int32_t> targets, std::int64_t first,
                  const std::vector<std::int64_t>& offsets, Checksums* sums,
                  const Visit& visit) const {
    const auto begin_of = [&](std::size_t t) {
      return offsets[static_cast<std::size_t>(targets[t] - first)];
    };
    const auto end_of = [&](std::size_t t) {
      return offsets[static_cast<std::size_t>(targets[t] - first) + 1];
    };
    std::vector<std::int32_t> source;
    std::vector<float> value;
    for (std::size_t t = 0; t < targets.size();) {
      const std::int64_t begin = begin_of(t);
      std::size_t next = t + 1;
      while (next < targets.size() && end_of(next) - begin <= coefficients_at_once_) ++next;
      const Range window{begin, end_of(next - 1)};
      source.resize(static_cast<std::size_t>(window.size()));
      value.resize(source.size());
      if (window.size() > 0) {
        file_.read_rows(kSource, window, source.data());
        file_.read_rows(kValue, window, value.data());
      }
      if (sums != nullptr) {
        sums->source.add(std::span<const std::int32_t>(source));
        sums->value.add(std::span<const float>(value));
      }
      for (; t < next; ++t) {
        const auto at = static_cast<std::size_t>(begin_of(t) - begin);
        const auto size = static_cast<std::size_t>(end_of(t) - begin_of(t));
        const Row row{targets[t], std::span<const std::int32_t>(source).subspan(at, size),
                      std::span<const float>(value).subspan(at, size)};
        check_row(row, begin_of(t));
        visit(row);
      }
    }
  }

  void check_row(const Row& row, std::int64_t begin) const {
    std::int64_t previous = -1;
    for (std::size_t k = 0; k < row.source.size(); ++k) {
      const std::int64_t at = begin + static_cast<std::int64_t>(k);
      if (row.source[k] <= previous || row.source[k] >= items_) {
        throw Error(Cause::data, kSource, " has ", row.source[k], " at ", at, ", of item ",
                    row.target, ", expected numbers that rise within 0 to ", items_ - 1);
      }
      if (!std::isfinite(row.value[k])) {
        throw Error(Cause::data, kValue, " has ", row.value[k], " at ", at, ", of item ",
                    row.target, ", expected a finite number");
      }
      previous = row.source[k];
    }
  }

  const Hdf5File& file_;
  std::int64_t items_;
  std::int64_t coefficients_;
  std::int64_t items_at_once_;
  std::int64_t coefficients_at_once_;
};

void compare_checksum(const Hdf5File& file, const char* dataset, const Checksum& found) {
  const std::int64_t expected = file.integer_attribute(dataset, kChecksum);
  if (expected == found.sum()) return;
  throw Error(Cause::data, dataset, " is not what was written: its CRC-32 is ", found.sum(),
              ", and was ", expected);
}

/// Reads and checks every element of a file. Errors: Error(Cause::data) on what cannot be.
CoefficientSummary read_whole(const std::string& path, std::int64_t block_bytes) {
  OpenFile opened = open_file(path, Hdf5Content::foreign);
  std::int64_t most = 0;
  const Checksums sums = RowReader(opened, block_bytes).read_all([&](const Row& row) {
    most = std::max(most, std::ssize(row.source));
  });
  compare_checksum(opened.file, kOffsets, sums.offsets);
  compare_checksum(opened.file, kSource, sums.source);
  compare_checksum(opened.file, kValue, sums.value);
  opened.what.most_of_item = most;
  return opened.what;
}

/// Where the rows of each block are, on rank 0: whose each item is, and the offsets of all.
struct Places {
  std::vector<std::int32_t> owner;    // (items)
  std::vector<std::int64_t> offsets;  // (items + 1)
};

/// Ranks: collective; of rank 0 alone the result.
Places gather_places(std::int64_t items, std::span<const std::int32_t> own_items,
                     const SparseRows& rows, Communicator& communicator) {
  std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(communicator.size()));
  for (std::size_t t = 0; t < own_items.size(); ++t) {
    lists[0].push_back(own_items[t]);
    lists[0].push_back(static_cast<std::int32_t>(rows.offsets[t + 1] - rows.offsets[t]));
  }
  lists = exchange_lists(communicator, "coefficients.sizes", lists);
  if (communicator.rank() != 0) return {};
  Places places{std::vector<std::int32_t>(static_cast<std::size_t>(items), -1),
                std::vector<std::int64_t>(static_cast<std::size_t>(items) + 1, 0)};
  for (std::size_t rank = 0; rank < lists.size(); ++rank) {
    for (std::size_t k = 0; k < lists[rank].size(); k += 2) {
      const auto item = static_cast<std::size_t>(lists[rank][k]);
      CHECK_EQ(places.owner[item], -1) << "item " << item << " is two ranks'";
      places.owner[item] = static_cast<std::int32_t>(rank);
      places.offsets[item + 1] = lists[rank][k + 1];
    }
  }
  CHECK(std::ranges::find(places.owner, -1) == places.owner.end()) << "an item is no rank's";
  std::partial_sum(places.offsets.begin(), places.offsets.end(), places.offsets.begin());
  return places;
}

/// What rank 0 writes while the blocks arrive.
class FileWriter {
 public:
  FileWriter(const std::string& path, const CoefficientOrigin& origin,
             const std::vector<std::int64_t>& offsets)
      : path_(path), file_(Hdf5File::create(path)) {
    const auto items = std::ssize(offsets) - 1;
    file_.set_attribute("/", "format", origin.format);
    file_.set_attribute(
        "/", "format_version",
        origin.has_recency ? kItemRegressionFormatVersion : kItemRegressionWithoutRecency);
    file_.set_attribute("/", "dataset_fingerprint", origin.dataset_fingerprint);
    file_.set_attribute("/", "settings", origin.settings);
    file_.set_attribute("/", "items", items);
    file_.write(kOffsets, offsets);
    sums_.offsets.add(std::span<const std::int64_t>(offsets));
    file_.reserve<std::int32_t>(kSource, {offsets.back()}, {.zeros = false});
    file_.reserve<float>(kValue, {offsets.back()}, {.zeros = false});
  }

  /// The next coefficients, which are on the disk when it returns: no rank then waits long in one
  /// collective for the disk.
  void write(const std::vector<std::int32_t>& source, const std::vector<float>& value) {
    if (source.empty()) return;
    const Range range{written_, written_ + std::ssize(source)};
    file_.write_rows(kSource, range, source.data());
    file_.write_rows(kValue, range, value.data());
    sums_.source.add(std::span<const std::int32_t>(source));
    sums_.value.add(std::span<const float>(value));
    written_ = range.end;
    sync_to_disk(path_);
  }

  void finish() {
    file_.set_attribute(kOffsets, kChecksum, sums_.offsets.sum());
    file_.set_attribute(kSource, kChecksum, sums_.source.sum());
    file_.set_attribute(kValue, kChecksum, sums_.value.sum());
    file_.close();
    sync_to_disk(path_);
  }

 private:
  std::string path_;
  Hdf5File file_;
  Checksums sums_;
  std::int64_t written_ = 0;
};

/// The rows of a rank's own targets among [items.begin, items.end), as (source, bits of value).
at::Tensor rows_to_send(Range items, std::span<const std::int32_t> own_items,
                        const SparseRows& rows) {
  const auto first = std::lower_bound(own_items.begin(), own_items.end(), items.begin);
  const auto last = std::lower_bound(first, own_items.end(), items.end);
  const std::int64_t begin = rows.offsets[static_cast<std::size_t>(first - own_items.begin())];
  const std::int64_t end = rows.offsets[static_cast<std::size_t>(last - own_items.begin())];
  at::Tensor sent = at::empty({end - begin, 2}, at::kInt);
  auto* out = sent.mutable_data_ptr<std::int32_t>();
  for (auto k = static_cast<std::size_t>(begin); k < static_cast<std::size_t>(end); ++k) {
    *out++ = rows.column[k];
    *out++ = std::bit_cast<std::int32_t>(rows.value[k]);
  }
  return sent;
}

/// Brings the rows of a block to rank 0, which puts them into the order of the items.
class BlockExchange {
 public:
  BlockExchange(const Places& places, Communicator& communicator)
      : places_(places), communicator_(communicator) {}

  /// Ranks: collective; on rank 0 source() and value() are the block's afterwards.
  void exchange(Range items, std::span<const std::int32_t> own_items, const SparseRows& rows) {
    const at::Tensor sent = rows_to_send(items, own_items, rows);
    const auto ranks = static_cast<std::size_t>(communicator_.size());
    std::vector<std::int64_t> send(ranks, 0);
    send[0] = sent.size(0);
    std::vector<std::int64_t> receive(ranks, 0);
    const bool leads = communicator_.rank() == 0;
    const auto size_of = [&](std::size_t item) {
      return places_.offsets[item + 1] - places_.offsets[item];
    };
    const auto begin = static_cast<std::size_t>(items.begin);
    const auto end = static_cast<std::size_t>(items.end);
    for (std::size_t item = begin; leads && item < end; ++item) {
      receive[static_cast<std::size_t>(places_.owner[item])] += size_of(item);
    }
    const at::Tensor received = communicator_.all_to_all("coefficients.rows", sent, send, receive);
    if (!leads) return;
    std::vector<std::int64_t> next(ranks, 0);  // of each rank, the coefficient that is its next
    std::partial_sum(receive.begin(), receive.end() - 1, next.begin() + 1);
    const auto* const pairs = received.const_data_ptr<std::int32_t>();
    source_.clear();
    value_.clear();
    for (std::size_t item = begin; item < end; ++item) {
      std::int64_t& at = next[static_cast<std::size_t>(places_.owner[item])];
      for (std::int64_t k = size_of(item); k > 0; --k, ++at) {
        source_.push_back(pairs[2 * at]);
        value_.push_back(std::bit_cast<float>(pairs[2 * at + 1]));
      }
    }
  }

  const std::vector<std::int32_t>& source() const { return source_; }
  const std::vector<float>& value() const { return value_; }

 private:
  const Places& places_;
  Communicator& communicator_;
  std::vector<std::int32_t> source_;
  std::vector<float> value_;
};

void check_rows(std::int64_t items, std::span<const std::int32_t> own_items,
                const SparseRows& rows) {
  CHECK_EQ(rows.rows(), std::ssize(own_items));
  CHECK_EQ(rows.nonzeros(), std::ssize(rows.column));
  CHECK_EQ(rows.column.size(), rows.value.size());
  for (std::size_t t = 0; t < own_items.size(); ++t) {
    CHECK_LT(t == 0 ? -1 : own_items[t - 1], own_items[t]);
    CHECK_LT(own_items[t], items);
    CHECK_LE(rows.offsets[t], rows.offsets[t + 1]);
    std::int32_t previous = -1;
    for (std::int64_t k = rows.offsets[t]; k < rows.offsets[t + 1]; ++k) {
      const auto at = static_cast<std::size_t>(k);
      CHECK(previous < rows.column[at] && rows.column[at] < items && std::isfinite(rows.value[at]))
          << "item " << own_items[t] << " has " << rows.value[at] << " of item " << rows.column[at];
      previous = rows.column[at];
    }
  }
}

StoredFile description_of(const std::string& file, const std::string& path) {
  FileDigest digest = digest_file(file);
  return {fs::path(path).filename().string(), digest.bytes, std::move(digest.xxh3_128)};
}

/// Rank 0's, on all ranks. Ranks: collective.
StoredFile broadcast(const StoredFile& stored, Communicator& communicator) {
  const std::vector<std::string> words =
      split(broadcast_text(communicator, "coefficients.stored",
                           text(stored.file, "\n", stored.bytes, "\n", stored.xxh3_128, "\n")),
            '\n');
  return {words[0], parse_integer(words[1]).value(), words[2]};
}

}  // namespace

std::string coefficient_file_of(const std::string& run_dir) {
  return (fs::path(run_dir) / kItemRegressionFile).string();
}

std::string neighbour_file_of(const std::string& run_dir, const std::string& modality) {
  return (fs::path(run_dir) / text(kNeighbourFiles, modality, ".h5")).string();
}

std::string coefficient_file_beside(const std::string& checkpoint_directory) {
  return (fs::path(checkpoint_directory) / "." / "../.." / kItemRegressionFile)
      .lexically_normal()
      .string();
}

std::vector<std::string> neighbour_files_beside(const std::string& checkpoints) {
  const fs::path run_dir = (fs::path(checkpoints) / "." / "..").lexically_normal();
  std::vector<std::string> files = list_folder(run_dir.string());
  std::erase_if(files, [](const std::string& path) {
    const std::string name = fs::path(path).filename().string();
    return !name.starts_with(kNeighbourFiles) || !name.ends_with(".h5");
  });
  std::ranges::sort(files);
  return files;
}

StoredFile write_coefficients(const std::string& path, std::int64_t items,
                              std::span<const std::int32_t> own_items, const SparseRows& rows,
                              const CoefficientOrigin& origin, Communicator& communicator,
                              const CoefficientWriting& options) {
  check_rows(items, own_items, rows);
  CHECK_LE(origin.settings.size(), kMostSettingsBytes);
  const bool leads = communicator.rank() == 0;
  const std::string written = path + kWritingSuffix;
  const Places places = gather_places(items, own_items, rows, communicator);
  BlockExchange block(places, communicator);
  std::optional<FileWriter> writer;
  std::optional<Failure> failure;
  if (leads) failure = attempt([&] { writer.emplace(written, origin, places.offsets); });
  const std::int64_t most = std::max<std::int64_t>(1, options.block_bytes / kCoefficientBytes);
  for (std::int64_t begin = 0; begin < items;) {
    // Rank 0 says how far the block goes, and nowhere once it cannot write.
    std::int64_t end = begin;
    if (leads && !failure) {
      const auto first = places.offsets.begin() + begin;
      end = std::upper_bound(first + 1, places.offsets.end(), *first + most) -
            places.offsets.begin() - 1;
      end = std::max(end, begin + 1);
    }
    at::Tensor agreed = at::full({1}, end, at::kLong);
    communicator.broadcast("coefficients.block", agreed, 0);
    end = agreed.item<std::int64_t>();
    if (end == begin) break;
    block.exchange({begin, end}, own_items, rows);
    if (leads) failure = attempt([&] { writer->write(block.source(), block.value()); });
    begin = end;
  }
  StoredFile stored;
  if (leads && !failure) {
    failure = attempt([&] {
      writer->finish();
      stored = description_of(written, path);
      if (options.before_rename) options.before_rename();
      rename_file_durably(written, path);
    });
  }
  writer.reset();
  if (failure) ::unlink(written.c_str());
  throw_together(communicator, "coefficients.written", failure);
  return broadcast(stored, communicator);
}

SparseRows read_coefficients(const std::string& path, const StoredFile& stored,
                             const std::string& dataset_fingerprint, std::int64_t items,
                             std::span<const std::int32_t> own_items, Communicator& communicator,
                             std::int64_t block_bytes, Verify verify) {
  attempt_together(communicator, "coefficients.verify", [&] {
    const bool reads_all = communicator.rank() == 0;
    const std::optional<std::string> damage =
        damage_of_coefficients(path, stored, reads_all ? verify : Verify::sizes);
    if (damage) refuse(path, "cannot be used: " + *damage);
  });
  SparseRows own;
  attempt_together(communicator, "coefficients.read", [&] {
    read_or_refuse(path, [&] {
      const OpenFile opened = open_file(path, Hdf5Content::verified);
      const CoefficientSummary& what = opened.what;
      if (what.origin.dataset_fingerprint != dataset_fingerprint || what.items != items) {
        refuse(path,
               text("is of a data set with fingerprint ",
                    printable(what.origin.dataset_fingerprint), " and ", with_commas(what.items),
                    " items, expected ", dataset_fingerprint, " and ", with_commas(items)));
      }
      const RowReader reader(opened, block_bytes);
      const auto count = static_cast<std::size_t>(reader.count(own_items));
      own.offsets.reserve(own_items.size() + 1);
      own.column.reserve(count);
      own.value.reserve(count);
      reader.read(own_items, [&](const Row& row) {
        own.column.insert(own.column.end(), row.source.begin(), row.source.end());
        own.value.insert(own.value.end(), row.value.begin(), row.value.end());
        own.offsets.push_back(std::ssize(own.column));
      });
    });
  });
  return own;
}

std::optional<StoredFile> matching_coefficients(const std::string& path, std::int64_t items,
                                                const CoefficientOrigin& origin,
                                                Communicator& communicator, std::string* why) {
  StoredFile stored;
  std::string difference;
  if (communicator.rank() == 0) {
    const std::optional<Failure> failure = attempt([&] {
      if (!is_there(path)) return;
      const CoefficientSummary what = summarise_coefficients(path);
      if (what.origin.dataset_fingerprint != origin.dataset_fingerprint || what.items != items) {
        difference = path + " is of another data set";
      } else if (what.origin.format != origin.format ||
                 !what.origin.settings.starts_with(origin.settings)) {
        difference = path + " is of other settings";
      } else {
        stored = description_of(path, path);
      }
    });
    if (failure) difference = failure->message;
  }
  difference = broadcast_text(communicator, "coefficients.matches", difference);
  stored = broadcast(stored, communicator);
  if (why != nullptr) *why = difference;
  return stored.file.empty() ? std::nullopt : std::optional(stored);
}

CoefficientSummary look_at_coefficients(const std::string& path) {
  return read_or_refuse(path, [&] { return open_file(path, Hdf5Content::foreign).what; });
}

CoefficientSummary summarise_coefficients(const std::string& path, std::int64_t block_bytes) {
  return read_or_refuse(path, [&] { return read_whole(path, block_bytes); });
}

std::optional<std::string> damage_of_coefficients(const std::string& path, const StoredFile& stored,
                                                  Verify verify) {
  std::optional<std::string> damage = damage_of(path, StoredShard{stored}, verify);
  if (!damage || verify == Verify::sizes || !is_there(path)) return damage;
  // Its own checksums say whether its numbers are damaged, and where; they cover no other bytes.
  const std::optional<Failure> own = attempt([&] { read_whole(path, kCoefficientBlockBytes); });
  if (!own) {
    return text(*damage, "; its numbers are whole: it is of another fit, or damaged beside them");
  }
  return text(*damage, "; ", own->message);
}

void verify_item_regression(const Checkpoint& checkpoint) {
  const std::optional<StoredFile>& stored = checkpoint.info().item_regression;
  if (!stored) return;
  const std::string path = coefficient_file_beside(checkpoint.directory());
  if (const auto damage = damage_of_coefficients(path, *stored, Verify::checksums)) {
    refuse(path, "cannot be used: " + *damage);
  }
}

}  // namespace micrec
