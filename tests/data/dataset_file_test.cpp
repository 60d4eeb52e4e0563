#include "data/dataset_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <limits>

#include "data/dataset_format.h"
#include "data/dataset_writer.h"
#include "io/hdf5.h"
#include "tests/data/worlds.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"

namespace micrec {
namespace {

PreparedDataset sample(
    const std::string& hold_out = "interactions:0.1,users:0.2,items:0.1,cold_items:0.1") {
  PreparationOptions options;
  options.hold_out = parse_hold_out(hold_out);
  options.core = parse_core_rule("2");
  options.seed = 11;
  options.provenance = "micrec prepare --out=sample.h5";
  return prepare_quietly(random_world(), options, telling_features);
}

Interactions of_split(const PreparedDomain& domain, Split split) {
  Interactions part;
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.split[i] != split) continue;
    part.user.push_back(domain.user[i]);
    part.item.push_back(domain.item[i]);
  }
  return part;
}

class DatasetFileTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path_ = folder_ / "sample.h5";

  /// The sample's file, changed by `change`.
  std::string broken(const std::function<void(Hdf5Edit&)>& change) {
    write_dataset(sample(), path_);
    Hdf5Edit file(path_);
    change(file);
    return path_;
  }
};

TEST_F(DatasetFileTest, GivesBackWhatWasWritten) {
  const PreparedDataset dataset = sample();
  const std::string fingerprint = write_dataset(dataset, path_);
  const DatasetFile file = DatasetFile::open(path_);
  EXPECT_EQ(file.path(), path_);
  EXPECT_EQ(file.fingerprint(), fingerprint);
  EXPECT_EQ(file.origin().provenance, dataset.provenance);
  EXPECT_EQ(file.origin().split_rule, "ratio:8:1:1");
  EXPECT_EQ(file.origin().hold_out, dataset.hold_out);
  EXPECT_EQ(file.origin().core, "2");
  EXPECT_EQ(file.origin().seed, 11);
  EXPECT_TRUE(file.has_hold_outs());
  EXPECT_EQ(file.people(), dataset.people());
  ASSERT_EQ(file.domains().size(), dataset.domains.size());
  for (int d = 0; d < static_cast<int>(file.domains().size()); ++d) {
    const PreparedDomain& domain = dataset.domains[d];
    const DomainInfo& info = file.domains()[d];
    EXPECT_EQ(info.name, domain.name);
    EXPECT_EQ(file.domain_number(domain.name), d);
    EXPECT_EQ(info.users, domain.users());
    EXPECT_EQ(info.items, domain.items());
    EXPECT_TRUE(info.has_timestamps);
    EXPECT_EQ(file.user_keys(d), domain.user_keys);
    EXPECT_EQ(file.item_keys(d), domain.item_keys);
    EXPECT_EQ(file.person_of_user(d), dataset.person_of_user[d]);
    EXPECT_EQ(file.new_users(d), domain.new_users);
    EXPECT_EQ(file.new_items(d), domain.new_items);
    EXPECT_EQ(file.cold_items(d), domain.cold_items);
    for (const Split split : dataset_format::kSplits) {
      const Interactions expected = of_split(domain, split);
      const Interactions read = file.read(d, split);
      EXPECT_EQ(read.user, expected.user);
      EXPECT_EQ(read.item, expected.item);
      EXPECT_EQ(info.interactions[static_cast<int>(split)],
                static_cast<std::int64_t>(expected.user.size()));
      EXPECT_FALSE(expected.user.empty()) << "the sample should have all splits";
    }
    ASSERT_EQ(info.modalities.size(), 1U);
    EXPECT_EQ(info.modalities[0].name, "text");
    EXPECT_EQ(info.modalities[0].width, 3);
    EXPECT_EQ(file.features_present(d, "text"), domain.features[0].present);
    std::vector<float> expected(3 * domain.items());
    domain.features[0].read(0, domain.items(), expected.data());
    std::vector<float> read(3 * (domain.items() - 2));
    file.read_features(d, "text", 1, domain.items() - 1, read.data());
    EXPECT_EQ(read, std::vector<float>(expected.begin() + 3, expected.end() - 3));
  }
  file.verify();
}

