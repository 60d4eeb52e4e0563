#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "serve/filter/item_filter.h"
#include "serve/recommender.h"

namespace micrec {

/// What the score of a similar item is.
enum class Likeness {
  cosine,  ///< of the final rows, within a domain
  met_it,  ///< what recommend() gives somebody who has met these items and nothing else
  none,    ///< nothing relates the items to this domain
};
/// "cosine", "met_it" or "none".
const char* name_of(Likeness likeness);
/// Why there is none.
inline constexpr char kUnrelated[] =
    "neither rows of the model nor coefficients of item regression lead from one to the other";

struct SimilarItems {
  Likeness likeness = Likeness::none;
  std::vector<ScoredItem> items;  // best first, without those asked about
};

/// The k items of a domain that are most like those of a history, of that domain or others.
///
/// Within the domain it is Recommender::similar(); popularity relates nothing. Rows of two domains
/// have no common direction, and item regression alone has no rows: there it is the score of
/// somebody with that history, by the maps between domains and the coefficients, where it is above
/// zero.
///
/// Shapes   `items`: a person without a key.
/// Errors   those of recommend().
SimilarItems similar_items(const Recommender& recommender, const Person& items, int domain,
                           std::int64_t k, const ItemFilter* filter = nullptr);

/// An item of some domain.
struct DomainItem {
  int domain = 0;
  std::int32_t item = 0;
};

/// The file that a list of items names, or none where it has the items itself.
std::vector<std::string> files_of_items(const std::string& list);

/// The items in "DOMAIN:KEY,..." or in a file with DOMAIN:KEY a line; of a data set of one domain
/// KEY is enough. Says on `report` how many are unknown.
///
/// Errors   those of LineReader; Error(Cause::usage) where a domain is unknown or not named;
///          Error(Cause::data) where no item is known.
std::vector<DomainItem> read_items(const std::string& list, const DatasetFile& dataset,
                                   std::ostream& report);

/// The first line of a CSV of similar items: an item a line, best first. `like` is DOMAIN:KEY.
inline constexpr char kSimilarColumns[] = "like,domain,rank,item_id,score,basis";

/// Writes lists of a domain's items as lines of that CSV, one for each of the items, and says on
/// `report` what they are by.
///
/// Errors   those of similar_items().
void write_similar(const Recommender& recommender, const std::vector<DomainItem>& items, int domain,
                   std::int64_t k, const ItemFilter* filter, std::ostream& csv,
                   std::ostream& report);

}  // namespace micrec
