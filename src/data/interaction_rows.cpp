#include "data/interaction_rows.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace micrec {

std::vector<InteractionRow> take_rows(RawDomain& raw, const std::vector<std::int32_t>& user_number,
                                      const std::vector<std::int32_t>& item_number) {
  std::vector<InteractionRow> rows(raw.user.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = {.user = user_number[raw.user[i]],
               .item = item_number[raw.item[i]],
               .timestamp = raw.timestamp.empty() ? 0 : raw.timestamp[i],
               .billionths = raw.billionths.empty() ? 0 : raw.billionths[i],
               .split = raw.given_split.empty() ? Split::train : raw.given_split[i]};
  }
  std::vector<std::int32_t>().swap(raw.user);
  std::vector<std::int32_t>().swap(raw.item);
  std::vector<std::int64_t>().swap(raw.timestamp);
  std::vector<std::int32_t>().swap(raw.billionths);
  std::vector<Split>().swap(raw.given_split);
  std::sort(rows.begin(), rows.end(), [](const InteractionRow& a, const InteractionRow& b) {
    return std::tie(a.user, a.item, a.split, a.timestamp, a.billionths) <
           std::tie(b.user, b.item, b.split, b.timestamp, b.billionths);
  });
  return rows;
}

void drop_repeated(std::vector<InteractionRow>& rows, const std::string& domain, SplitKind split,
                   std::ostream& report) {
  std::int64_t across_splits = 0;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (kept > 0 && rows[i].user == rows[kept - 1].user && rows[i].item == rows[kept - 1].item) {
      if (rows[i].split != rows[kept - 1].split) ++across_splits;
      continue;
    }
    rows[kept++] = rows[i];
  }
  const auto dropped = static_cast<std::int64_t>(rows.size() - kept);
  rows.resize(kept);
  if (dropped == 0) return;
  report << domain << ": " << with_commas(dropped) << (dropped == 1 ? " repeat" : " repeats")
         << " of a user's item dropped";
  if (across_splits > 0) {
    report << ", " << with_commas(across_splits) << " of them in two of the "
           << (split == SplitKind::column ? "split's parts" : "files")
           << " (kept where it comes first: training, validation, test)";
  } else {
    report << (is_given(split) ? "" : ", the earliest kept");
  }
  report << "\n";
}

}  // namespace micrec
