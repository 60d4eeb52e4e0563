#include <gtest/gtest.h>

#include <sstream>

#include "data/dataset_writer.h"
#include "tests/data/worlds.h"
#include "tests/support/command.h"

namespace micrec {
namespace {

TEST(DatasetFormat, IsReadableWithH5pyAlone) {
  if (std::string(MICREC_PYTHON).empty()) GTEST_SKIP() << "no Python with h5py beside torch";
  const TemporaryFolder folder;
  PreparationOptions options;
  options.hold_out = parse_hold_out("users:0.2,items:0.1,cold_items:0.1");
  const PreparedDataset dataset = prepare_quietly(random_world(), options, telling_features);
  write_dataset(dataset, folder / "d.h5");
  // What the program knows, for the script to compare with what h5py reads.
  std::ostringstream expected;
  for (const PreparedDomain& domain : dataset.domains) {
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      expected << domain.name << ' ' << name_of(domain.split[i]) << ' '
               << domain.user_keys[domain.user[i]] << ' ' << domain.item_keys[domain.item[i]] << ' '
               << domain.timestamp[i] << '\n';
    }
  }
  run_python("data/read_with_h5py.py",
             {folder / "d.h5", folder.write("expected.txt", expected.str())});
}

}  // namespace
}  // namespace micrec
