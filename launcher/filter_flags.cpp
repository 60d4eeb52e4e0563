#include "launcher/filter_flags.h"

#include <gflags/gflags.h>

DEFINE_string(only_items, "",
              "the only items to list: a file with a key a line, for several domains DOMAIN=FILE "
              "with commas between");
DEFINE_string(exclude_items, "", "items not to list, written likewise");
DEFINE_string(attributes, "",
              "what --where and --at_most ask about: a table with a header line, item_id and other "
              "columns of numbers or texts; for several domains DOMAIN=FILE with commas between");
DEFINE_string(
    where, "",
    "list the items alone whose attributes are so, as in 'price < 20 and brand in (\"a\", "
    "\"b\")': and, or, not, ( ), = != < <= > >=, in (...), is missing");
DEFINE_string(at_most, "",
              "how many items of one value of a column of --attributes a list may have, as in "
              "2:brand");
DEFINE_int64(min_degree, 0, "list the items alone that have so many training interactions");

namespace micrec {

std::vector<FlagSpec> filter_flags() {
  return {{"only_items", "Items", "FILE"},  {"exclude_items", "Items", "FILE"},
          {"attributes", "Items", "FILE"},  {"where", "Items", ""},
          {"at_most", "Items", "N:COLUMN"}, {"min_degree", "Items", "interactions", at_least(0)}};
}

FilterOptions filter_options_from_flags() {
  return {.only_items = FLAGS_only_items,
          .exclude_items = FLAGS_exclude_items,
          .attributes = FLAGS_attributes,
          .where = FLAGS_where,
          .at_most = FLAGS_at_most,
          .min_degree = FLAGS_min_degree};
}

}  // namespace micrec
