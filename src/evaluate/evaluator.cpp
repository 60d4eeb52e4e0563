#include "evaluate/evaluator.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr std::int64_t kChunk = 1 << 20;     // interactions read at a time
constexpr double kUnit = 1.0 / (1LL << 36);  // metrics are added as multiples of it
constexpr std::uint8_t kOld = 0;
constexpr std::uint8_t kNew = 1;
constexpr std::uint8_t kCold = 2;

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

ItemLists to_lists(Pairs pairs, std::int64_t users) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  ItemLists lists;
  lists.offsets.assign(users + 1, 0);
  lists.items.reserve(pairs.size());
  for (const auto& [user, item] : pairs) {
    ++lists.offsets[user + 1];
    lists.items.push_back(item);
  }
  for (std::int64_t user = 0; user < users; ++user) lists.offsets[user + 1] += lists.offsets[user];
  return lists;
}

std::span<const float> values_of(const at::Tensor& rows) {
  return {rows.const_data_ptr<float>(), static_cast<std::size_t>(rows.numel())};
}

std::string joined(const char* users, const std::string& items) {
  if (*users == '\0') return items.empty() ? "all" : items;
  return items.empty() ? users : text(users, '.', items);
}

}  // namespace

Evaluator::Evaluator(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
                     int rank, EvaluationOptions options)
    : options_(std::move(options)), ranks_(ownership.ranks) {
  CHECK(options_.split == Split::valid || options_.split == Split::test);
  CHECK(!options_.k.empty());
  for (const std::int64_t k : options_.k) CHECK_GE(k, 1);
  CHECK_EQ(space.domains(), static_cast<int>(dataset.domains().size()));
  CHECK_EQ(static_cast<std::int64_t>(ownership.owner.size()), space.nodes());
  owned_rows_ = std::count(ownership.owner.begin(), ownership.owner.end(), rank);
  owned_users_ = std::count(ownership.owner.begin(), ownership.owner.begin() + space.users(), rank);

  std::vector<std::uint8_t> domains_of_person(dataset.people(), 0);
  for (int d = 0; d < space.domains(); ++d) {
    for (const std::int32_t person : dataset.person_of_user(d)) {
      domains_of_person[person] = std::min(domains_of_person[person] + 1, 2);
    }
  }
  domains_.resize(space.domains());
  for (int d = 0; d < space.domains(); ++d) {
    load(dataset, space, ownership, rank, d, domains_of_person, domains_[d]);
  }
}