TEST_F(DatasetFileTest, GivesEveryPieceOnceAndInOrder) {
  write_dataset(sample(), path_);
  const DatasetFile file = DatasetFile::open(path_);
  const Interactions whole = file.read(0, Split::train);
  for (const std::int64_t chunk : {1, 7, 100, 1'000'000}) {
    Interactions joined;
    const auto join = [&](const Interactions& part) {
      EXPECT_LE(static_cast<std::int64_t>(part.user.size()), chunk);
      joined.user.insert(joined.user.end(), part.user.begin(), part.user.end());
      joined.item.insert(joined.item.end(), part.item.begin(), part.item.end());
    };
    file.for_each_chunk(0, Split::train, join, chunk);
    EXPECT_EQ(joined.user, whole.user);
    EXPECT_EQ(joined.item, whole.item);
  }
}

TEST_F(DatasetFileTest, KeepsTimestampsBesideTheirInteractions) {
  const PreparedDataset dataset = sample();
  write_dataset(dataset, path_);
  const PreparedDomain& domain = dataset.domains[1];
  std::vector<std::int64_t> expected;
  for (std::int64_t i = 0; i < domain.interactions(); ++i) {
    if (domain.split[i] == Split::valid) expected.push_back(domain.timestamp[i]);
  }
  EXPECT_EQ(Hdf5File::open(path_).read<std::int64_t>("/domains/tools/valid/timestamp"), expected);
}

TEST_F(DatasetFileTest, WorksWithOneBareDomain) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("only", {{"u", "i"}}, false));
  write_dataset(prepare_quietly(std::move(raw)), path_);
  const DatasetFile file = DatasetFile::open(path_);
  EXPECT_EQ(file.domains().size(), 1U);
  EXPECT_FALSE(file.domains()[0].has_timestamps);
  EXPECT_TRUE(file.domains()[0].modalities.empty());
  EXPECT_FALSE(file.has_hold_outs());
  EXPECT_EQ(file.people(), 1);
  EXPECT_TRUE(file.read(0, Split::test).user.empty());
  file.verify();
}

TEST_F(DatasetFileTest, FingerprintIsOfTheContentsOnly) {
  PreparedDataset dataset = sample();
  const std::string first = write_dataset(dataset, path_);
  dataset.provenance = "something else";
  EXPECT_EQ(write_dataset(dataset, path_), first);

  const std::function<void(PreparedDataset&)> changes[] = {
      [](PreparedDataset& d) { d.domains[0].name = "foot"; },
      [](PreparedDataset& d) { d.domains[0].user_keys.back() += "x"; },
      [](PreparedDataset& d) { d.domains[0].item_keys.back() += "x"; },
      [](PreparedDataset& d) {
        PackedColumn<std::int64_t> later;
        for (const std::int64_t time : d.domains[1].timestamp) later.push_back(time + 1);
        d.domains[1].timestamp = later;
      },
      [](PreparedDataset& d) { d.domains[0].new_users[0] ^= 1; },
      [](PreparedDataset& d) { d.domains[1].new_items[0] ^= 1; },
      [](PreparedDataset& d) { d.domains[1].cold_items[0] ^= 1; },
      [](PreparedDataset& d) {
        Split& split = d.domains[0].split[0];
        split = split == Split::train ? Split::test : Split::train;
      },
      [](PreparedDataset& d) { d.domains[0].features[0].present[1] ^= 1; },
      [](PreparedDataset& d) { d.domains[0].features[0].modality = "image"; },
      [](PreparedDataset& d) {
        auto read = d.domains[0].features[0].read;
        d.domains[0].features[0].read = [read](std::int64_t begin, std::int64_t end, float* out) {
          read(begin, end, out);
          out[4] += 1;
        };
      },
  };
  for (std::size_t c = 0; c < std::size(changes); ++c) {
    PreparedDataset changed = dataset;
    changes[c](changed);
    EXPECT_NE(write_dataset(changed, path_), first) << "change " << c;
  }
}

