#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "data/dataset_writer.h"
#include "tests/data/worlds.h"

namespace micrec {
namespace {

TEST(DatasetFormat, IsReadableWithH5pyAlone) {
  const std::string python = MICREC_PYTHON;
  if (python.empty() || std::system((python + " -c 'import h5py' 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "no Python with h5py beside torch";
  }
  const TemporaryFolder folder;
  PreparationOptions options;
  options.hold_out = parse_hold_out("users:0.2,items:0.1,cold_items:0.1");
  const PreparedDataset dataset = prepare_quietly(random_world(), options, telling_features);
  write_dataset(dataset, folder / "d.h5");
  // What the program knows, for the script to compare with what h5py reads.
  std::ofstream expected(folder / "expected.txt");
  for (const PreparedDomain& domain : dataset.domains) {
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      expected << domain.name << ' ' << name_of(domain.split[i]) << ' '
               << domain.user_keys[domain.user[i]] << ' ' << domain.item_keys[domain.item[i]] << ' '
               << domain.timestamp[i] << '\n';
    }
  }
  expected.close();
  const std::string script = std::string(MICREC_SOURCE_DIR) + "/tests/data/read_with_h5py.py";
  EXPECT_EQ(std::system(
                (python + " " + script + " " + (folder / "d.h5") + " " + (folder / "expected.txt"))
                    .c_str()),
            0);
}

}  // namespace
}  // namespace micrec
