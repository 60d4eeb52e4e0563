#include "launcher/additions.h"

#include <functional>
#include <string>

#include "launcher/common_flags.h"

namespace micrec {

namespace {

std::vector<Flag> later_flags(LaterFiles& files, const std::function<std::string()>& unread) {
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
  return flags + idle_where(unread, table_flags("What came later", files.reading));
}

}  // namespace

std::vector<Flag> addition_flags(LaterFiles& files) {
  return later_flags(files, [&files] {
    return files.observed.empty() ? std::string("without --observed") : std::string();
  });
}

std::vector<Flag> addition_flags(LaterFiles& files, const std::string& history) {
  return later_flags(files, [&files, &history] {
    return files.observed.empty() && history.empty()
               ? std::string("with neither --observed nor --history")
               : std::string();
  });
}

}  // namespace micrec
