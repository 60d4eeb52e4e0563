#include "launcher/filter_flags.h"

namespace micrec {

std::vector<Flag> filter_flags(FilterOptions& options) {
  return {{"only_items", "Items", "FILE",
           "the only items to list: a file with a key a line, for several domains DOMAIN=FILE with "
           "commas between",
           options.only_items},
          {"exclude_items", "Items", "FILE", "items not to list, written likewise",
           options.exclude_items},
          {"attributes", "Items", "FILE",
           "what --where and --at_most ask about: a table with a header line, item_id and other "
           "columns of numbers or texts; for several domains DOMAIN=FILE with commas between",
           options.attributes},
          {"where", "Items", "",
           "list the items alone whose attributes are so, as in 'price < 20 and brand in (\"a\", "
           "\"b\")': and, or, not, ( ), = != < <= > >=, in (...), is missing",
           options.where},
          {"at_most", "Items", "N:COLUMN",
           "how many items of one value of a column of --attributes a list may have, as in 2:brand",
           options.at_most},
          {"min_degree", "Items", "interactions",
           "list the items alone that have so many training interactions", options.min_degree,
           at_least(0)}};
}

}  // namespace micrec
