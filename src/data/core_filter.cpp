#include "data/core_filter.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

[[noreturn]] void refuse(const std::string& rule, const std::string& part) {
  throw Error(Cause::usage, "--core=", rule, ": cannot read '", part,
              "'; expected 5, user:5,item:3 or, for one domain, kitchen/user:5.");
}

[[noreturn]] void refuse_second(const std::string& rule, const std::string& part,
                                const std::string& domain, const char* side) {
  throw Error(Cause::usage, "--core=", rule, ": '", part, "' gives the threshold of ", side, "s",
              domain.empty() ? "" : " in " + domain,
              " a second time; give it once, as in 5 (users and items) or user:5,item:3.");
}

std::string describe(const CoreThresholds& thresholds) {
  if (thresholds.user == thresholds.item) return std::to_string(thresholds.user);
  return text("user:", thresholds.user, ",item:", thresholds.item);
}

}  // namespace

CoreThresholds CoreRule::of(const std::string& domain) const {
  const auto found = by_domain.find(domain);
  return found == by_domain.end() ? common : found->second;
}

std::string CoreRule::to_string() const {
  std::vector<std::string> parts;
  if (common.user > 1 || common.item > 1) parts.push_back(describe(common));
  for (const auto& [domain, thresholds] : by_domain) {
    parts.push_back(text(domain, "/user:", thresholds.user));
    parts.push_back(text(domain, "/item:", thresholds.item));
  }
  return join(parts, ",");
}

CoreRule parse_core_rule(const std::string& rule) {
  CoreRule parsed;
  std::set<std::pair<std::string, std::string>> given;  // domain (empty: all), side
  // Two passes, so that a domain's own thresholds change the common ones wherever those stand.
  for (const bool common : {true, false}) {
    for (const std::string& part : split(rule, ',')) {
      const std::size_t slash = part.find('/');
      if ((slash == std::string::npos) != common) continue;
      const std::string threshold = common ? part : part.substr(slash + 1);
      const std::size_t colon = threshold.find(':');
      const std::string side = colon == std::string::npos ? "" : threshold.substr(0, colon);
      const auto number =
          parse_integer(colon == std::string::npos ? threshold : threshold.substr(colon + 1));
      if (!number || *number < 0 || (!common && slash == 0) ||
          (!side.empty() && side != "user" && side != "item") ||
          (side.empty() && colon != std::string::npos)) {
        refuse(rule, part);
      }
      const std::string domain = common ? "" : part.substr(0, slash);
      for (const char* one : {"user", "item"}) {
        if (!side.empty() && side != one) continue;
        if (!given.emplace(domain, one).second) refuse_second(rule, part, domain, one);
      }
      CoreThresholds& target =
          common ? parsed.common
                 : parsed.by_domain.try_emplace(domain, parsed.common).first->second;
      // None and one ask for the same.
      if (side != "item") target.user = std::max<std::int64_t>(1, *number);
      if (side != "user") target.item = std::max<std::int64_t>(1, *number);
    }
  }
  return parsed;
}

CoreReport find_core(const PackedColumn<std::int32_t>& user_column,
                     const PackedColumn<std::int32_t>& item_column, std::int64_t users,
                     std::int64_t items, const CoreThresholds& thresholds,
                     std::vector<std::uint8_t>& keep) {
  CHECK_EQ(user_column.size(), item_column.size());
  PackedReader<std::int32_t> user(user_column);
  PackedReader<std::int32_t> item(item_column);
  CoreReport report;
  keep.assign(user_column.size(), 1);
  if (thresholds.user <= 1 && thresholds.item <= 1) return report;
  std::vector<std::int32_t> user_degree(users, 0);
  std::vector<std::int32_t> item_degree(items, 0);
  for (std::size_t i = 0; i < keep.size(); ++i) {
    ++user_degree[user[i]];
    ++item_degree[item[i]];
  }
  const auto present = [](const std::vector<std::int32_t>& degree) {
    return std::ranges::count_if(degree, [](std::int32_t d) { return d > 0; });
  };
  const std::int64_t users_before = present(user_degree);
  const std::int64_t items_before = present(item_degree);
  // Degrees fall while a round goes on, so that it may take what an earlier part of it exposed;
  // what remains in the end is the same in every order, as the k-core is unique.
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < keep.size(); ++i) {
      if (keep[i] == 0) continue;
      if (user_degree[user[i]] >= thresholds.user && item_degree[item[i]] >= thresholds.item) {
        continue;
      }
      keep[i] = 0;
      --user_degree[user[i]];
      --item_degree[item[i]];
      ++report.interactions_dropped;
      changed = true;
    }
    if (changed) ++report.rounds;
  }
  report.users_dropped = users_before - present(user_degree);
  report.items_dropped = items_before - present(item_degree);
  return report;
}

}  // namespace micrec
