#include "launcher/additions.h"

#include "launcher/common_flags.h"

namespace micrec {

std::vector<Flag> addition_flags(LaterFiles& files, const std::string* history) {
  const std::vector<Flag> flags = {
      {"items", "What came later", "MODALITY:DOMAIN=FILE",
       "feature files of new items with commas between, as in text:food=new_food_text.h5; each key "
       "is an item that the dataset does not have, and joins the catalogue",
       files.items},
      {"observed", "What came later", "DOMAIN=FILE",
       "what people did since the dataset was made, old and new ones with old and new items: "
       "DOMAIN=FILE with commas between, files as micrec prepare reads them; they join the graph, "
       "nothing is retrained",
       files.observed}};
  const auto unread = [&files, history]() -> std::string {
    if (!files.observed.empty() || (history != nullptr && !history->empty())) return "";
    return history == nullptr ? "without --observed" : "with neither --observed nor --history";
  };
  return flags + idle_where(unread, table_flags("What came later", files.reading));
}

}  // namespace micrec
