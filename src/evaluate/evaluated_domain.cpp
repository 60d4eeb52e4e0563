#include "evaluate/evaluated_domain.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr std::uint8_t kOld = 0;
constexpr std::uint8_t kNew = 1;
constexpr std::uint8_t kCold = 2;

constexpr std::uint64_t kSeedOfAll = ~std::uint64_t{0};  // where none is given

constexpr struct {
  std::int32_t from;
  const char* name;
} kDegreeBuckets[] = {{0, "items_degree_0"},      {1, "items_degree_1_3"},
                      {4, "items_degree_4_7"},    {8, "items_degree_8_15"},
                      {16, "items_degree_16_31"}, {32, "items_degree_32_up"}};

std::uint8_t degree_bucket(std::int32_t degree) {
  std::uint8_t bucket = 0;
  while (bucket + 1U < std::size(kDegreeBuckets) && degree >= kDegreeBuckets[bucket + 1].from) {
    ++bucket;
  }
  return bucket;
}

using Pairs = std::vector<std::pair<std::int32_t, std::int32_t>>;  // (index of user, item)

NumberLists to_lists(Pairs pairs, std::int64_t users) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return lists_of<std::int32_t>(users, [&](const auto& use) {
    for (const auto& [user, item] : pairs) use(user, item);
  });
}

std::string joined(const char* users, const std::string& items) {
  if (*users == '\0') return items.empty() ? "all" : items;
  return items.empty() ? users : text(users, '.', items);
}

/// Fills one domain, step by step, in the order of load().
class DomainLoader {
 public:
  DomainLoader(const EvaluationSource& source, const EvaluationOptions& options,
               std::span<const std::uint8_t> domains_of_person, int number)
      : source_(source),
        options_(options),
        domains_of_person_(domains_of_person),
        number_(number),
        info_(source.dataset.domains()[number]),
        users_begin_(source.space.users_of(number).begin),
        new_users_(source.dataset.new_users(number)),
        any_new_user_(std::count(new_users_.begin(), new_users_.end(), 1) > 0) {}

  EvaluatedDomain load() {
    domain_.name = info_.name;
    choose_candidates();
    choose_users();
    mask_what_is_known();
    refuse_masked_positives();
    place_users();
    add_views();
    number_slices();
    domain_.user = std::move(users_);
    return std::move(domain_);
  }

 private:
  /// All items, or in training those that training knows.
  void choose_candidates() {
    const Ownership& ownership = source_.ownership;
    const auto first_item = ownership.owner.begin() + source_.space.items_of(number_).begin;
    domain_.owner.assign(first_item, first_item + info_.items);
    domain_.first_item_row = std::count(ownership.owner.begin(), first_item, source_.rank);

    const std::vector<std::uint8_t> new_items = source_.dataset.new_items(number_);
    const std::vector<std::uint8_t> cold_items = source_.dataset.cold_items(number_);
    kind_.assign(info_.items, kOld);
    for (std::int64_t i = 0; i < info_.items; ++i) {
      if (new_items[i] != 0) kind_[i] = kNew;
      if (cold_items[i] != 0) kind_[i] = kCold;
    }
    any_hidden_item_ = std::count(kind_.begin(), kind_.end(), kOld) < info_.items;
    domain_.group = kind_;
    if (options_.with_new_nodes) {
      domain_.groups = any_hidden_item_ ? 3 : 1;
    } else {
      for (std::uint8_t& group : domain_.group) {
        if (group != kOld) group = Candidates::kExcluded;
      }
    }
    domain_.candidates =
        info_.items - std::count(domain_.group.begin(), domain_.group.end(), Candidates::kExcluded);
  }

  /// Those of this rank who have at least one relevant item that is a candidate.
  void choose_users() {
    Pairs relevant;                                 // (user number, item)
    std::vector<std::uint8_t> has(info_.users, 0);  // of all ranks: a relevant item
    const auto add = [&](std::int32_t user, std::int32_t item) {
      if (!options_.with_new_nodes && new_users_[user] != 0) return;
      if (domain_.group[item] == Candidates::kExcluded) return;
      has[user] = 1;
      if (is_mine(user)) relevant.emplace_back(user, item);
    };
    source_.dataset.for_each_interaction(number_, options_.split, add);
    leave_out_users(has);
    std::erase_if(relevant, [&](const auto& pair) { return has[pair.first] == 0; });
    std::sort(relevant.begin(), relevant.end());
    index_of_user_.assign(info_.users, -1);
    for (auto& [user, item] : relevant) {
      if (index_of_user_[user] < 0) {
        index_of_user_[user] = static_cast<std::int32_t>(users_.size());
        users_.push_back(user);
      }
      user = index_of_user_[user];
    }
    domain_.positives = to_lists(std::move(relevant), static_cast<std::int64_t>(users_.size()));
  }

