#include "checkpoints/coefficient_file.h"

#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>

#include "base/random.h"
#include "base/text.h"
#include "checkpoints/manifest.h"
#include "checkpoints/run_folder.h"
#include "checkpoints/store.h"
#include "checkpoints/verify.h"
#include "cluster/self_communicator.h"
#include "cluster/thread_communicator.h"
#include "io/durable_files.h"
#include "tests/support/command.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_contents.h"
#include "tests/support/hdf5_edit.h"
#include "training_state.h"

namespace micrec {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kItems = 83;
constexpr char kGolden[] = MICREC_SOURCE_DIR "/tests/golden/item-regression-version-1";

const CoefficientOrigin& origin() {
  static const CoefficientOrigin made = {"0123456789abcdef0123456789abcdef", R"({"lambda": 150})"};
  return made;
}

/// The items of a rank: scattered, and none at all for every fourth rank of more than three.
std::vector<std::int32_t> items_of_rank(int rank, int ranks, std::int64_t items = kItems) {
  std::vector<std::int32_t> own;
  for (const GlobalNode node : nodes_of_rank(items, rank, ranks)) own.push_back(value(node));
  return own;
}

/// Coefficients as a function of (target, source): every rank can say what any row must be. A fifth
/// of the targets have none, others up to a third of all items.
SparseRows coefficients_of(const std::vector<std::int32_t>& own, std::int64_t items = kItems) {
  SparseRows rows;
  for (const std::int32_t target : own) {
    const auto row = static_cast<std::uint32_t>(target);
    const std::uint32_t every = target % 5 == 3 ? 0 : 3 + mix(row) % 20;
    for (std::int32_t source = 0; source < items; ++source) {
      const std::uint32_t hash = mix(row * 7919U + static_cast<std::uint32_t>(source));
      if (every == 0 || source == target || hash % every != 0) continue;
      rows.column.push_back(source);
      rows.value.push_back(hash % 11 == 0 ? -0.0F : static_cast<float>(hash) / 3e9F - 0.5F);
    }
    rows.offsets.push_back(static_cast<std::int64_t>(rows.column.size()));
  }
  return rows;
}

void expect_equal_rows(const SparseRows& got, const SparseRows& expected) {
  EXPECT_EQ(got.offsets, expected.offsets);
  EXPECT_EQ(got.column, expected.column);
  ASSERT_EQ(got.value.size(), expected.value.size());
  for (std::size_t k = 0; k < got.value.size(); ++k) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(got.value[k]),
              std::bit_cast<std::uint32_t>(expected.value[k]));
  }
}

StoredFile write_on(Communicator& communicator, const std::string& path,
                    const CoefficientWriting& options = {}) {
  const std::vector<std::int32_t> own = items_of_rank(communicator.rank(), communicator.size());
  return write_coefficients(path, kItems, own, coefficients_of(own), origin(), communicator,
                            options);
}

StoredFile stored_of(const std::string& path) {
  const FileDigest digest = digest_file(path);
  return {kItemRegressionFile, digest.bytes, digest.xxh3_128};
}

class ItemRegressionFile : public ::testing::Test {
 protected:
  ItemRegressionFile() : path_(folder_ / kItemRegressionFile) {
    SelfCommunicator self;
    stored_ = write_on(self, path_);
  }

  /// Expects that no rank of two can read the file, and that all say the same.
  void expect_refused(const std::vector<std::string>& parts,
                      Cause cause = Cause::checkpoint) const {
    std::vector<std::string> all = {path_};
    all.insert(all.end(), parts.begin(), parts.end());
    run_ranks(2, [&](Communicator& communicator) {
      const auto own = items_of_rank(communicator.rank(), 2);
      expect_error(cause, all, [&] {
        read_coefficients(path_, stored_, origin().dataset_fingerprint, kItems, own, communicator);
      });
    });
  }

  /// The same of a file that was changed after it had been written, which it shows by itself.
  void expect_damaged(const std::vector<std::string>& parts) const {
    expect_refused(parts);
    expect_error(Cause::checkpoint, {path_}, [&] { summarise_coefficients(path_); });
  }

