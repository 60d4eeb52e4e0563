#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/preparation.h"
#include "data/raw_domain.h"

namespace micrec {

struct SyntheticModality {
  std::string name;
  std::int64_t width = 0;
};

/// "text:32,image:48": names and widths, each name once; empty: none. Errors: Error(usage).
std::vector<SyntheticModality> parse_synthetic_modalities(const std::string& value);
/// As parse_synthetic_modalities() takes them.
std::string to_text(const std::vector<SyntheticModality>& modalities);

/// What made-up data look like. Sizes are those of each domain.
struct SyntheticOptions {
  int domains = 2;
  std::int64_t users = 2000;
  std::int64_t items = 1000;
  std::int64_t interactions = 40000;
  double overlap = 0.5;  ///< share of a domain's users who are users of all other domains too
  std::vector<SyntheticModality> modalities = {{"text", 32}, {"image", 48}};
  double missing = 0.3;  ///< share of items that lack a modality, for each modality
  std::uint64_t seed = 0;
};

/// Made-up interactions with the structure that the model is made for: users and items have hidden
/// tastes, items have topics and a skewed popularity, some users are busier than others, people
/// have similar tastes in all their domains, and features are a noisy linear image of an item's
/// taste. Everything is a function of the options, whatever the threads.
///
/// A user's item is drawn topic first (by taste), then among a few items of that topic drawn by
/// popularity (by taste again); so the time is linear in the interactions.
class SyntheticWorld {
 public:
  /// Errors   Error(usage) where the sizes do not fit together.
  explicit SyntheticWorld(const SyntheticOptions& options);
  ~SyntheticWorld();
  SyntheticWorld(const SyntheticWorld&) = delete;
  SyntheticWorld& operator=(const SyntheticWorld&) = delete;

  /// Interactions of one domain, with times; every user has at least min(3, interactions / users).
  RawDomain domain(int number) const;
  std::string domain_name(int number) const;

  /// Features of a domain made by domain(), found again by the item keys. Valid while this object
  /// lives.
  std::vector<FeatureTable> features(const PreparedDomain& domain) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace micrec
