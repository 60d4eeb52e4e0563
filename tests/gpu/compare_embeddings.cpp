// How far two files of `micrec export` are apart, for machines whose Python has no h5py:
//
//   compare_embeddings A.h5 B.h5
//
// Prints a JSON object: the largest number of A, the largest difference, and whether all bits are
// the same. Exit code 1, with a sentence, where the files cannot be compared.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "io/hdf5.h"

namespace micrec {
namespace {

void compare(const char* path, const char* other_path) {
  const Hdf5File file = Hdf5File::open(path);
  const Hdf5File other_file = Hdf5File::open(other_path);
  double largest = 0;
  double apart = 0;
  bool same_bits = true;
  std::size_t numbers = 0;
  for (const std::string& domain : file.children("/domains")) {
    for (const char* side : {"users", "items"}) {
      const std::string group = text("/domains/", domain, "/", side);
      if (file.read_text(group + "/key") != other_file.read_text(group + "/key")) {
        throw Error(Cause::data, text(group, "/key is not the same in ", path, " and ", other_path,
                                      "; they are not of one dataset"));
      }
      const std::vector<float> a = file.read<float>(group + "/embedding");
      const std::vector<float> b = other_file.read<float>(group + "/embedding");
      if (a.size() != b.size()) {
        throw Error(Cause::data, text(group, "/embedding has ", a.size(), " numbers in ", path,
                                      " and ", b.size(), " in ", other_path));
      }
      same_bits = same_bits &&
                  (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
      numbers += a.size();
      for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, static_cast<double>(std::abs(a[i])));
        const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
        // A number that is not finite is as far as can be from any.
        apart = std::max(
            apart, std::isfinite(difference) ? difference : std::numeric_limits<double>::max());
      }
    }
  }
  if (numbers == 0) throw Error(Cause::data, text(path, " holds no embeddings"));
  std::printf("{\"largest\": %.9g, \"apart\": %.9g, \"same_bits\": %s}\n", largest, apart,
              same_bits ? "true" : "false");
}

}  // namespace
}  // namespace micrec

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: compare_embeddings A.h5 B.h5\n");
    return 2;
  }
  try {
    micrec::compare(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "compare_embeddings: %s\n", error.what());
    return 1;
  }
}