  /// Takes what is there as what some program has written, with digests that fit it.
  void take_as_written(const std::string& dataset, const void* elements, std::size_t bytes) {
    const std::uint32_t sum = crc32_z(0, static_cast<const Bytef*>(elements), bytes);
    Hdf5Edit(path_).set_attribute(dataset, "crc32", static_cast<std::int64_t>(sum));
    stored_ = stored_of(path_);
  }

  template <typename T>
  void change(const std::string& dataset, const std::function<void(std::vector<T>&)>& how) {
    std::vector<T> elements = Hdf5File::open(path_).read<T>(dataset);
    how(elements);
    Hdf5Edit(path_).write_rows(dataset, {0, static_cast<std::int64_t>(elements.size())},
                               elements.data());
    take_as_written(dataset, elements.data(), elements.size() * sizeof(T));
  }

  TemporaryFolder folder_;
  std::string path_;
  StoredFile stored_;
};

TEST_F(ItemRegressionFile, HasTheSameBytesWhateverRanksWroteIt) {
  const std::string expected = file_contents(path_);
  EXPECT_EQ(stored_, stored_of(path_));
  for (const int ranks : {1, 2, 3, 4, 5}) {
    for (const std::int64_t block_bytes :
         {std::int64_t{1}, std::int64_t{200}, std::int64_t{1} << 24}) {
      const std::string path = folder_ / "again/item_regression.h5";
      fs::create_directories(folder_ / "again");
      run_ranks(ranks, [&](Communicator& communicator) {
        EXPECT_EQ(write_on(communicator, path, {.block_bytes = block_bytes}), stored_);
      });
      EXPECT_EQ(file_contents(path), expected) << ranks << " ranks, blocks of " << block_bytes;
      fs::remove_all(folder_ / "again");
    }
  }
}

TEST_F(ItemRegressionFile, GivesEachRankItsRowsWhateverRanksThereAre) {
  for (const int ranks : {1, 2, 3, 4, 6}) {
    for (const std::int64_t block_bytes :
         {std::int64_t{1}, std::int64_t{120}, std::int64_t{1} << 24}) {
      run_ranks(ranks, [&](Communicator& communicator) {
        const auto own = items_of_rank(communicator.rank(), ranks);
        expect_equal_rows(read_coefficients(path_, stored_, origin().dataset_fingerprint, kItems,
                                            own, communicator, block_bytes),
                          coefficients_of(own));
      });
    }
  }
}

TEST_F(ItemRegressionFile, SaysWhatItHolds) {
  const auto all = items_of_rank(0, 1);
  const SparseRows rows = coefficients_of(all);
  std::int64_t most = 0;
  for (std::size_t t = 0; t < all.size(); ++t) {
    most = std::max(most, rows.offsets[t + 1] - rows.offsets[t]);
  }
  for (const std::int64_t block_bytes : {std::int64_t{1}, std::int64_t{1} << 24}) {
    const CoefficientSummary what = summarise_coefficients(path_, block_bytes);
    EXPECT_EQ(what.origin, origin());
    EXPECT_EQ(what.items, kItems);
    EXPECT_EQ(what.coefficients, rows.nonzeros());
    EXPECT_EQ(what.bytes, stored_.bytes);
    EXPECT_EQ(what.most_of_item, most);
  }
  EXPECT_EQ(look_at_coefficients(path_).coefficients, rows.nonzeros());
}

TEST(ItemRegressionFiles, MayHoldNothing) {
  const TemporaryFolder folder;
  const std::string path = folder / "f.h5";
  run_ranks(2, [&](Communicator& communicator) {
    for (const std::int64_t items : {0, 5}) {
      const auto own = items_of_rank(communicator.rank(), 2, items);
      SparseRows none;
      none.offsets.assign(own.size() + 1, 0);
      const StoredFile stored = write_coefficients(path, items, own, none, origin(), communicator);
      expect_equal_rows(
          read_coefficients(path, stored, origin().dataset_fingerprint, items, own, communicator),
          none);
      EXPECT_EQ(summarise_coefficients(path).coefficients, 0);
    }
  });
}

// --- What is not as it was written ---