  /// Keeps as many users as are wanted, those with the smallest hashes.
  void leave_out_users(std::vector<std::uint8_t>& has) {
    domain_.eligible_users = std::count(has.begin(), has.end(), 1);
    if (options_.most_users == 0) return;
    const std::uint32_t key = key_of_sample(options_.sample_seed.value_or(kSeedOfAll));
    std::vector<std::pair<std::uint32_t, std::int32_t>> users;  // (hash, user)
    for (std::int32_t user = 0; user < info_.users; ++user) {
      if (has[user] != 0) users.emplace_back(mix(static_cast<std::uint32_t>(user) ^ key), user);
    }
    if (static_cast<std::int64_t>(users.size()) <= options_.most_users) return;
    domain_.leaves_out_users = true;
    const auto first_out = users.begin() + options_.most_users;
    std::nth_element(users.begin(), first_out, users.end());
    for (auto user = first_out; user != users.end(); ++user) has[user->second] = 0;
  }

  /// Another one for every seed and domain, so that the samples of domains whose users are numbered
  /// alike are independent.
  std::uint32_t key_of_sample(std::uint64_t seed) const {
    const std::uint32_t of_domain = mix(static_cast<std::uint32_t>(number_) + 1);
    const std::uint32_t of_high = mix(of_domain ^ static_cast<std::uint32_t>(seed >> 32));
    return mix(of_high ^ static_cast<std::uint32_t>(seed));
  }

  /// What users are known to have interacted with before the split: it is not ranked.
  void mask_what_is_known() {
    degree_.assign(info_.items, 0);
    Pairs masked;
    std::vector<Split> splits = {Split::train, Split::later};
    if (options_.split == Split::test) splits.push_back(Split::valid);
    for (const Split split : splits) {
      const auto add = [&](std::int32_t user, std::int32_t item) {
        if (split == Split::train) ++degree_[item];
        const std::int32_t index = index_of_user_[user];
        if (index >= 0) masked.emplace_back(index, item);
      };
      source_.dataset.for_each_interaction(number_, split, add);
    }
    domain_.masked = to_lists(std::move(masked), static_cast<std::int64_t>(users_.size()));
  }

  void refuse_masked_positives() const {
    for (std::size_t u = 0; u < users_.size(); ++u) {
      const std::span<const std::int32_t> mask = domain_.masked.of(static_cast<std::int64_t>(u));
      for (const std::int32_t item : domain_.positives.of(static_cast<std::int64_t>(u))) {
        if (!std::binary_search(mask.begin(), mask.end(), item)) continue;
        throw Error(Cause::data, source_.dataset.path(), ": user ", users_[u], " of domain ",
                    info_.name, " has item ", item, " in '", name_of(options_.split),
                    "' and in an earlier split too; each pair belongs to one split; "
                    "prepare the dataset again");
      }
    }
  }

  /// Rows and classes of the evaluated users. A user's owned row is the number of nodes of mine
  /// that come before.
  void place_users() {
    const std::vector<std::int32_t> person = source_.dataset.person_of_user(number_);
    bool any_overlapping = false;
    bool any_other = false;
    for (const std::int32_t p : person) {
      any_overlapping |= domains_of_person_[p] > 1;
      any_other |= domains_of_person_[p] == 1;
    }
    has_class_[kAllUsers] = true;
    has_class_[kOldUsers] = has_class_[kNewUsers] = any_new_user_ && options_.with_new_nodes;
    has_class_[kOverlappingUsers] = has_class_[kOtherUsers] = any_overlapping && any_other;

    const std::vector<std::int32_t>& owner = source_.ownership.owner;
    std::int64_t row = std::count(owner.begin(), owner.begin() + users_begin_, source_.rank);
    for (std::int32_t user = 0; user < info_.users; ++user) {
      if (!is_mine(user)) continue;
      if (index_of_user_[user] >= 0) {
        domain_.user_row.push_back(row);
        domain_.person.push_back(person[user]);
        const int held_out = new_users_[user] != 0 ? kNewUsers : kOldUsers;
        const int overlap = domains_of_person_[person[user]] > 1 ? kOverlappingUsers : kOtherUsers;
        domain_.user_classes.push_back(
            static_cast<std::uint8_t>(1 << kAllUsers | 1 << held_out | 1 << overlap));
      }
      ++row;
    }
  }