TEST_F(DatasetFileTest, NamesKnownDomainsAndModalities) {
  write_dataset(sample(), path_);
  const DatasetFile file = DatasetFile::open(path_);
  expect_error(Cause::usage, {"no domain 'tool'", "food, tools", "Did you mean 'tools'"},
               [&] { file.domain_number("tool"); });
  float out[3];
  expect_error(Cause::usage, {"food", "no modality 'image'", "text"},
               [&] { file.read_features(0, "image", 0, 1, out); });
}

TEST_F(DatasetFileTest, RefusesWhatIsNoDataset) {
  expect_error(Cause::io, {"missing.h5"}, [&] { DatasetFile::open(folder_ / "missing.h5"); });
  const std::string text_file = folder_.write("text.h5", "user,item\n");
  expect_error(Cause::data, {"text.h5"}, [&] { DatasetFile::open(text_file); });
  Hdf5File other = Hdf5File::create(folder_ / "other.h5");
  other.set_attribute("/", "format", "micrec checkpoint");
  other.close();
  expect_error(Cause::data, {"other.h5", "not a dataset file", "micrec prepare"},
               [&] { DatasetFile::open(folder_ / "other.h5"); });
}

TEST_F(DatasetFileTest, RefusesANewerVersion) {
  broken([](Hdf5Edit& file) { file.set_attribute("/", "format_version", 4); });
  expect_error(Cause::data, {"version 4", "reads up to 3"}, [&] { DatasetFile::open(path_); });
}

TEST_F(DatasetFileTest, RefusesShapesThatDoNotFit) {
  broken([](Hdf5Edit& file) { file.set_attribute("/domains/food", "users", 7); });
  expect_error(Cause::data, {"/domains/food/users/key"}, [&] { DatasetFile::open(path_); });
}

TEST_F(DatasetFileTest, RefusesNumbersOutOfRangeAndOutOfOrder) {
  const std::int32_t huge = 1'000'000;
  const std::int32_t zero = 0;
  broken([&](Hdf5Edit& file) { file.write_rows("/domains/food/train/item", Range{5, 6}, &huge); });
  expect_error(Cause::data, {"/domains/food/train", "row 5", "1000000", "damaged"},
               [&] { DatasetFile::open(path_).read(0, Split::train); });
  broken([&](Hdf5Edit& file) {
    file.write_rows("/domains/food/train/user", Range{40, 41}, &zero);
  });
  expect_error(Cause::data, {"/domains/food/train", "row 40", "does not follow"},
               [&] { DatasetFile::open(path_).read(0, Split::train); });
}

TEST_F(DatasetFileTest, RefusesPeopleThatDoNotFit) {
  const std::int32_t nobody = -1;
  write_dataset(sample(), path_);
  const auto user = Hdf5File::open(path_).read<std::int32_t>("/people/food");
  std::int64_t row = 0;
  while (user[row] < 0) ++row;
  broken([&](Hdf5Edit& file) { file.write_rows("/people/food", Range{row, row + 1}, &nobody); });
  expect_error(Cause::data, {"/people/food", "names no person for user"},
               [&] { DatasetFile::open(path_).person_of_user(0); });
}

TEST_F(DatasetFileTest, RefusesFlagsThatAreNone) {
  const std::uint8_t two = 2;
  broken([&](Hdf5Edit& file) { file.write_rows("/domains/food/items/cold", Range{3, 4}, &two); });
  expect_error(Cause::data, {"/domains/food/items/cold", "row 3", "is 2"},
               [&] { DatasetFile::open(path_).cold_items(0); });
}