TEST_F(ItemRegressionFile, IsRefusedWhereItIsCutOffOrMissing) {
  const std::string bytes = file_contents(path_);
  for (const std::size_t size : {bytes.size() - 1, bytes.size() / 2, std::size_t{0}}) {
    set_file_contents(path_, bytes.substr(0, size));
    expect_damaged({"cannot be used", text("the manifest says ", with_commas(stored_.bytes)),
                    "train with another --run_dir"});
  }
  fs::remove(path_);
  expect_damaged({"it is missing"});
}

TEST_F(ItemRegressionFile, NamesTheDatasetOfAFlippedByte) {
  const std::string bytes = file_contents(path_);
  for (const char* dataset : {"/offsets", "/source", "/value"}) {
    const auto offset =
        static_cast<std::size_t>(Hdf5File::open(path_).offset_in_file(dataset).value());
    std::string flipped = bytes;
    flipped[offset + 13] = static_cast<char>(flipped[offset + 13] ^ 0x01);
    set_file_contents(path_, flipped);
    expect_damaged({"its checksum is", stored_.xxh3_128, dataset});
    set_file_contents(path_, bytes);
  }
}

TEST_F(ItemRegressionFile, IsDamagedWhereverAByteIsFlipped) {
  const std::string bytes = file_contents(path_);
  for (std::size_t at = 0; at < bytes.size(); at += 97) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x20);
    set_file_contents(path_, flipped);
    const auto damage = damage_of_coefficients(path_, stored_, Verify::checksums);
    ASSERT_TRUE(damage) << at;
    expect_has(*damage, {"its checksum is"});
    EXPECT_EQ(damage->find("file there is whole"), std::string::npos) << *damage;
    EXPECT_FALSE(damage_of_coefficients(path_, stored_, Verify::sizes));
  }
}

TEST_F(ItemRegressionFile, OfAnotherFitIsRefusedAsSuch) {
  SelfCommunicator self;
  const auto own = items_of_rank(0, 1);
  SparseRows other = coefficients_of(own);
  other.value.front() += 1;
  write_coefficients(path_, kItems, own, other, origin(), self);
  expect_refused({"its numbers are whole: it is of another fit, or damaged beside them"});
}

TEST_F(ItemRegressionFile, OfAnotherDatasetIsRefused) {
  run_ranks(2, [&](Communicator& communicator) {
    const auto own = items_of_rank(communicator.rank(), 2);
    expect_error(Cause::checkpoint,
                 {path_, "fingerprint", origin().dataset_fingerprint, "expected fedc"},
                 [&] { read_coefficients(path_, stored_, "fedc", kItems, own, communicator); });
    expect_error(Cause::checkpoint, {path_, "83 items", "84"}, [&] {
      read_coefficients(path_, stored_, origin().dataset_fingerprint, kItems + 1, own,
                        communicator);
    });
  });
}

// Whoever wrote it: its digests fit.
TEST_F(ItemRegressionFile, WithOffsetsThatCannotBeIsRefused) {
  const std::string bytes = file_contents(path_);
  using Offsets = std::vector<std::int64_t>;
  const std::vector<std::pair<std::string, std::function<void(Offsets&)>>> cases = {
      {"begins with 1", [](Offsets& offsets) { offsets[0] = 1; }},
      {"at item 40", [](Offsets& offsets) { offsets[41] = offsets[40] - 1; }},
      {"at item 7", [](Offsets& offsets) { offsets[8] += 1000; }},
      {"at item 0", [](Offsets& offsets) { offsets[1] = -1; }},
      {"ends with", [](Offsets& offsets) { offsets.back() -= 1; }},
      {"expected 0 to 83 more",
       [](Offsets& offsets) { std::fill(offsets.begin() + 1, offsets.end(), offsets.back()); }},
  };
  for (const auto& [part, how] : cases) {
    change<std::int64_t>("/offsets", how);
    expect_damaged({"is damaged", "/offsets", part});
    set_file_contents(path_, bytes);
  }
}

