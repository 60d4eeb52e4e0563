#include "data/split_rule.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "data/value_of_rank.h"

namespace micrec {
namespace {

constexpr double kLargestShare = 1e9;  // whose sums are exact enough

constexpr std::pair<const char*, SplitKind> kKinds[] = {
    {"ratio", SplitKind::ratio},
    {"time", SplitKind::time},
    {"global_time", SplitKind::global_time},
    {"leave_one_out", SplitKind::leave_one_out},
    {"files", SplitKind::files},
    {"column", SplitKind::column},
};

const char* name_of(SplitKind kind) {
  for (const auto& [name, candidate] : kKinds) {
    if (candidate == kind) return name;
  }
  return "unknown";
}

bool has_shares(SplitKind kind) {
  return kind == SplitKind::ratio || kind == SplitKind::time || kind == SplitKind::global_time;
}

void refuse_without_timestamps(const SplitRule& rule, const PreparedDataset& dataset) {
  if (rule.kind == SplitKind::ratio || is_given(rule.kind)) return;
  for (const PreparedDomain& domain : dataset.domains) {
    if (domain.timestamp.empty() && domain.interactions() > 0) {
      throw Error(Cause::data, "--split=", rule.to_string(), " needs a time for every ",
                  "interaction, and the domain ", domain.name,
                  " has none; use --split=ratio:8:1:1, or name the column with --columns.");
    }
  }
}

/// Splits each user's interactions by a rank: the highest are test, the next validation. Where some
/// have their split already, the others fill up what the rule lacks there of all of the user's.
/// rank(i) orders the interactions of one user; equal ranks go by the item.
template <typename Rank>
void split_by_user(const SplitRule& rule, PreparedDomain& domain, const Rank& rank) {
  const std::int64_t count = domain.interactions();
  domain.split.resize(count, Split::train);
  PackedReader<std::int32_t> user_of(domain.user);
  std::vector<std::pair<decltype(rank(std::int64_t{})), std::int64_t>> order;
  for (std::int64_t begin = 0; begin < count;) {
    const std::int32_t user = user_of[begin];
    std::int64_t end = begin;
    SplitCounts there;
    order.clear();
    // Within a user the index rises with the item, so it breaks ties as the item would.
    for (; end < count && user_of[end] == user; ++end) {
      if (!domain.is_kept(end)) {
        order.emplace_back(rank(end), end);
        domain.split[end] = Split::train;
      } else if (domain.split[end] == Split::test) {
        ++there.test;
      } else if (domain.split[end] == Split::valid) {
        ++there.valid;
      }
    }
    const SplitCounts counts = split_counts(rule, end - begin);
    const auto size = std::ssize(order);
    const std::int64_t test = std::clamp<std::int64_t>(counts.test - there.test, 0, size);
    const std::int64_t valid = std::clamp<std::int64_t>(counts.valid - there.valid, 0, size - test);
    if (test + valid > 0) {
      // Which they are is asked for, not their order.
      const auto first = order.begin();
      const auto is_later = [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second > b.second;
      };
      std::nth_element(first, first + test + valid, order.end(), is_later);
      std::nth_element(first, first + test, first + test + valid, is_later);
      for (std::int64_t i = 0; i < test + valid; ++i) {
        domain.split[order[i].second] = i < test ? Split::test : Split::valid;
      }
    }
    begin = end;
  }
}

void split_by_ratio(const SplitRule& rule, std::uint64_t seed, PreparedDomain& domain) {
  const Random random(seed, Purpose::split);
  const std::uint32_t stream = domain.random_stream();
  PackedColumn<std::int32_t>::Block users, items;
  std::array<std::uint64_t, PackedColumn<std::int32_t>::kBlock> ranks;  // of a block
  std::span<std::uint64_t> there;
  std::size_t begin = 0;
  split_by_user(rule, domain, [&](std::size_t i) {
    if (i - begin >= there.size()) {
      begin = i / ranks.size() * ranks.size();
      const auto user = domain.user.block(begin, users);
      const auto item = domain.item.block(begin, items);
      there = std::span(ranks).first(user.size());
      for (std::size_t at = 0; at < there.size(); ++at) {
        there[at] =
            static_cast<std::uint64_t>(user[at]) << 32 | static_cast<std::uint32_t>(item[at]);
      }
      random.first_words(there.data(), there.size(), stream);
    }
    return there[i - begin];
  });
}

/// What orders interactions in time: the timestamp and what was rounded off.
class Times {
 public:
  using Time = std::pair<std::int64_t, std::int32_t>;

  explicit Times(const PreparedDomain& domain)
      : has_billionths_(!domain.billionths.empty()),
        timestamp_(domain.timestamp),
        billionths_(domain.billionths) {}
  Time operator[](std::int64_t i) { return {timestamp_[i], has_billionths_ ? billionths_[i] : 0}; }