  /// What relevant items can be chosen by.
  void add_views() {
    domain_.views.push_back({.name = "", .crossed = true});
    if (!options_.slices) return;
    if (any_hidden_item_ && options_.with_new_nodes) add_views_of_kinds();
    std::vector<std::uint8_t> bucket(info_.items);
    for (std::int64_t i = 0; i < info_.items; ++i) bucket[i] = degree_bucket(degree_[i]);
    const int degrees = add_field(bucket);
    std::uint8_t number = 0;
    for (const auto& of_degrees : kDegreeBuckets) {
      domain_.views.push_back({.name = of_degrees.name, .field = degrees, .wanted = number++});
    }
    for (const ModalityInfo& modality : info_.modalities) {
      const int field = add_field(source_.dataset.features_present(number_, modality.name));
      domain_.views.push_back({.name = "items_with_" + modality.name, .field = field, .wanted = 1});
      domain_.views.push_back(
          {.name = "items_without_" + modality.name, .field = field, .wanted = 0});
    }
  }

  void add_views_of_kinds() {
    const int field = add_field(kind_);
    constexpr std::pair<std::uint8_t, const char*> kKinds[] = {
        {kOld, "old_items"}, {kNew, "new_items"}, {kCold, "cold_items"}};
    for (const auto& [wanted, name] : kKinds) {
      if (std::count(kind_.begin(), kind_.end(), wanted) == 0) continue;
      domain_.views.push_back({.name = name, .field = field, .wanted = wanted, .crossed = true});
      domain_.views.push_back({.name = text(name, "/among_themselves"),
                               .field = field,
                               .wanted = wanted,
                               .among_themselves = true,
                               .crossed = true});
    }
  }

  int add_field(const std::vector<std::uint8_t>& of_item) {
    std::vector<std::uint8_t>& field = domain_.fields.emplace_back();
    field.reserve(domain_.positives.values.size());
    for (const std::int32_t item : domain_.positives.values) field.push_back(of_item[item]);
    return static_cast<int>(domain_.fields.size()) - 1;
  }

  /// The slices of the report: the views, crossed with the classes of users.
  void number_slices() {
    constexpr const char* kClassNames[kUserClasses] = {"", "old_users", "new_users",
                                                       "overlapping_users", "other_users"};
    for (int c = 0; c < kUserClasses; ++c) {
      if (!has_class_[c] || (!options_.slices && c != kAllUsers)) continue;
      for (ItemView& view : domain_.views) {
        if (c != kAllUsers && !view.crossed) continue;
        view.slice[c] = static_cast<int>(domain_.slice_names.size());
        domain_.slice_names.push_back(joined(kClassNames[c], view.name));
      }
    }
  }

  bool is_mine(std::int32_t user) const {
    return source_.ownership.owner[users_begin_ + user] == source_.rank;
  }

  const EvaluationSource& source_;
  const EvaluationOptions& options_;
  std::span<const std::uint8_t> domains_of_person_;
  int number_;
  const DomainInfo& info_;
  std::int64_t users_begin_;  // node of the domain's first user

  std::vector<std::uint8_t> new_users_;  // (users)
  bool any_new_user_;
  std::vector<std::uint8_t> kind_;  // (items) kOld, kNew or kCold
  bool any_hidden_item_ = false;
  std::vector<std::int32_t> index_of_user_;  // (users) among the evaluated ones, or -1
  std::vector<std::int32_t> users_;          // (evaluated users) number in the domain, rising
  std::vector<std::int32_t> degree_;         // (items) training interactions
  bool has_class_[kUserClasses] = {};
  EvaluatedDomain domain_;
};

}  // namespace

EvaluatedDomain load_evaluated_domain(const EvaluationSource& source,
                                      const EvaluationOptions& options,
                                      std::span<const std::uint8_t> domains_of_person, int domain) {
  return DomainLoader(source, options, domains_of_person, domain).load();
}

void ranks_of(const EvaluatedDomain& domain, const ItemView& view, std::int64_t user,
              std::span<const std::int32_t> ahead, std::vector<std::int32_t>& ranks) {
  ranks.clear();
  for (std::int64_t p = domain.positives.offsets[user]; p < domain.positives.offsets[user + 1];
       ++p) {
    if (view.field >= 0 && domain.fields[view.field][p] != view.wanted) continue;
    const std::int32_t* of_groups = ahead.data() + p * domain.groups;
    ranks.push_back(view.among_themselves
                        ? of_groups[view.wanted]
                        : std::accumulate(of_groups, of_groups + domain.groups, 0));
  }
  std::sort(ranks.begin(), ranks.end());
}

}  // namespace micrec