TEST_F(ItemRegressionFile, WithSourcesOrValuesThatCannotBeIsRefused) {
  const std::string bytes = file_contents(path_);
  const auto first = static_cast<std::size_t>(coefficients_of({0, 1, 2}).offsets[2]);
  ASSERT_GT(coefficients_of({2}).nonzeros(), 2);
  for (const std::int32_t wrong : {-1, static_cast<int>(kItems), 0x7fffffff}) {
    change<std::int32_t>("/source", [&](auto& source) { source[first] = wrong; });
    expect_damaged({"is damaged", "/source", text(wrong), "of item 2"});
    set_file_contents(path_, bytes);
  }
  change<std::int32_t>("/source", [&](auto& source) { source[first + 1] = source[first]; });
  expect_damaged({"is damaged", "/source", "of item 2", "rise"});
  set_file_contents(path_, bytes);
  for (const float wrong : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    change<float>("/value", [&](auto& value) { value[first] = wrong; });
    expect_damaged({"is damaged", "/value", "of item 2", "expected a finite number"});
    set_file_contents(path_, bytes);
  }
}

TEST_F(ItemRegressionFile, WithAHeadThatCannotBeIsRefused) {
  const std::string bytes = file_contents(path_);
  Hdf5Edit(path_).set_attribute("/", "items", kItems + 1);
  stored_ = stored_of(path_);
  expect_damaged({"/offsets", "(85)", "(84)"});
  Hdf5Edit(path_).set_attribute("/", "items", -1);
  expect_error(Cause::checkpoint, {path_, "-1 items"}, [&] { look_at_coefficients(path_); });
  set_file_contents(path_, bytes);
  Hdf5Edit(path_).set_attribute("/", "format_version", 9);
  expect_error(Cause::checkpoint, {path_, "version 9", "up to 2"},
               [&] { summarise_coefficients(path_); });
  Hdf5File file = Hdf5File::create(path_);
  file.set_attribute("/", "format", "micrec embeddings");
  file.close();
  expect_error(Cause::checkpoint, {path_, "micrec embeddings", kItemRegressionFormat},
               [&] { look_at_coefficients(path_); });
}

// --- Files that cannot be written ---

TEST_F(ItemRegressionFile, SaysOnAllRanksWhyItCannotBeWritten) {
  run_ranks(3, [&](Communicator& communicator) {
    expect_error(Cause::io, {"rank 0", folder_ / "nowhere"},
                 [&] { write_on(communicator, folder_ / "nowhere/f.h5"); });
    // What fails after the last block: a folder has the name.
    expect_error(Cause::io, {"rank 0", folder_ / ""},
                 [&] { write_on(communicator, folder_ / ""); });
  });
  EXPECT_EQ(folder_.files(), 1U) << "only what was there";
}

// Ends this process: 0 if a file size limit that rank 0 meets is reported by all ranks and leaves
// the earlier file alone.
[[noreturn]] void write_beyond_the_file_size_limit() {
  const TemporaryFolder folder;
  const std::string path = folder / kItemRegressionFile;
  SelfCommunicator self;
  const StoredFile stored = write_on(self, path);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = 3000;
  setrlimit(RLIMIT_FSIZE, &limit);
  std::vector<std::string> messages(3);
  run_ranks(3, [&](Communicator& communicator) {
    try {
      write_on(communicator, path, {.block_bytes = 100});
    } catch (const Error& error) {
      messages[static_cast<std::size_t>(communicator.rank())] =
          text(name_of(error.cause()), ": ", error.what());
    }
  });
  setrlimit(RLIMIT_FSIZE, &before);
  const bool alike = messages[0] == messages[1] && messages[1] == messages[2];
  const bool clean = folder.files() == 1 && stored_of(path) == stored;
  std::cerr << messages[0] << (alike ? "" : " but not on all ranks") << (clean ? "" : " not clean");
  fs::remove_all(folder.path());
  std::_Exit(alike && clean ? 0 : 1);
}

TEST(ItemRegressionFiles, ReportAFullDiskOnAllRanksAndLeaveTheOldFile) {
  EXPECT_EXIT(write_beyond_the_file_size_limit(), ::testing::ExitedWithCode(0),
              "file system: rank 0: .*item_regression.h5");
}