void Evaluator::load(const DatasetFile& dataset, const NodeSpace& space, const Ownership& ownership,
                     int rank, int number, const std::vector<std::uint8_t>& domains_of_person,
                     Domain& domain) const {
  const DomainInfo& info = dataset.domains()[number];
  domain.name = info.name;
  const auto owner_of_user = ownership.owner.begin() + space.users_of(number).begin;
  const auto first_item = ownership.owner.begin() + space.items_of(number).begin;
  domain.owner.assign(first_item, first_item + info.items);
  domain.first_item_row = std::count(ownership.owner.begin(), first_item, rank);

  const std::vector<std::uint8_t> new_users = dataset.new_users(number);
  const std::vector<std::uint8_t> new_items = dataset.new_items(number);
  const std::vector<std::uint8_t> cold_items = dataset.cold_items(number);
  std::vector<std::uint8_t> kind(info.items, kOld);
  for (std::int64_t i = 0; i < info.items; ++i) {
    if (new_items[i] != 0) kind[i] = kNew;
    if (cold_items[i] != 0) kind[i] = kCold;
  }
  const bool any_new_user = std::count(new_users.begin(), new_users.end(), 1) > 0;
  const bool any_hidden_item = std::count(kind.begin(), kind.end(), kOld) < info.items;
  domain.group = kind;
  if (options_.with_new_nodes) {
    domain.groups = any_hidden_item ? 3 : 1;
  } else {
    for (std::uint8_t& group : domain.group) {
      if (group != kOld) group = Candidates::kExcluded;
    }
  }
  domain.candidates =
      info.items - std::count(domain.group.begin(), domain.group.end(), Candidates::kExcluded);

  // The users to evaluate: mine, with at least one relevant item that is a candidate.
  Pairs relevant;  // (user number, item)
  dataset.for_each_chunk(number, options_.split, kChunk, [&](const Interactions& chunk) {
    for (std::size_t n = 0; n < chunk.user.size(); ++n) {
      const std::int32_t user = chunk.user[n];
      if (owner_of_user[user] != rank) continue;
      if (!options_.with_new_nodes && new_users[user] != 0) continue;
      if (domain.group[chunk.item[n]] == Candidates::kExcluded) continue;
      relevant.emplace_back(user, chunk.item[n]);
    }
  });
  std::sort(relevant.begin(), relevant.end());
  std::vector<std::int32_t> index_of_user(info.users, -1);
  std::vector<std::int32_t> users;
  for (auto& [user, item] : relevant) {
    if (index_of_user[user] < 0) {
      index_of_user[user] = static_cast<std::int32_t>(users.size());
      users.push_back(user);
    }
    user = index_of_user[user];
  }
  const auto user_count = static_cast<std::int64_t>(users.size());
  domain.positives = to_lists(std::move(relevant), user_count);

  std::vector<std::int32_t> degree(info.items, 0);
  Pairs masked;
  std::vector<Split> mask_splits = {Split::train, Split::later};
  if (options_.split == Split::test) mask_splits.push_back(Split::valid);
  for (const Split split : mask_splits) {
    dataset.for_each_chunk(number, split, kChunk, [&](const Interactions& chunk) {
      for (std::size_t n = 0; n < chunk.user.size(); ++n) {
        if (split == Split::train) ++degree[chunk.item[n]];
        const std::int32_t user = index_of_user[chunk.user[n]];
        if (user >= 0) masked.emplace_back(user, chunk.item[n]);
      }
    });
  }
  domain.masked = to_lists(std::move(masked), user_count);
  for (std::int64_t u = 0; u < user_count; ++u) {
    const std::span<const std::int32_t> mask = domain.masked.of(u);
    for (const std::int32_t item : domain.positives.of(u)) {
      if (std::binary_search(mask.begin(), mask.end(), item)) {
        throw Error(Cause::data,
                    text(dataset.path(), ": user ", users[u], " of domain ", info.name,
                         " has item ", item, " in '", name_of(options_.split),
                         "' and in an earlier split too; each pair belongs to one split; "
                         "prepare the dataset again"));
      }
    }
  }

  // Rows and classes of the users. A user's owned row is the number of nodes of mine that come
  // before.
  const std::vector<std::int32_t> person = dataset.person_of_user(number);
  bool any_overlapping = false;
  bool any_other = false;
  for (const std::int32_t p : person) {
    any_overlapping |= domains_of_person[p] > 1;
    any_other |= domains_of_person[p] == 1;
  }
  const bool has_class[kUserClasses] = {true, any_new_user && options_.with_new_nodes,
                                        any_new_user && options_.with_new_nodes,
                                        any_overlapping && any_other, any_overlapping && any_other};
  std::int64_t row = std::count(ownership.owner.begin(), owner_of_user, rank);
  std::int64_t u = 0;
  for (std::int32_t user = 0; u < user_count; ++user) {
    if (owner_of_user[user] != rank) continue;
    if (user == users[u]) {
      domain.user_row.push_back(row);
      const int held_out = new_users[user] != 0 ? kNewUsers : kOldUsers;
      const int overlap = domains_of_person[person[user]] > 1 ? kOverlappingUsers : kOtherUsers;
      domain.user_classes.push_back(
          static_cast<std::uint8_t>(1 << kAllUsers | 1 << held_out | 1 << overlap));
      ++u;
    }
    ++row;
  }

  // What relevant items can be chosen by, and the slices that follow.
  const auto add_field = [&](const std::vector<std::uint8_t>& of_item) {
    std::vector<std::uint8_t>& field = domain.fields.emplace_back();
    field.reserve(domain.positives.items.size());
    for (const std::int32_t item : domain.positives.items) field.push_back(of_item[item]);
    return static_cast<int>(domain.fields.size()) - 1;
  };
  domain.views.push_back({.name = "", .crossed = true});
  if (options_.slices) {
    if (any_hidden_item && options_.with_new_nodes) {
      const int field = add_field(kind);
      constexpr std::pair<std::uint8_t, const char*> kKinds[] = {
          {kOld, "old_items"}, {kNew, "new_items"}, {kCold, "cold_items"}};
      for (const auto& [wanted, name] : kKinds) {
        if (std::count(kind.begin(), kind.end(), wanted) == 0) continue;
        domain.views.push_back({.name = name, .field = field, .wanted = wanted, .crossed = true});
        domain.views.push_back({.name = text(name, "/among_themselves"),
                                .field = field,
                                .wanted = wanted,
                                .among_themselves = true,
                                .crossed = true});
      }
    }
    std::vector<std::uint8_t> bucket(info.items);
    for (std::int64_t i = 0; i < info.items; ++i) bucket[i] = degree_bucket(degree[i]);
    const int degrees = add_field(bucket);
    for (std::uint8_t b = 0; b < std::size(kDegreeBuckets); ++b) {
      domain.views.push_back({.name = kDegreeBuckets[b].name, .field = degrees, .wanted = b});
    }
    for (const ModalityInfo& modality : info.modalities) {
      const int field = add_field(dataset.features_present(number, modality.name));
      domain.views.push_back({.name = "items_with_" + modality.name, .field = field, .wanted = 1});
      domain.views.push_back(
          {.name = "items_without_" + modality.name, .field = field, .wanted = 0});
    }
  }
  constexpr const char* kClassNames[kUserClasses] = {"", "old_users", "new_users",
                                                     "overlapping_users", "other_users"};
  for (int c = 0; c < kUserClasses; ++c) {
    if (!has_class[c] || (!options_.slices && c != kAllUsers)) continue;
    for (ItemView& view : domain.views) {
      if (c != kAllUsers && !view.crossed) continue;
      view.slice[c] = static_cast<int>(domain.slice_names.size());
      domain.slice_names.push_back(joined(kClassNames[c], view.name));
    }
  }
}