 private:
  bool has_billionths_;
  PackedReader<std::int64_t> timestamp_;
  PackedReader<std::int32_t> billionths_;
};

void split_by_user_time(const SplitRule& rule, PreparedDomain& domain) {
  Times times(domain);
  split_by_user(rule, domain, [&](std::int64_t i) { return times[i]; });
}

/// Interactions before the first point in time are training, before the second one validation, the
/// rest test. All domains share the two points, as a model that is trained on one domain must not
/// know the future of another.
void split_by_global_time(const SplitRule& rule, PreparedDataset& dataset) {
  using Time = Times::Time;
  const auto for_each_time = [&](const auto& use) {
    for (const PreparedDomain& domain : dataset.domains) {
      Times of_domain(domain);
      for (std::int64_t i = 0; i < domain.interactions(); ++i) {
        if (!domain.is_kept(i)) use(of_domain[i]);
      }
    }
  };
  constexpr std::uint64_t kSign = std::uint64_t{1}
                                  << 63;  // numbers with a sign order as those without
  std::int64_t count = 0;
  for_each_time([&](const Time&) { ++count; });
  if (count == 0) return;
  const double sum = rule.train + rule.valid + rule.test;
  const auto point_after = [&](double share) -> std::pair<bool, Time> {
    const auto rank =
        static_cast<std::int64_t>(std::floor(static_cast<double>(count) * share / sum + 1e-9));
    if (rank >= count) return {false, Time()};
    const RankedValue whole = value_of_rank(rank, [&](const auto& use) {
      for_each_time([&](const Time& time) { use(static_cast<std::uint64_t>(time.first) ^ kSign); });
    });
    const auto seconds = static_cast<std::int64_t>(whole.value ^ kSign);
    const RankedValue rest = value_of_rank(whole.among_equals, [&](const auto& use) {
      for_each_time([&](const Time& time) {
        if (time.first == seconds) use(static_cast<std::uint64_t>(time.second));
      });
    });
    return {true, {seconds, static_cast<std::int32_t>(rest.value)}};
  };
  const auto [has_first, first] = point_after(rule.train);
  const auto [has_second, second] = point_after(rule.train + rule.valid);
  for (PreparedDomain& domain : dataset.domains) {
    domain.split.resize(domain.interactions(), Split::train);
    bool any_training = false;
    Times of_domain(domain);
    for (std::int64_t i = 0; i < domain.interactions(); ++i) {
      if (domain.is_kept(i)) {
        any_training = true;  // as the data set that is extended has
      } else if (has_second && of_domain[i] >= second) {
        domain.split[i] = Split::test;
      } else if (has_first && of_domain[i] >= first) {
        domain.split[i] = Split::valid;
      } else {
        domain.split[i] = Split::train;
        any_training = true;
      }
    }
    if (!any_training) {
      throw Error(Cause::data, "--split=", rule.to_string(), ": the domain ", domain.name,
                  " has no interaction before time ", (has_first ? first : second).first,
                  ", where the training of all domains ends; its times and those of the other "
                  "domains do not fit together, so split per user with --split=time.");
    }
  }
}

}  // namespace

bool is_given(SplitKind kind) { return kind == SplitKind::files || kind == SplitKind::column; }

std::string SplitRule::to_string() const {
  if (!has_shares(kind)) return name_of(kind);
  return text(name_of(kind), ":", train, ":", valid, ":", test);
}

SplitRule parse_split_rule(const std::string& rule) {
  const std::vector<std::string> parts = split(rule, ':');
  SplitRule parsed;
  bool known = false;
  std::vector<std::string> names;
  for (const auto& [name, kind] : kKinds) {
    names.emplace_back(name);
    if (!parts.empty() && parts[0] == name) {
      parsed.kind = kind;
      known = true;
    }
  }
  if (!known) {
    const auto close = nearest(parts.empty() ? "" : parts[0], names);
    throw Error(Cause::usage, "--split=", rule, ": expected one of ", join(names, ", "),
                close ? "; did you mean " + *close + "?" : ".");
  }
  if (parts.size() == 1) return parsed;
  double shares[3] = {0, 0, 0};
  bool readable = has_shares(parsed.kind) && parts.size() == 4;
  for (std::size_t i = 0; readable && i < 3; ++i) {
    const auto share = parse_real(parts[i + 1]);
    readable = share && std::isfinite(*share) && *share >= 0 && *share <= kLargestShare;
    if (readable) shares[i] = *share;
  }
  if (!readable || shares[0] <= 0) {
    throw Error(
        Cause::usage, "--split=", rule, ": expected ",
        has_shares(parsed.kind)
            ? text(parts[0], ":8:1:1, the shares of training (above 0), validation and test")
            : text(parts[0], " alone, without shares"),
        ".");
  }
  parsed.train = shares[0];
  parsed.valid = shares[1];
  parsed.test = shares[2];
  return parsed;
}

SplitCounts split_counts(const SplitRule& rule, std::int64_t n) {
  SplitCounts counts;
  if (n < 3) return counts;
  if (rule.kind == SplitKind::leave_one_out) return {.valid = 1, .test = 1};
  const double sum = rule.train + rule.valid + rule.test;
  const auto part = [&](double share) -> std::int64_t {
    if (share <= 0) return 0;
    // 0.1 / 1.0 of 10 must be 1 although no binary number is 0.1.
    const auto whole =
        static_cast<std::int64_t>(std::floor(static_cast<double>(n) * share / sum + 1e-9));
    return std::max<std::int64_t>(1, whole);
  };
  counts.valid = part(rule.valid);
  counts.test = part(rule.test);
  if (counts.valid + counts.test >= n) {
    std::int64_t& larger = counts.valid > counts.test ? counts.valid : counts.test;
    larger -= counts.valid + counts.test - (n - 1);
  }
  return counts;
}

void assign_splits(const SplitRule& rule, std::uint64_t seed, PreparedDataset& dataset) {
  refuse_without_timestamps(rule, dataset);
  switch (rule.kind) {
    case SplitKind::ratio:
      for (PreparedDomain& domain : dataset.domains) split_by_ratio(rule, seed, domain);
      return;
    case SplitKind::time:
    case SplitKind::leave_one_out:
      for (PreparedDomain& domain : dataset.domains) split_by_user_time(rule, domain);
      return;
    case SplitKind::global_time:
      split_by_global_time(rule, dataset);
      return;
    case SplitKind::files:
    case SplitKind::column:
      for (const PreparedDomain& domain : dataset.domains) {
        CHECK_EQ(domain.split.size(), domain.user.size());
      }
      return;
  }
}

}  // namespace micrec