TEST(ItemRegressionFiles, OfARunThatDiedBeforeTheRenameAreReplaced) {
  const TemporaryFolder folder;
  const std::string path = folder / kItemRegressionFile;
  EXPECT_EXIT(
      {
        SelfCommunicator self;
        write_on(self, path, {.before_rename = [] { std::raise(SIGKILL); }});
      },
      ::testing::KilledBySignal(SIGKILL), "");
  EXPECT_FALSE(fs::exists(path));
  ASSERT_EQ(folder.files(), 1U);
  set_file_contents(path + ".writing", std::string(1 << 20, 'x'));
  EXPECT_EQ(files_of_run(folder.path()), std::vector<std::string>{path + ".writing"});
  run_ranks(2, [&](Communicator& communicator) {
    EXPECT_FALSE(matching_coefficients(path, kItems, origin(), communicator));
    const StoredFile stored = write_on(communicator, path);
    EXPECT_EQ(matching_coefficients(path, kItems, origin(), communicator), stored);
  });
  EXPECT_EQ(folder.files(), 1U);
}

// --- A run that begins again ---

TEST_F(ItemRegressionFile, IsTakenAgainWhereItIsWholeAndOfTheSameFit) {
  const auto why_not = [&](const CoefficientOrigin& wanted, std::int64_t items) {
    std::string why;
    run_ranks(2, [&](Communicator& communicator) {
      std::string reason;
      const auto found = matching_coefficients(path_, items, wanted, communicator, &reason);
      if (found) reason = *found == stored_ ? "taken" : "taken, but told to be another";
      if (communicator.rank() == 1) why = reason;
    });
    return why;
  };
  EXPECT_EQ(why_not(origin(), kItems), "taken");
  expect_has(why_not({origin().dataset_fingerprint, "{}"}, kItems), {"other settings"});
  expect_has(why_not({"fedc", origin().settings}, kItems), {"another data set"});
  expect_has(why_not(origin(), kItems - 1), {"another data set"});
  std::string bytes = file_contents(path_);
  bytes[static_cast<std::size_t>(Hdf5File::open(path_).offset_in_file("/value").value())] ^= 1;
  set_file_contents(path_, bytes);
  expect_has(why_not(origin(), kItems), {"/value is not what was written"});
  fs::remove(path_);
  EXPECT_EQ(why_not(origin(), kItems), "");
}

// --- Files of every version, and of another program ---

SparseRows golden_rows() {
  return {{0, 2, 2, 6, 7, 8, 10, 10},
          {1, 6, 0, 1, 3, 4, 5, 0, 2, 3},
          {0.5F, -0.25F, 1e-30F, -2, 3, 0.125F, 7, -0.0F, 1.5F, 2.5F}};
}
const CoefficientOrigin& golden_origin() {
  static const CoefficientOrigin made = {"0123456789abcdef0123456789abcdef",
                                         R"({"lambda": 150.0, "neighbours": 70})"};
  return made;
}

TEST(GoldenItemRegression, OfVersion1IsReadForever) {
  const std::string path = text(kGolden, "/", kItemRegressionFile);
  SelfCommunicator self;
  const std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6};
  expect_equal_rows(
      read_coefficients(path, stored_of(path), golden_origin().dataset_fingerprint, 7, all, self),
      golden_rows());
  EXPECT_EQ(summarise_coefficients(path).origin, golden_origin());
}

TEST(ItemRegressionFiles, AreReadAndWrittenByH5py) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python with h5py beside torch";
  const TemporaryFolder folder;
  const auto python = [&](const std::string& what, const std::string& path) {
    run_python("checkpoints/item_regression_with_h5py.py", {what, path});
  };
  SelfCommunicator self;
  const std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6};
  write_coefficients(folder / "ours.h5", 7, all, golden_rows(), golden_origin(), self);
  python("check", folder / "ours.h5");
  python("write", folder / "theirs.h5");
  EXPECT_EQ(summarise_coefficients(folder / "theirs.h5").coefficients, 10);
}

// --- Checkpoints that name it ---

class RunWithCoefficients : public ::testing::Test {
 protected:
  RunWithCoefficients() : path_(coefficient_file_of(folder_ / "run")) {
    fs::create_directories(folder_ / "run");
    run_ranks(2, [&](Communicator& communicator) {
      CheckpointInfo info = state_info(10);
      info.item_regression = write_on(communicator, path_);
      CheckpointStore store(checkpoints_of(folder_ / "run"), communicator);
      const auto owned = nodes_of_rank(50, communicator.rank(), 2);
      store.save(info, owned, state_tensors(owned), {.is_best = true});
      info.step = 20;
      store.save(info, owned, state_tensors(owned));
    });
  }