TEST_F(DatasetFileTest, VerifySeesAChangedNumber) {
  const std::int64_t time = -1;
  broken([&](Hdf5Edit& file) {
    file.write_rows("/domains/food/train/timestamp", Range{0, 1}, &time);
  });
  expect_error(Cause::data, {"fingerprint"}, [&] { DatasetFile::open(path_).verify(); });
  const float values[3] = {1, 2, 3};
  broken([&](Hdf5Edit& file) {
    file.write_rows("/domains/food/features/text/value", Range{4, 5}, values);
  });
  expect_error(Cause::data, {"fingerprint"}, [&] { DatasetFile::open(path_).verify(); });
  const float infinite[3] = {1, std::numeric_limits<float>::infinity(), 3};
  broken([&](Hdf5Edit& file) {
    file.write_rows("/domains/food/features/text/value", Range{4, 5}, infinite);
  });
  expect_error(Cause::data, {"item 4", "column 1", "not finite"},
               [&] { DatasetFile::open(path_).verify(); });
}

// Data sets of every format version stay in tests/golden and are read forever.
TEST(GoldenDataset, OfVersions1And2AreReadForever) {
  const std::string golden = MICREC_SOURCE_DIR "/tests/golden/dataset-version-";
  const DatasetFile first = DatasetFile::open(golden + "1/dataset.h5");
  first.verify();
  EXPECT_EQ(first.fingerprint(), "f9e50967b6c3d5492b60511fdd8e59ee");
  EXPECT_EQ(first.timestamps(0, Split::train).size(), 36U);
  const DatasetFile second = DatasetFile::open(golden + "2/dataset.h5");
  second.verify();
  EXPECT_EQ(second.origin().extends[0].fingerprint, first.fingerprint());
  EXPECT_EQ(second.domains()[0].interactions[0], 39);
}

TEST_F(DatasetFileTest, RefusesATruncatedFile) {
  write_dataset(sample(), path_);
  const auto size = std::filesystem::file_size(path_);
  for (const double part : {0.1, 0.5, 0.9}) {
    std::filesystem::resize_file(path_,
                                 static_cast<std::uintmax_t>(part * static_cast<double>(size)));
    EXPECT_THROW(DatasetFile::open(path_).verify(), Error);
    write_dataset(sample(), path_);
  }
}

TEST_F(DatasetFileTest, AFailureLeavesNothingNewAndTheOldFileInPlace) {
  const std::string before = write_dataset(sample(), path_);
  PreparedDataset dataset = sample("");
  dataset.domains[1].features[0].read = [](std::int64_t, std::int64_t, float*) {
    throw Error(Cause::data, "a feature is broken");
  };
  expect_error(Cause::data, {"a feature is broken"}, [&] { write_dataset(dataset, path_); });
  EXPECT_EQ(folder_.files(), 1U);
  EXPECT_EQ(DatasetFile::open(path_).fingerprint(), before);
  expect_error(Cause::io, {"nowhere"},
               [&] { write_dataset(sample(), folder_ / "nowhere/sample.h5"); });
  expect_error(Cause::io, {"Is a directory"}, [&] { write_dataset(sample(), folder_.path()); });
}

TEST_F(DatasetFileTest, AFullDiskIsAnIoErrorAndLeavesNothing) {
  // A limit on the size of files makes writes fail as a full disk does.
  PreparedDataset dataset = sample();
  for (PreparedDomain& domain : dataset.domains) {
    domain.features[0].width = 5000;
    domain.features[0].read = [](std::int64_t begin, std::int64_t end, float* out) {
      std::fill_n(out, (end - begin) * 5000, 1.0F);
    };
  }
  rlimit unlimited{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  rlimit small = unlimited;
  small.rlim_cur = 100'000;
  auto* const previous = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error(Cause::io, {"sample.h5"}, [&] { write_dataset(dataset, path_); });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  std::signal(SIGXFSZ, previous);
  EXPECT_EQ(folder_.files(), 0U);
}

}  // namespace
}  // namespace micrec
