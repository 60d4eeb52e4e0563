#include "data/feature_matching.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "base/description.h"
#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "data/dataset_format.h"

namespace micrec {
namespace {

constexpr std::int64_t kReadBytes = 8 << 20;
constexpr std::int64_t kGapRows = 16;  // reading so many unwanted rows is cheaper than another call

struct SourceRow {
  std::int64_t row;  // in the feature file
  std::int64_t item;
};

/// Copies the wanted rows (by rising row) of a feature file into a block of items that begins at
/// `begin`.
void copy_rows(const FeatureFile& file, const std::vector<SourceRow>& wanted, std::int64_t begin,
               float* out) {
  const std::int64_t width = file.width();
  const std::int64_t most_rows =
      std::max<std::int64_t>(1, kReadBytes / (width * static_cast<std::int64_t>(sizeof(float))));
  std::vector<float> buffer;
  for (std::size_t first = 0; first < wanted.size();) {
    std::size_t last = first;
    while (last + 1 < wanted.size() && wanted[last + 1].row - wanted[last].row <= kGapRows &&
           wanted[last + 1].row - wanted[first].row < most_rows) {
      ++last;
    }
    const Range rows{wanted[first].row, wanted[last].row + 1};
    buffer.resize(rows.size() * width);
    file.read_rows(rows, buffer.data());
    for (; first <= last; ++first) {
      std::copy_n(buffer.data() + (wanted[first].row - rows.begin) * width, width,
                  out + (wanted[first].item - begin) * width);
    }
  }
}

double square_of(std::span<const float> row) {
  double sum = 0;
  for (const float number : row) sum += static_cast<double>(number) * number;
  return sum;
}

FeatureTable match(const FeatureInput& input, const PreparedDomain& domain, std::ostream& report) {
  const std::shared_ptr<const FeatureFile> file = open_features(input);
  std::vector<std::int64_t> row_of_item(domain.items(), -1);
  const auto find = [](const std::vector<std::string>& keys, const std::string& key) {
    const auto at = std::lower_bound(keys.begin(), keys.end(), key, key_less);
    return at != keys.end() && *at == key ? at - keys.begin() : -1;
  };
  std::int64_t matched = 0;
  std::int64_t users_matched = 0;
  for (std::size_t row = 0; row < file->keys().size(); ++row) {
    const std::int64_t item = find(domain.item_keys, file->keys()[row]);
    if (item < 0) {
      if (find(domain.user_keys, file->keys()[row]) >= 0) ++users_matched;
      continue;
    }
    row_of_item[item] = static_cast<std::int64_t>(row);
    ++matched;
  }
  if (matched == 0) {
    throw Error(
        Cause::data, "None of the ", with_commas(std::ssize(file->keys())), " keys of ", input.path,
        " is an item of the domain ", domain.name, ": it has keys like '", file->keys()[0], "'",
        " and the items have keys like '", domain.item_keys[0], "'",
        users_matched > 0
            ? text("; ", with_commas(users_matched),
                   " of its keys are users, so the user and item columns of the interactions are "
                   "probably swapped (--columns names them).")
            : "; check that the file belongs to this domain and has the same kind of keys.");
  }
  report << domain.name << ": " << input.path << ": " << input.modality << " (" << file->width()
         << " wide) of " << with_commas(matched) << " of " << with_commas(domain.items())
         << " items";
  const std::int64_t unused = std::ssize(file->keys()) - matched;
  if (unused > 0) report << "; " << with_commas(unused) << " of its keys are not items here";
  report << "\n";
  FeatureTable table = table_of_rows(file, input.modality, std::move(row_of_item));
  warn_of_equal_rows(table, input, report);
  return table;
}

}  // namespace

void warn_of_equal_rows(const FeatureTable& table, const FeatureInput& input,
                        std::ostream& report) {
  const auto items = std::ssize(table.present);
  const std::int64_t most = std::max<std::int64_t>(
      1, kReadBytes / (table.width * static_cast<std::int64_t>(sizeof(float))));
  std::vector<float> first;  // (width) of the first item that has one
  std::vector<float> block;
  std::int64_t rows = 0;
  for (std::int64_t begin = 0; begin < items; begin += most) {
    const std::int64_t end = std::min(items, begin + most);
    block.resize((end - begin) * table.width);
    table.read(begin, end, block.data());
    for (std::int64_t item = begin; item < end; ++item) {
      if (table.present[item] == 0) continue;
      const auto row = block.begin() + (item - begin) * table.width;
      if (rows++ == 0) first.assign(row, row + table.width);
      if (!std::equal(first.begin(), first.end(), row)) return;
    }
  }
  if (rows < 2) return;
  const bool are_zeros = std::ranges::all_of(first, [](float value) { return value == 0; });
  report << "warning: " << input.domain << ": " << input.path << ": all rows of " << input.modality
         << (are_zeros ? " are zeros" : " are equal")
         << ", which tells no item from another; check how it was encoded\n";
}

std::shared_ptr<const FeatureFile> open_features(const FeatureInput& input) {
  if (input.file) return input.file;
  auto file = std::make_shared<const FeatureFile>(FeatureFile::open(input.path));
  if (file->keys().empty()) {
    throw Error(Cause::data, input.path,
                " has no rows; expected a key and its features for each item.");
  }
  return file;
}

FeatureTable table_of_rows(std::shared_ptr<const FeatureFile> file, const std::string& modality,
                           std::vector<std::int64_t> row_of_item) {
  FeatureTable table;
  table.modality = modality;
  table.width = file->width();
  table.present.reserve(row_of_item.size());
  for (const std::int64_t row : row_of_item) table.present.push_back(row >= 0 ? 1 : 0);
  table.read = [file = std::move(file),
                row_of = std::make_shared<std::vector<std::int64_t>>(std::move(row_of_item))](
                   std::int64_t begin, std::int64_t end, float* out) {
    std::fill_n(out, (end - begin) * file->width(), 0.0F);
    std::vector<SourceRow> wanted;
    for (std::int64_t item = begin; item < end; ++item) {
      if ((*row_of)[item] >= 0) wanted.push_back({(*row_of)[item], item});
    }
    std::ranges::sort(wanted, {}, &SourceRow::row);
    copy_rows(*file, wanted, begin, out);
  };
  return table;
}

double longest_row(const DatasetFile& dataset, const std::string& modality,
                   std::span<const std::int64_t> items) {
  double longest = 0;  // its square
  for (int d = 0; d < static_cast<int>(dataset.domains().size()); ++d) {
    const DomainInfo& domain = dataset.domains()[d];
    const auto info = std::ranges::find(domain.modalities, modality, &ModalityInfo::name);
    if (info == domain.modalities.end()) continue;
    const std::int64_t block_rows = std::max<std::int64_t>(
        1, kReadBytes / (info->width * static_cast<std::int64_t>(sizeof(float))));
    std::vector<float> block;
    const std::int64_t count = items.empty() ? domain.items : items[d];
    for (std::int64_t begin = 0; begin < count; begin += block_rows) {
      const std::int64_t end = std::min(count, begin + block_rows);
      block.resize((end - begin) * info->width);
      dataset.read_features(d, modality, begin, end, block.data());
      for (const float* row = block.data(); row != block.data() + block.size();
           row += info->width) {
        longest = std::max(longest, square_of({row, static_cast<std::size_t>(info->width)}));
      }
    }
  }
  return std::sqrt(longest);
}

std::string problem_of_length(std::span<const float> row, const std::string& modality,
                              double longest) {
  const double length = std::sqrt(square_of(row));
  if (longest == 0 || length <= kMostTimesAsLong * longest) return "";
  return text("has a row of length ", decimal("%.3g", length), ", where the longest of ", modality,
              " has ", decimal("%.3g", longest),
              "; encode it as the data set's rows were, which were scaled in another way");
}

std::vector<FeatureInput> parse_feature_inputs(const std::string& inputs,
                                               const std::vector<std::string>& domains,
                                               const std::string& flag) {
  std::vector<FeatureInput> parsed;
  std::set<std::pair<std::string, std::string>> seen;
  for (const std::string& part : split_paths(inputs)) {
    const std::size_t equals = part.find('=');
    const std::size_t colon = part.find(':');
    if (equals == std::string::npos || colon == std::string::npos || colon > equals ||
        equals + 1 == part.size()) {
      throw Error(Cause::usage, flag, ": cannot read '", part,
                  "'; expected MODALITY:DOMAIN=FILE, as in text:food=food_text.h5.");
    }
    FeatureInput input{.modality = part.substr(0, colon),
                       .domain = part.substr(colon + 1, equals - colon - 1),
                       .path = part.substr(equals + 1)};
    if (!dataset_format::is_valid_name(input.modality)) {
      throw Error(
          Cause::usage, flag, ": '", input.modality,
          "' cannot be the name of a modality: expected letters, digits, '_', '-' and '.'.");
    }
    if (std::ranges::find(domains, input.domain) == domains.end()) {
      const auto close = nearest(input.domain, domains);
      throw Error(Cause::usage, flag, ": '", part, "' is for the domain '", input.domain,
                  "', but the domains are ", join(domains, ", "),
                  close ? "; did you mean " + *close + "?" : ".");
    }
    if (!seen.emplace(input.modality, input.domain).second) {
      throw Error(Cause::usage, flag, ": ", input.modality, ":", input.domain,
                  " is given twice; a modality of a domain is one file.");
    }
    parsed.push_back(std::move(input));
  }
  return parsed;
}

FeatureReader features_from_files(std::vector<FeatureInput> inputs, std::ostream& report) {
  return [inputs = std::move(inputs), &report](const PreparedDomain& domain) {
    std::vector<FeatureTable> tables;
    for (const FeatureInput& input : inputs) {
      if (input.domain == domain.name) tables.push_back(match(input, domain, report));
    }
    std::ranges::sort(tables, {}, &FeatureTable::modality);
    return tables;
  };
}

}  // namespace micrec
