// The kept seeds of every reader and the inputs that once broke one, read again in every build.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

#include "tests/fuzz/reader.h"
#include "tests/support/file_contents.h"
#include "tests/support/temporary_folder.h"

namespace micrec::fuzz {
namespace {

namespace fs = std::filesystem;

const Reader& reader_named(const std::string& name) {
  for (const auto& make :
       {csv,      tsv,      json,       adjacency, gzip,     npy,     keys,
        features, dataset,  partition,  manifest,  best,     shard,   coefficients,
        metrics,  flagfile, attributes, where,     observed, requests}) {
    if (name == make().name) return make();
  }
  throw std::invalid_argument("no reader is named " + name);
}

constexpr char kSeeds[] = MICREC_SOURCE_DIR "/tests/fuzz/seeds";

class Seeds : public testing::TestWithParam<std::string> {};

TEST_P(Seeds, AreReadOrRefusedByName) {
  const Reader& reader = reader_named(GetParam());
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(kSeeds) / GetParam())) {
    const std::string bytes = file_contents(entry.path());
    // Before it is read, so that a crash leaves the name of the input behind.
    std::cout << "[   seed   ] " << GetParam() << "/" << entry.path().filename().string() << " ("
              << bytes.size() << " bytes)" << std::endl;
    EXPECT_EQ(complaint(reader, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()),
              "");
    ++files;
  }
  EXPECT_GT(files, 0);
}

INSTANTIATE_TEST_SUITE_P(Reader, Seeds, testing::ValuesIn(names_in(kSeeds)),
                         [](const auto& info) { return info.param; });

TEST(Seeds, AreThereForEveryReader) {
  EXPECT_THAT(names_in(kSeeds),
              testing::UnorderedElementsAre("csv", "tsv", "json", "adjacency", "gzip", "npy",
                                            "keys", "features", "dataset", "partition", "manifest",
                                            "best", "shard", "coefficients", "metrics", "flagfile",
                                            "attributes", "where", "observed", "requests"));
}

// Runs last: no input of some KiB may have made a reader take a hundred thousand times its size.
TEST(SeedsMemory, StaysBounded) {
  rusage usage{};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LT(usage.ru_maxrss, 2 << 20) << "KiB";
}

}  // namespace
}  // namespace micrec::fuzz
