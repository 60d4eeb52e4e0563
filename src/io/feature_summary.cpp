#include "io/feature_summary.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "base/description.h"
#include "base/text.h"

namespace micrec {

FeatureSummary summarise(const FeatureFile& file) {
  constexpr std::int64_t kRowsAtOnce = 4096;
  FeatureSummary summary;
  summary.rows = static_cast<std::int64_t>(file.keys().size());
  std::vector<float> block;
  double length_sum = 0;
  for (std::int64_t begin = 0; begin < summary.rows; begin += kRowsAtOnce) {
    const Range range{begin, std::min(summary.rows, begin + kRowsAtOnce)};
    block.resize(static_cast<std::size_t>(range.size() * file.width()));
    file.read_rows(range, block.data());
    for (std::int64_t row = 0; row < range.size(); ++row) {
      double square = 0;
      for (std::int64_t c = 0; c < file.width(); ++c) {
        const double element = block[static_cast<std::size_t>(row * file.width() + c)];
        square += element * element;
      }
      length_sum += std::sqrt(square);
      summary.zero_rows += square == 0;
    }
  }
  if (summary.rows > 0) summary.mean_length = length_sum / static_cast<double>(summary.rows);
  return summary;
}

void describe(const FeatureFile& file, const FeatureSummary& summary, std::ostream& out) {
  constexpr std::int64_t kKeysShown = 5;
  print_row(out, "items", with_commas(summary.rows));
  print_row(out, "columns", with_commas(file.width()));
  print_row(out, "values",
            text("all finite; mean length of a row ", decimal("%.4g", summary.mean_length), "; ",
                 count_of(summary.zero_rows, "row"), " of zeros only"));
  const auto first = file.keys().begin();
  std::vector<std::string> examples(first, first + std::min(summary.rows, kKeysShown));
  if (summary.rows > kKeysShown) examples.emplace_back("...");
  print_words(out, "keys", examples);
}

}  // namespace micrec
