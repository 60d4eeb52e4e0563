#include "data/synthetic.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "data/dataset_format.h"

namespace micrec {
namespace {

constexpr int kTaste = 8;                // hidden dimensions
constexpr int kCandidates = 4;           // items of a topic among which taste decides
constexpr double kTopicSharpness = 2.5;  // how much taste decides
constexpr double kItemSharpness = 1.5;
constexpr double kShared = 0.85;     // part of a person's taste that all domains share
constexpr double kItemSpread = 0.6;  // of items around their topic
constexpr double kFeatureNoise = 0.5;
constexpr double kPopularityExponent = 0.8;         // Zipf
constexpr double kActivitySpread = 0.9;             // of the logarithm of a user's interactions
constexpr std::int64_t kFirstTime = 1'400'000'000;  // Unix seconds
constexpr std::int64_t kTimeSpan = 63'072'000;      // two years

using Taste = std::array<float, kTaste>;

/// Streams of Purpose::synthetic (as its time); a domain adds its number times kStreams.
enum Stream : std::uint32_t {
  kPerson,
  kTopic,
  kUserTaste,
  kItemTaste,
  kPopularity,
  kActivity,
  kPairs,
  kTime,
  kMissing,
  kProjection,
  kNoise,
  kStreams,
};

Taste normal_taste(const Random& random, std::uint64_t id) {
  Taste taste;
  for (int c = 0; c < kTaste; c += 2) {
    const auto pair = random.normal(id, c / 2);
    taste[c] = static_cast<float>(pair[0]);
    taste[c + 1] = static_cast<float>(pair[1]);
  }
  return taste;
}

double dot(const Taste& a, const Taste& b) {
  double sum = 0;
  for (int c = 0; c < kTaste; ++c) sum += static_cast<double>(a[c]) * b[c];
  return sum;
}

/// Index drawn with these weights, cumulated. cumulative: (n) rising, n >= 1.
std::size_t draw(std::span<const double> cumulative, double uniform) {
  const auto at =
      std::upper_bound(cumulative.begin(), cumulative.end(), uniform * cumulative.back());
  return std::min<std::size_t>(at - cumulative.begin(), cumulative.size() - 1);
}

/// What the users of a domain choose from.
struct Catalogue {
  std::vector<Taste> topic_taste;                      // (topics)
  std::vector<Taste> item_taste;                       // (items)
  std::vector<std::vector<std::int32_t>> topic_items;  // (topics, items of each)
  std::vector<std::vector<double>> topic_popularity;   // of those items, cumulated
};

/// One of a topic's items, by popularity and taste. id: of this draw.
std::int32_t draw_item(const Catalogue& catalogue, std::size_t topic, const Taste& taste,
                       const Random& pairs, std::uint64_t id) {
  std::int32_t chosen = -1;
  double best = 0;
  for (int c = 0; c < kCandidates; ++c) {
    const std::size_t place = draw(catalogue.topic_popularity[topic], pairs.uniform(id, 1 + 2 * c));
    const std::int32_t candidate = catalogue.topic_items[topic][place];
    // Gumbel noise makes the best of a few a draw from their softmax.
    const double gumbel = -std::log(-std::log(pairs.uniform(id, 2 + 2 * c) + 1e-12));
    const double score =
        kItemSharpness / std::sqrt(kTaste) * dot(taste, catalogue.item_taste[candidate]) + gumbel;
    if (chosen < 0 || score > best) {
      chosen = candidate;
      best = score;
    }
  }
  return chosen;
}

/// The items of a user, none of them twice, in the order in which they were chosen.
std::vector<std::int32_t> choose_items(const Catalogue& catalogue, const Taste& taste,
                                       const Random& pairs, std::int64_t user, std::int64_t count) {
  std::vector<double> topic_weight;
  double sum = 0;
  for (const Taste& topic : catalogue.topic_taste) {
    sum += std::exp(kTopicSharpness / std::sqrt(kTaste) * dot(taste, topic));
    topic_weight.push_back(sum);
  }
  std::vector<std::int32_t> items;
  std::vector<std::int32_t> seen;  // the same, sorted
  std::uint64_t attempt = 0;
  const std::uint64_t give_up = 20 * static_cast<std::uint64_t>(count) + 100;
  while (std::ssize(items) < count) {
    std::int32_t chosen = 0;
    if (attempt < give_up) {
      // 2^24 attempts a user are more than give_up of any user that int32 items allow.
      const std::uint64_t id = static_cast<std::uint64_t>(user) << 32 | attempt++;
      chosen = draw_item(catalogue, draw(topic_weight, pairs.uniform(id, 0)), taste, pairs, id);
    } else {
      // Their favourite topics are used up: the next item they do not have.
      for (const std::int32_t item : seen) {
        if (item != chosen) break;
        ++chosen;
      }
    }
    const auto place = std::lower_bound(seen.begin(), seen.end(), chosen);
    if (place != seen.end() && *place == chosen) continue;
    seen.insert(place, chosen);
    items.push_back(chosen);
  }
  return items;
}

}  // namespace

struct SyntheticWorld::State {
  SyntheticOptions options;
  std::int64_t shared_users = 0;  // they are users 0 .. shared_users - 1 of every domain
  int topics = 1;

