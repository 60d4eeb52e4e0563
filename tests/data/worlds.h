#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "data/preparation.h"
#include "data/raw_domain.h"
#include "tests/support/temporary_folder.h"

namespace micrec {

struct Event {
  std::string user;
  std::string item;
  std::int64_t timestamp = 0;
};

inline RawDomain raw_domain(const std::string& name, const std::vector<Event>& events,
                            bool with_timestamps = true) {
  RawDomain raw;
  raw.name = name;
  for (const Event& event : events) {
    raw.user.push_back(raw.users.add(event.user));
    raw.item.push_back(raw.items.add(event.item));
    if (with_timestamps) raw.timestamp.push_back(event.timestamp);
  }
  return raw;
}

/// Random events, some of them repeated; about half of the users have keys that other domains have
/// as well.
inline std::vector<Event> random_events(const std::string& domain, int users, int items, int count,
                                        std::uint64_t seed) {
  const Random random(seed, Purpose::synthetic, 7);
  std::vector<Event> events;
  for (int i = 0; i < count; ++i) {
    const auto user = random.index(users, i, 0);
    const std::string owner = user % 2 == 0 ? "p" : "p-" + domain + "-";
    // The square gives a skewed popularity.
    const double place = random.uniform(i, 1);
    const auto item = static_cast<int>(place * place * items);
    events.push_back({text(owner, user), text(domain, "-", item),
                      static_cast<std::int64_t>(random.index(1000, i, 2))});
  }
  return events;
}

inline const FeatureReader kNoFeatures = [](const PreparedDomain&) {
  return std::vector<FeatureTable>();
};

inline PreparedDataset prepare_quietly(std::vector<RawDomain> raw,
                                       const PreparationOptions& options = {},
                                       const FeatureReader& features = kNoFeatures) {
  std::ostringstream report;
  return prepare(std::move(raw), options, features, report);
}

/// Two domains with shared people and all kinds of users.
inline std::vector<RawDomain> random_world(std::uint64_t seed = 1) {
  std::vector<RawDomain> raw;
  raw.push_back(raw_domain("food", random_events("food", 120, 60, 900, seed)));
  raw.push_back(raw_domain("tools", random_events("tools", 90, 80, 700, seed + 1)));
  return raw;
}

/// Features that say which item they belong to; every third item lacks them.
inline std::vector<FeatureTable> telling_features(const PreparedDomain& domain) {
  FeatureTable table;
  table.modality = "text";
  table.width = 3;
  for (std::int64_t item = 0; item < domain.items(); ++item) {
    table.present.push_back(item % 3 == 0 ? 0 : 1);
  }
  table.read = [](std::int64_t begin, std::int64_t end, float* out) {
    for (std::int64_t item = begin; item < end; ++item) {
      for (int c = 0; c < 3; ++c) {
        *out++ = item % 3 == 0 ? 0.0F : static_cast<float>(10 * item + c);
      }
    }
  };
  return {table};
}

}  // namespace micrec
