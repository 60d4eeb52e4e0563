#include "io/feature_description.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "base/description.h"
#include "base/text.h"
#include "io/feature_file.h"

namespace micrec {

void describe_features(const std::string& path, std::ostream& out) {
  const FeatureFile file = FeatureFile::open(path);
  constexpr std::int64_t kRowsAtOnce = 4096;
  constexpr std::int64_t kKeysShown = 5;
  const auto rows = std::ssize(file.keys());
  std::vector<float> block;
  double length_sum = 0;
  std::int64_t zero_rows = 0;
  for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const Range range{begin, std::min(rows, begin + kRowsAtOnce)};
    block.resize(static_cast<std::size_t>(range.size() * file.width()));
    file.read_rows(range, block.data());
    for (std::int64_t row = 0; row < range.size(); ++row) {
      double square = 0;
      for (std::int64_t c = 0; c < file.width(); ++c) {
        const double element = block[static_cast<std::size_t>(row * file.width() + c)];
        square += element * element;
      }
      length_sum += std::sqrt(square);
      zero_rows += square == 0;
    }
  }
  print_title(out, path, "features of items");
  print_row(out, "items", with_commas(rows));
  print_row(out, "columns", with_commas(file.width()));
  print_row(out, "values",
            text("all finite; mean length of a row ",
                 decimal("%.4g", rows == 0 ? 0 : length_sum / static_cast<double>(rows)), "; ",
                 count_of(zero_rows, "row"), " of zeros only"));
  const auto first = file.keys().begin();
  std::vector<std::string> examples(first, first + std::min(rows, kKeysShown));
  if (rows > kKeysShown) examples.emplace_back("...");
  print_words(out, "keys", examples);
  out << "\nGive it to micrec prepare as --features=MODALITY:DOMAIN=" << path << "\n";
}

}  // namespace micrec