  Random random(Stream stream, int domain) const {
    return Random(options.seed, Purpose::synthetic,
                  static_cast<std::uint32_t>(domain) * kStreams + stream);
  }

  std::uint64_t person_of(int domain, std::int64_t user) const {
    if (user < shared_users) return user;
    return shared_users + domain * (options.users - shared_users) + (user - shared_users);
  }

  int topic_of(std::int64_t item) const { return static_cast<int>(item % topics); }

  Taste topic_taste(int domain, int topic) const {
    return normal_taste(random(kTopic, domain), topic);
  }

  Taste item_taste(int domain, std::int64_t item) const {
    const Taste topic = topic_taste(domain, topic_of(item));
    Taste taste = normal_taste(random(kItemTaste, domain), item);
    for (int c = 0; c < kTaste; ++c) {
      taste[c] = topic[c] + static_cast<float>(kItemSpread) * taste[c];
    }
    return taste;
  }

  Taste user_taste(int domain, std::int64_t user) const {
    const Taste shared = normal_taste(random(kPerson, 0), person_of(domain, user));
    Taste taste = normal_taste(random(kUserTaste, domain), user);
    const double own = std::sqrt(1 - kShared * kShared);
    for (int c = 0; c < kTaste; ++c) {
      taste[c] = static_cast<float>(kShared * shared[c] + own * taste[c]);
    }
    return taste;
  }

  Catalogue catalogue(int domain) const {
    Catalogue all;
    for (int topic = 0; topic < topics; ++topic) {
      all.topic_taste.push_back(topic_taste(domain, topic));
    }
    all.item_taste.resize(options.items);
    parallel_for(options.items, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) all.item_taste[i] = item_taste(domain, i);
    });
    // An item's place in the order of popularity is random.
    all.topic_items.resize(topics);
    all.topic_popularity.resize(topics);
    const Permutation place(options.items, options.seed, Purpose::synthetic,
                            static_cast<std::uint32_t>(domain) * kStreams + kPopularity);
    for (std::int64_t item = 0; item < options.items; ++item) {
      const int topic = topic_of(item);
      const double popularity =
          std::pow(1.0 + static_cast<double>(place.at(item)), -kPopularityExponent);
      std::vector<double>& cumulative = all.topic_popularity[topic];
      all.topic_items[topic].push_back(static_cast<std::int32_t>(item));
      cumulative.push_back((cumulative.empty() ? 0 : cumulative.back()) + popularity);
    }
    return all;
  }

  /// End of every user's interactions in the list of all: (users) rising, the last one is
  /// `interactions`.
  std::vector<std::int64_t> ends_of_users(int domain) const {
    const std::int64_t least = std::min<std::int64_t>(3, options.interactions / options.users);
    const Random activity = random(kActivity, domain);
    std::vector<double> weight(options.users);
    for (std::int64_t user = 0; user < options.users; ++user) {
      weight[user] = std::exp(kActivitySpread * activity.normal(user)[0]);
    }
    const std::int64_t most = std::max<std::int64_t>(least, options.items / 2);
    const double sum = std::accumulate(weight.begin(), weight.end(), 0.0);
    const double rest = static_cast<double>(options.interactions - least * options.users);
    std::vector<std::int64_t> end(options.users);
    double ideal = 0;
    std::int64_t used = 0;
    for (std::int64_t user = 0; user < options.users; ++user) {
      // What a capped user leaves goes to the users after them; the sum stays exact.
      ideal += static_cast<double>(least) + rest * weight[user] / sum;
      const std::int64_t left = options.users - 1 - user;
      const std::int64_t wanted = user + 1 == options.users
                                      ? options.interactions - used
                                      : static_cast<std::int64_t>(std::llround(ideal)) - used;
      const std::int64_t low = std::max(least, options.interactions - used - left * most);
      const std::int64_t high = std::min(most, options.interactions - used - left * least);
      used += std::clamp(wanted, low, std::max(low, high));
      end[user] = used;
    }
    return end;
  }
};

