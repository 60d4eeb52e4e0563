#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "data/preparation.h"
#include "data/prepared_dataset.h"
#include "io/feature_file.h"

namespace micrec {

/// A feature file and what it describes.
struct FeatureInput {
  std::string modality;
  std::string domain;
  std::string path;
  /// It, where it is open already or in memory.
  std::shared_ptr<const FeatureFile> file = nullptr;
};

/// "text:food=food_text.h5,image:food=food_image.h5"; empty: none.
/// Errors   Error(usage) naming `flag`, also where a domain is none of `domains` or a pair comes
///          twice.
std::vector<FeatureInput> parse_feature_inputs(const std::string& inputs,
                                               const std::vector<std::string>& domains,
                                               const std::string& flag = "--features");

/// The file of an input. Errors: those of opening it; Error(Cause::data) where it has no rows.
std::shared_ptr<const FeatureFile> open_features(const FeatureInput& input);

/// What a feature file has of the items of a domain. Shapes   row_of_item: (items) row in the file,
/// -1 where it has none.
FeatureTable table_of_rows(std::shared_ptr<const FeatureFile> file, const std::string& modality,
                           std::vector<std::int64_t> row_of_item);

/// The Euclidean length of the longest row of a modality in all domains; 0 where there is none.
/// `items`: (domains) how many of the first items count; empty: all do. Cost   Their rows, once.
double longest_row(const DatasetFile& dataset, const std::string& modality,
                   std::span<const std::int64_t> items = {});

/// A new row this many times as long as the longest that was trained on was made in another way: a
/// score grows with it, so its item would come first for everybody.
inline constexpr double kMostTimesAsLong = 10;

/// "has a row of length 30, where the longest of text has 1; ...": why the row of a new item cannot
/// be taken beside rows of at most `longest`; "" where it can.
std::string problem_of_length(std::span<const float> row, const std::string& modality,
                              double longest);

/// Warns on `report` where several items have features from a file, and all of them the same.
/// Cost   One block of the file, or all of it where they are the same.
void warn_of_equal_rows(const FeatureTable& table, const FeatureInput& input, std::ostream& report);

/// Feature tables from files, matched by item key; items that are not in the file lack the
/// modality. Says on `report` how many matched, and must not outlive it.
///
/// Errors   When called: Error(data) where no key matches (with a key of each side, and a hint
///          where the file holds the domain's user keys), and those of FeatureFile. A NaN or
///          infinite value shows when its row is read.
/// Cost     The keys of the file and 8 bytes an item; rows that stand together are read together.
FeatureReader features_from_files(std::vector<FeatureInput> inputs, std::ostream& report);

}  // namespace micrec