std::vector<std::int32_t> Evaluator::count_items_ahead(const Domain& domain, const at::Tensor& z,
                                                       Communicator& communicator) const {
  const std::int64_t dim = z.size(1);
  const auto items = static_cast<std::int64_t>(domain.group.size());
  const std::int64_t block =
      std::max<std::int64_t>(1, options_.block_bytes / (dim * std::int64_t{sizeof(float)}));

  const at::Tensor user_rows =
      z.index_select(0, at::tensor(domain.user_row, at::kLong).to(z.device())).cpu().contiguous();
  const std::span<const float> users = values_of(user_rows);

  const auto gather = [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> rows_per_rank(ranks_, 0);
    for (std::int64_t i = begin; i < end; ++i) ++rows_per_rank[domain.owner[i]];
    std::vector<std::int64_t> next(ranks_, 0);
    for (int q = 1; q < ranks_; ++q) next[q] = next[q - 1] + rows_per_rank[q - 1];
    std::vector<std::int32_t> row_of(end - begin);
    for (std::int64_t i = begin; i < end; ++i) {
      row_of[i - begin] = static_cast<std::int32_t>(next[domain.owner[i]]++);
    }
    const int rank = communicator.rank();
    const std::int64_t first = domain.first_item_row +
                               std::count(domain.owner.begin(), domain.owner.begin() + begin, rank);
    const at::Tensor rows =
        communicator
            .all_gather("evaluate.items", z.narrow(0, first, rows_per_rank[rank]).contiguous(),
                        rows_per_rank)
            .cpu()
            .contiguous();
    return Candidates(values_of(rows), dim, begin, row_of,
                      std::span(domain.group).subspan(begin, end - begin), domain.groups,
                      options_.threads);
  };

  std::vector<float> scores(domain.positives.items.size());
  std::vector<std::int32_t> ahead(domain.positives.items.size() * domain.groups, 0);
  const auto score = [&](const Candidates& candidates) {
    score_pairs(candidates, users, domain.positives, options_.threads, scores);
  };
  const auto count = [&](const Candidates& candidates) {
    count_ahead(candidates, users, domain.positives, scores, domain.masked, options_.threads,
                ahead);
  };
  if (items <= block) {
    const Candidates candidates = gather(0, items);
    score(candidates);
    count(candidates);
    return ahead;
  }
  // A relevant item may be in any block and is compared with all: its score must be known before
  // the first.
  for (std::int64_t begin = 0; begin < items; begin += block) {
    score(gather(begin, std::min(items, begin + block)));
  }
  for (std::int64_t begin = 0; begin < items; begin += block) {
    count(gather(begin, std::min(items, begin + block)));
  }
  return ahead;
}