SyntheticWorld::SyntheticWorld(const SyntheticOptions& options)
    : state_(std::make_unique<State>()) {
  const auto refuse = [](const auto&... what) { throw Error(Cause::usage, what...); };
  if (options.domains < 1 || options.domains > 1000) {
    refuse("--domains=", options.domains, ": expected 1 to 1000.");
  }
  if (options.users < 1 || options.items < 2) {
    refuse("--users=", options.users, " --items=", options.items,
           ": expected at least 1 user and 2 items.");
  }
  const std::int64_t most =
      options.users *
      std::max<std::int64_t>(options.items / 2,
                             std::min<std::int64_t>(3, options.interactions / options.users));
  if (options.interactions < options.users || options.interactions > most) {
    refuse("--interactions=", options.interactions, ": expected ", options.users,
           " (one a user) to ", most, " (half of the items for every user).");
  }
  if (!(options.overlap >= 0 && options.overlap <= 1) ||
      !(options.missing >= 0 && options.missing <= 1)) {
    refuse("--overlap=", options.overlap, " --missing=", options.missing,
           ": expected shares from 0 to 1.");
  }
  for (const SyntheticModality& modality : options.modalities) {
    if (modality.width < 1 || modality.width > 65536) {
      refuse("--modalities: the width of ", modality.name, " is ", modality.width,
             "; expected 1 to 65536.");
    }
  }
  state_->options = options;
  state_->shared_users = std::llround(options.overlap * static_cast<double>(options.users));
  state_->topics = static_cast<int>(std::clamp<std::int64_t>(options.items / 40, 1, 64));
}

SyntheticWorld::~SyntheticWorld() = default;

std::string SyntheticWorld::domain_name(int number) const {
  constexpr const char* kNames[] = {"books", "films", "games", "music"};
  if (state_->options.domains <= 4) return kNames[number];
  return text("domain", number);
}

RawDomain SyntheticWorld::domain(int number) const {
  const SyntheticOptions& options = state_->options;
  CHECK(0 <= number && number < options.domains);
  RawDomain raw;
  raw.name = domain_name(number);
  char key[64];
  for (std::int64_t user = 0; user < options.users; ++user) {
    std::snprintf(key, sizeof key, "person%09llu",
                  static_cast<unsigned long long>(state_->person_of(number, user)));
    raw.users.add(key);
  }
  for (std::int64_t item = 0; item < options.items; ++item) {
    std::snprintf(key, sizeof key, "%s%09lld", raw.name.c_str(), static_cast<long long>(item));
    raw.items.add(key);
  }

  const Catalogue catalogue = state_->catalogue(number);
  const std::vector<std::int64_t> ends = state_->ends_of_users(number);
  const auto begin_of = [&](std::int64_t user) { return user == 0 ? 0 : ends[user - 1]; };
  const Random pairs = state_->random(kPairs, number);
  const Random times = state_->random(kTime, number);
  constexpr std::int64_t kTogether = 1 << 14;
  std::vector<std::int32_t> item;  // of users made together
  for (std::int64_t first = 0; first < options.users; first += kTogether) {
    const std::int64_t last = std::min(options.users, first + kTogether);
    item.resize(begin_of(last) - begin_of(first));
    parallel_for(last - first, 256, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t user = first + begin; user < first + end; ++user) {
        std::ranges::copy(choose_items(catalogue, state_->user_taste(number, user), pairs, user,
                                       ends[user] - begin_of(user)),
                          item.begin() + (begin_of(user) - begin_of(first)));
      }
    });
    raw.item.append(item);
    for (std::int64_t user = first; user < last; ++user) {
      for (std::int64_t at = begin_of(user); at < ends[user]; ++at) {
        raw.user.push_back(static_cast<std::int32_t>(user));
        raw.timestamp.push_back(kFirstTime + static_cast<std::int64_t>(times.index(kTimeSpan, at)));
      }
    }
  }
  return raw;
}