  VerifiedRun verify(const std::string& path) {
    told_.clear();
    return verify_run(path,
                      [&](const std::string& file, const VerifiedFile&) { told_.push_back(file); });
  }

  TemporaryFolder folder_;
  std::string path_;
  std::vector<std::string> told_;
};

TEST_F(RunWithCoefficients, NamesThemInEachManifest) {
  for (const char* name : {"step-000000000010", "step-000000000020"}) {
    const Checkpoint checkpoint = Checkpoint::open(folder_ / "run/checkpoints/" + name);
    ASSERT_TRUE(checkpoint.info().item_regression);
    EXPECT_EQ(*checkpoint.info().item_regression, stored_of(path_));
    EXPECT_NO_THROW(verify_item_regression(checkpoint));
  }
  const std::vector<std::string> files = files_of_run(folder_ / "run");
  EXPECT_NE(std::find(files.begin(), files.end(), path_), files.end());
}

TEST_F(RunWithCoefficients, AreVerifiedOnceARunAndWithACheckpoint) {
  const VerifiedRun run = verify(folder_ / "run");
  EXPECT_TRUE(run.whole());
  EXPECT_EQ(run.files, 8);
  EXPECT_EQ(std::count(told_.begin(), told_.end(), path_), 1);
  EXPECT_TRUE(verify(folder_ / "run/checkpoints").whole());
  EXPECT_EQ(std::count(told_.begin(), told_.end(), path_), 1);
  EXPECT_EQ(verify(folder_ / "run/checkpoints/step-000000000010/").files, 4);
  EXPECT_EQ(told_.back(), path_);
}

TEST_F(RunWithCoefficients, AreFoundDamagedBySomeByteOrMissing) {
  const std::string bytes = file_contents(path_);
  for (const std::size_t at : {std::size_t{9}, bytes.size() / 2, bytes.size() - 1}) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x08);
    set_file_contents(path_, flipped);
    for (const char* path : {"run", "run/checkpoints/step-000000000020"}) {
      const VerifiedRun run = verify(folder_ / path);
      EXPECT_EQ(run.damaged, 1);
      ASSERT_TRUE(run.item_regression);
      expect_has(run.item_regression->damage, {"its checksum is"});
    }
    expect_error(Cause::checkpoint, {path_, "its checksum is"}, [&] {
      verify_item_regression(Checkpoint::open(folder_ / "run/checkpoints/step-000000000010"));
    });
  }
  fs::remove(path_);
  const VerifiedRun run = verify(folder_ / "run");
  EXPECT_EQ(run.damaged, 1);
  expect_has(run.item_regression->damage, {"missing"});
}

// One of two manifests names another file than is there.
TEST_F(RunWithCoefficients, AreComparedWithEveryManifest) {
  SelfCommunicator self;
  CheckpointInfo info = state_info(30);
  info.item_regression = stored_of(path_);
  info.item_regression->xxh3_128.assign(32, 'a');
  const auto owned = nodes_of_rank(50, 0, 1);
  CheckpointStore(checkpoints_of(folder_ / "run"), self).save(info, owned, state_tensors(owned));
  const VerifiedRun run = verify(folder_ / "run");
  EXPECT_EQ(run.damaged, 1);
  expect_has(run.item_regression->damage, {"of another fit"});
}

TEST(CoefficientFileOf, IsBesideTheFolderOfTheCheckpoint) {
  EXPECT_EQ(coefficient_file_of("runs/fk"), "runs/fk/item_regression.h5");
  for (const auto& [checkpoint, expected] : std::vector<std::pair<std::string, std::string>>{
           {"runs/fk/checkpoints/step-000000000010", "runs/fk/item_regression.h5"},
           {"runs/fk/checkpoints/step-000000000010/", "runs/fk/item_regression.h5"},
           {"checkpoints/step-000000000010", "item_regression.h5"},
           {"step-000000000010", "../item_regression.h5"},
           {".", "../../item_regression.h5"},
           {"/runs/fk/checkpoints/step-000000000010", "/runs/fk/item_regression.h5"}}) {
    EXPECT_EQ(coefficient_file_beside(checkpoint), expected) << checkpoint;
  }
}

}  // namespace
}  // namespace micrec