void Evaluator::add_metrics(const Domain& domain, const std::vector<std::int32_t>& ahead,
                            std::int64_t* sums) const {
  const MetricTable metrics(options_.k, domain.candidates);
  const std::int64_t width = 2 + metrics.values();  // users, positives, metrics
  const auto slices = static_cast<std::int64_t>(domain.slice_names.size());
  std::mutex mutex;
  parallel_for(domain.positives.users(), 1024, options_.threads,
               [&](std::int64_t begin, std::int64_t end) {
                 std::vector<std::int64_t> own(slices * width, 0);
                 std::vector<std::int32_t> ranks;
                 std::vector<double> values(metrics.values());
                 for (std::int64_t user = begin; user < end; ++user) {
                   for (const ItemView& view : domain.views) {
                     ranks.clear();
                     for (std::int64_t p = domain.positives.offsets[user];
                          p < domain.positives.offsets[user + 1]; ++p) {
                       if (view.field >= 0 && domain.fields[view.field][p] != view.wanted) continue;
                       const std::int32_t* of_groups = ahead.data() + p * domain.groups;
                       if (view.among_themselves) {
                         ranks.push_back(of_groups[view.wanted]);
                       } else {
                         std::int32_t rank = 0;
                         for (int g = 0; g < domain.groups; ++g) rank += of_groups[g];
                         ranks.push_back(rank);
                       }
                     }
                     if (ranks.empty()) continue;
                     std::sort(ranks.begin(), ranks.end());
                     metrics.compute(ranks, values);
                     for (int c = 0; c < kUserClasses; ++c) {
                       if (view.slice[c] < 0 || (domain.user_classes[user] >> c & 1) == 0) continue;
                       std::int64_t* sum = own.data() + view.slice[c] * width;
                       sum[0] += 1;
                       sum[1] += static_cast<std::int64_t>(ranks.size());
                       for (std::size_t v = 0; v < values.size(); ++v)
                         sum[2 + v] += std::llround(values[v] / kUnit);
                     }
                   }
                 }
                 const std::lock_guard<std::mutex> lock(mutex);
                 for (std::size_t n = 0; n < own.size(); ++n) sums[n] += own[n];
               });
}

Report Evaluator::evaluate(const at::Tensor& z, Communicator& communicator) const {
  CHECK_EQ(z.dim(), 2);
  CHECK_EQ(z.size(0), owned_rows_);
  CHECK_GE(z.size(1), 1);
  CHECK(z.scalar_type() == at::kFloat) << "embeddings must be float32";
  CHECK_EQ(communicator.size(), ranks_);
  const at::Tensor rows = z.detach().contiguous();

  // All ranks must come to the same decision here, or those that go on would wait for the others.
  const auto largest_norm = [&](std::int64_t first, std::int64_t count) {
    const at::Tensor part = rows.narrow(0, first, count).cpu();
    return largest_row_norm(values_of(part), part.size(1), options_.threads);
  };
  const double own_norms[] = {largest_norm(0, owned_users_),
                              largest_norm(owned_users_, owned_rows_ - owned_users_)};
  at::Tensor norms = at::tensor(at::ArrayRef<double>(own_norms), at::kDouble).to(z.device());
  communicator.all_reduce("evaluate.norms", norms, Reduction::max);
  const at::Tensor host_norms = norms.cpu();
  const double user_norm = host_norms[0].item<double>();
  const double item_norm = host_norms[1].item<double>();
  if (!scores_are_finite(user_norm, item_norm)) {
    throw Error(Cause::diverged,
                text("embeddings give scores that are not finite (largest norms: ", user_norm,
                     " of a user, ", item_norm,
                     " of an item), so items cannot be ranked; train again with a lower --lr"));
  }

  const std::int64_t width = 2 + MetricTable(options_.k, 1).values();
  std::int64_t slices = 0;
  for (const Domain& domain : domains_)
    slices += static_cast<std::int64_t>(domain.slice_names.size());
  at::Tensor sums = at::zeros({slices, width}, at::kLong);
  std::int64_t* next = sums.data_ptr<std::int64_t>();
  for (const Domain& domain : domains_) {
    add_metrics(domain, count_items_ahead(domain, rows, communicator), next);
    next += static_cast<std::int64_t>(domain.slice_names.size()) * width;
  }
  sums = sums.to(z.device());
  communicator.all_reduce("evaluate.metrics", sums);
  sums = sums.cpu();

  Report report;
  report.split = options_.split;
  report.k = options_.k;
  const std::int64_t* sum = sums.const_data_ptr<std::int64_t>();
  for (const Domain& domain : domains_) {
    DomainReport& out = report.domains.emplace_back();
    out.name = domain.name;
    out.candidates = domain.candidates;
    for (const std::string& name : domain.slice_names) {
      SliceReport slice = {name, sum[0], sum[1], std::vector<double>(width - 2, 0.0)};
      for (std::int64_t v = 0; v < width - 2 && slice.users > 0; ++v) {
        slice.values[v] =
            static_cast<double>(sum[2 + v]) * kUnit / static_cast<double>(slice.users);
      }
      if (slice.users > 0 || name == "all") out.slices.push_back(std::move(slice));
      sum += width;
    }
  }
  return report;
}

}  // namespace micrec