std::vector<FeatureTable> SyntheticWorld::features(const PreparedDomain& domain) const {
  const SyntheticOptions& options = state_->options;
  int number = 0;
  while (number < options.domains && domain_name(number) != domain.name) ++number;
  CHECK_LT(number, options.domains) << domain.name;
  // Which of our items became which row: preparation may have dropped some.
  auto origin = std::make_shared<std::vector<std::int64_t>>();
  for (const std::string& key : domain.item_keys) {
    std::int64_t item = 0;
    for (std::size_t c = domain.name.size(); c < key.size(); ++c) item = 10 * item + (key[c] - '0');
    CHECK(0 <= item && item < options.items) << key;
    origin->push_back(item);
  }
  std::vector<FeatureTable> tables;
  for (std::size_t m = 0; m < options.modalities.size(); ++m) {
    const SyntheticModality& modality = options.modalities[m];
    FeatureTable table;
    table.modality = modality.name;
    table.width = modality.width;
    const auto draw_number = static_cast<std::uint32_t>(m);
    const Random missing = state_->random(kMissing, number);
    for (const std::int64_t item : *origin) {
      table.present.push_back(missing.uniform(item, draw_number) >= options.missing ? 1 : 0);
    }
    // One projection a modality serves all domains, as one encoder would.
    const Random projection = state_->random(kProjection, 0);
    auto columns = std::make_shared<std::vector<Taste>>();
    for (std::int64_t c = 0; c < modality.width; ++c) {
      columns->push_back(normal_taste(
          projection, static_cast<std::uint64_t>(m) << 32 | static_cast<std::uint64_t>(c)));
    }
    const Random noise = state_->random(kNoise, number);
    table.read = [this, number, origin, columns, noise, draw_number, present = table.present,
                  width = modality.width](std::int64_t begin, std::int64_t end, float* out) {
      parallel_for(end - begin, 1 << 10, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t row = first; row < last; ++row) {
          float* values = out + row * width;
          if (present[begin + row] == 0) {
            std::fill(values, values + width, 0.0F);
            continue;
          }
          const std::int64_t item = (*origin)[begin + row];
          const Taste taste = state_->item_taste(number, item);
          for (std::int64_t c = 0; c < width; ++c) {
            const std::uint64_t id =
                static_cast<std::uint64_t>(item) << 17 | static_cast<std::uint64_t>(c);
            const double clean = dot(taste, (*columns)[c]) / std::sqrt(kTaste);
            values[c] =
                static_cast<float>(clean + kFeatureNoise * noise.normal(id, draw_number)[0]);
          }
        }
      });
    };
    tables.push_back(std::move(table));
  }
  std::ranges::sort(tables, {}, &FeatureTable::modality);
  return tables;
}

std::vector<SyntheticModality> parse_synthetic_modalities(const std::string& value) {
  std::vector<SyntheticModality> modalities;
  std::set<std::string> names;
  for (const std::string& part : split(value, ',')) {
    const std::size_t colon = std::min(part.find(':'), part.size());
    const std::string name = part.substr(0, colon);
    const std::int64_t width =
        parse_integer(std::string_view(part).substr(std::min(colon + 1, part.size()))).value_or(0);
    if (width < 1 || !dataset_format::is_valid_name(name) || !names.insert(name).second) {
      throw Error(
          Cause::usage, "--modalities=", value, ": cannot read '", part,
          "'; expected NAME:WIDTH with commas between, as in text:32,image:48, each name once.");
    }
    modalities.push_back({name, width});
  }
  return modalities;
}

std::string to_text(const std::vector<SyntheticModality>& modalities) {
  std::vector<std::string> parts;
  for (const auto& [name, width] : modalities) parts.push_back(text(name, ":", width));
  return join(parts, ",");
}

}  // namespace micrec
