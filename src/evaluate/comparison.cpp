#include "evaluate/comparison.h"

#include <glog/logging.h>

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr double kEqual = 1e-9;  // sums of the same discounts in another order differ by less

/// A stream of random numbers a slice, the same whatever other slices there are (FNV-1a).
std::uint32_t stream_of(const std::string& domain, const std::string& slice) {
  std::uint32_t hash = 2166136261U;
  for (const char c : domain + "/" + slice) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619U;
  }
  return hash;
}

void refuse_other_splits(const std::vector<NamedRun>& runs) {
  const NamedRun& first = runs.front();
  for (const NamedRun& run : runs) {
    if (run.metrics.origin.split == first.metrics.origin.split) continue;
    throw Error(Cause::data, run.name, " was evaluated on '", name_of(run.metrics.origin.split),
                "' and ", first.name, " on '", name_of(first.metrics.origin.split),
                "', so their users look for different items; evaluate both with the same "
                "--split");
  }
}

/// In what the data of the runs are not alike.
std::vector<std::string> warnings_of_origins(const std::vector<NamedRun>& runs) {
  std::vector<std::string> warnings;
  const auto& [first_name, first] = runs.front();
  for (std::size_t r = 1; r < runs.size(); ++r) {
    const auto& [name, metrics] = runs[r];
    const auto differ = [&](const char* what, const std::string& here, const std::string& there) {
      if (here == there) return;
      warnings.push_back(text(name, " has another ", what, " (", here.empty() ? "none" : here,
                              ") than ", first_name, " (", there.empty() ? "none" : there,
                              "): users are paired by their keys, and a difference may be one of "
                              "the data"));
    };
    differ("data set", metrics.origin.dataset_fingerprint, first.origin.dataset_fingerprint);
    differ("split rule", metrics.origin.split_rule, first.origin.split_rule);
    differ("hold-out", metrics.origin.hold_out, first.origin.hold_out);
  }
  return warnings;
}

const PerUserDomain* find_domain(const PerUserMetrics& metrics, const std::string& name) {
  const auto found = std::ranges::find(metrics.domains, name, &PerUserDomain::name);
  return found == metrics.domains.end() ? nullptr : &*found;
}

const PerUserSlice* find_slice(const PerUserDomain& domain, const std::string& name) {
  const auto found = std::ranges::find(domain.slices, name, &PerUserSlice::name);
  return found == domain.slices.end() ? nullptr : &*found;
}

/// Where the users of a domain, by their rows in the first run, are in the others.
class Pairing {
 public:
  explicit Pairing(std::vector<const PerUserDomain*> domains) : domains_(std::move(domains)) {
    const std::vector<std::string>& first = domains_.front()->user;
    for (const PerUserDomain* domain : domains_) {
      std::unordered_map<std::string, std::int32_t> row_of;
      for (const std::string& key : domain->user) {
        row_of.emplace(key, static_cast<std::int32_t>(row_of.size()));
      }
      std::vector<std::int32_t>& rows = row_.emplace_back();
      for (const std::string& key : first) {
        const auto found = row_of.find(key);
        rows.push_back(found == row_of.end() ? -1 : found->second);
      }
    }
  }

  std::size_t runs() const { return domains_.size(); }

  /// The users of a slice who are in it in every run: (users, runs) places in the slice's columns.
  std::vector<std::int32_t> places(const std::string& slice) const {
    std::vector<std::vector<std::int32_t>> place_of_row;  // [run] (rows) or -1
    for (const PerUserDomain* domain : domains_) {
      std::vector<std::int32_t>& place = place_of_row.emplace_back(domain->user.size(), -1);
      std::int32_t next = 0;
      for (const std::int32_t row : find_slice(*domain, slice)->row) place[row] = next++;
    }
    std::vector<std::int32_t> places;
    for (std::size_t user = 0; user < domains_.front()->user.size(); ++user) {
      const std::size_t before = places.size();
      for (std::size_t run = 0; run < runs(); ++run) {
        const std::int32_t row = row_[run][user];
        const std::int32_t place = row < 0 ? -1 : place_of_row[run][row];
        if (place >= 0) places.push_back(place);
      }
      if (places.size() < before + runs()) places.resize(before);
    }
    return places;
  }

  /// Keys of the users of places(slice), in their order.
  std::vector<std::string> keys(const std::string& slice) const {
    const PerUserSlice& first = *find_slice(*domains_.front(), slice);
    const std::vector<std::int32_t> place = places(slice);
    std::vector<std::string> keys;
    for (std::size_t n = 0; n < place.size(); n += runs()) {
      keys.push_back(domains_.front()->user[first.row[place[n]]]);
    }
    return keys;
  }

  const PerUserSlice& slice(std::size_t run, const std::string& name) const {
    return *find_slice(*domains_[run], name);
  }
  const PerUserDomain& domain(std::size_t run) const { return *domains_[run]; }

 private:
  std::vector<const PerUserDomain*> domains_;   // [run]
  std::vector<std::vector<std::int32_t>> row_;  // [run] (users of the first run) row there, or -1
};

/// Values of paired users, and what resampling them gave.
struct Samples {
  std::int64_t users = 0;
  std::vector<double> values;  // (users, metrics, runs)
  std::vector<double> means;   // (resamples, metrics, runs)
};

/// One metric of one run out of what its columns say. `first` and `own` are columns.
RunFigures figures_of(const Samples& samples, std::size_t columns, std::size_t first,
                      std::size_t own) {
  RunFigures figures;
  double first_value = 0;
  std::int64_t better = 0;
  std::int64_t worse = 0;
  for (std::int64_t user = 0; user < samples.users; ++user) {
    const double before = samples.values[user * columns + first];
    const double now = samples.values[user * columns + own];
    figures.value += now;
    first_value += before;
    better += now > before + kEqual;
    worse += now < before - kEqual;
  }
  const auto users = static_cast<double>(samples.users);
  figures.value /= users;
  figures.difference = figures.value - first_value / users;
  figures.better = static_cast<double>(better) / users;
  figures.worse = static_cast<double>(worse) / users;
  std::vector<double> values;
  std::vector<double> differences;
  for (std::size_t r = 0; r < samples.means.size(); r += columns) {
    values.push_back(samples.means[r + own]);
    differences.push_back(samples.means[r + own] - samples.means[r + first]);
  }
  figures.interval = middle_95(std::move(values));
  if (own != first) figures.difference_interval = middle_95(std::move(differences));
  return figures;
}

Samples sample(const Pairing& pairing, const std::string& slice, std::size_t metrics,
               const std::string& domain, const BootstrapOptions& options) {
  const std::vector<std::int32_t> places = pairing.places(slice);
  const std::size_t runs = pairing.runs();
  Samples samples;
  samples.users = static_cast<std::int64_t>(places.size() / runs);
  samples.values.reserve(places.size() * metrics);
  for (std::int64_t user = 0; user < samples.users; ++user) {
    for (std::size_t m = 0; m < metrics; ++m) {
      for (std::size_t run = 0; run < runs; ++run) {
        samples.values.push_back(pairing.slice(run, slice).values[m][places[user * runs + run]]);
      }
    }
  }
  if (samples.users == 0) return samples;
  samples.means = resampled_means(samples.values, static_cast<std::int64_t>(metrics * runs),
                                  options, stream_of(domain, slice));
  return samples;
}

/// In what the users of a domain are not alike.
void warn_of_users(const std::vector<NamedRun>& runs, const Pairing& pairing,
                   const std::string& domain, std::vector<std::string>& warnings) {
  const std::vector<std::int32_t> places = pairing.places("all");
  const std::size_t paired = places.size() / runs.size();
  std::int64_t other_positives = 0;
  for (std::size_t user = 0; user < paired; ++user) {
    const auto positives = [&](std::size_t run) {
      return pairing.slice(run, "all").positives[places[user * runs.size() + run]];
    };
    bool differs = false;
    for (std::size_t run = 1; run < runs.size(); ++run) differs |= positives(run) != positives(0);
    other_positives += differs;
  }
  std::vector<std::string> counts;
  bool differ = false;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::size_t users = pairing.domain(run).user.size();
    counts.push_back(text(with_commas(static_cast<std::int64_t>(users)), " of ", runs[run].name));
    differ |= users != paired;
  }
  if (differ) {
    warnings.push_back(text(
        domain, ": not the same users have relevant items (", join(counts, ", "), "); the ",
        with_commas(static_cast<std::int64_t>(paired)), " that are in every run are compared"));
  }
  if (other_positives > 0) {
    warnings.push_back(text(domain, ": ", with_commas(other_positives),
                            " of the compared users have more relevant items in one run than in "
                            "another"));
  }
}

/// The people of several domains, each drawn with all that they are in every domain.
class People {
 public:
  explicit People(std::size_t columns) : columns_(columns) {}

  /// `keys`: (users) of the domain's users; `values`: (users, columns) of theirs.
  void add_domain(const std::vector<std::string>& keys, std::span<const double> values) {
    std::vector<std::int64_t>& person = person_.emplace_back();
    for (const std::string& key : keys) {
      person.push_back(number_of_.emplace(key, number_of_.size()).first->second);
    }
    values_.emplace_back(values.begin(), values.end());
  }

  std::size_t domains() const { return person_.size(); }

  /// Means over domains of the domains' means, over resampled people: (resamples, columns). Of a
  /// domain of which a resample drew nobody the mean over all its users stands.
  std::vector<double> resampled_means(const BootstrapOptions& options, std::uint32_t stream) const {
    // A person's row: for each domain, that they are in it and then their values there.
    const std::size_t width = columns_ + 1;
    const std::size_t row_width = domains() * width;
    std::vector<double> rows(number_of_.size() * row_width, 0.0);
    std::vector<double> whole(domains() * columns_, 0.0);  // means over all users of a domain
    for (std::size_t d = 0; d < domains(); ++d) {
      const auto users = static_cast<double>(person_[d].size());
      for (std::size_t user = 0; user < person_[d].size(); ++user) {
        double* here = rows.data() + person_[d][user] * row_width + d * width;
        here[0] = 1;
        for (std::size_t c = 0; c < columns_; ++c) {
          here[1 + c] = values_[d][user * columns_ + c];
          whole[d * columns_ + c] += here[1 + c] / users;
        }
      }
    }
    const std::vector<double> drawn =
        micrec::resampled_means(rows, static_cast<std::int64_t>(row_width), options, stream);
    std::vector<double> means(options.resamples * columns_, 0.0);
    for (std::int64_t r = 0; r < options.resamples; ++r) {
      for (std::size_t d = 0; d < domains(); ++d) {
        const double* here = drawn.data() + r * row_width + d * width;
        for (std::size_t c = 0; c < columns_; ++c) {
          const double mean = here[0] > 0 ? here[1 + c] / here[0] : whole[d * columns_ + c];
          means[r * columns_ + c] += mean / static_cast<double>(domains());
        }
      }
    }
    return means;
  }

 private:
  std::size_t columns_;
  std::unordered_map<std::string, std::int64_t> number_of_;  // people by key
  std::vector<std::vector<std::int64_t>> person_;            // [domain] (users)
  std::vector<std::vector<double>> values_;                  // [domain] (users, columns)
};

/// Compares domain after domain.
class Comparer {
 public:
  Comparer(const std::vector<NamedRun>& runs, const BootstrapOptions& options)
      : runs_(runs),
        options_(options),
        metrics_(runs.front().metrics.metrics.size()),
        people_(metrics_ * runs.size()) {
    for (const NamedRun& run : runs) {
      CHECK(run.metrics.metrics == runs.front().metrics.metrics);
      result_.names.push_back(run.name);
      result_.origins.push_back(run.metrics.origin);
    }
    result_.metrics = runs.front().metrics.metrics;
    result_.bootstrap = options;
    result_.warnings = warnings_of_origins(runs);
  }

  Comparison take() {
    for (const std::string& name : common_domains()) add_domain(name);
    if (people_.domains() == 0) {
      throw Error(Cause::data, "no user with relevant items is in all of ",
                  join(result_.names, ", "),
                  ", so nothing can be paired; compare runs on one data set");
    }
    add_mean();
    return std::move(result_);
  }

 private:
  std::vector<std::string> common_domains() {
    std::vector<std::string> names;
    for (const PerUserDomain& domain : runs_.front().metrics.domains) names.push_back(domain.name);
    for (const NamedRun& run : runs_) {
      for (const PerUserDomain& domain : run.metrics.domains) {
        if (std::ranges::find(names, domain.name) == names.end()) names.push_back(domain.name);
      }
    }
    std::erase_if(names, [&](const std::string& name) {
      for (const NamedRun& run : runs_) {
        if (find_domain(run.metrics, name) != nullptr) continue;
        result_.warnings.push_back(
            text("domain ", name, " is left out, as ", run.name, " has none of that name"));
        return true;
      }
      return false;
    });
    return names;
  }

  void add_domain(const std::string& name) {
    std::vector<const PerUserDomain*> domains;
    for (const NamedRun& run : runs_) domains.push_back(find_domain(run.metrics, name));
    const Pairing pairing(domains);
    warn_of_users(runs_, pairing, name, result_.warnings);
    DomainComparison& domain = result_.domains.emplace_back();
    domain.name = name;
    for (const PerUserSlice& slice : domains.front()->slices) {
      const bool in_all = std::ranges::all_of(domains, [&](const PerUserDomain* other) {
        return find_slice(*other, slice.name) != nullptr;
      });
      if (!in_all) continue;
      const Samples samples = sample(pairing, slice.name, metrics_, name, options_);
      if (samples.users == 0) continue;
      domain.slices.push_back({slice.name, samples.users, figures(samples)});
      if (slice.name == "all") people_.add_domain(pairing.keys(slice.name), samples.values);
    }
  }

  std::vector<std::vector<RunFigures>> figures(const Samples& samples) const {
    std::vector<std::vector<RunFigures>> figures(metrics_);
    for (std::size_t m = 0; m < metrics_; ++m) {
      for (std::size_t run = 0; run < runs_.size(); ++run) {
        figures[m].push_back(
            figures_of(samples, metrics_ * runs_.size(), m * runs_.size(), m * runs_.size() + run));
      }
    }
    return figures;
  }

  void add_mean() {
    const std::size_t runs = runs_.size();
    const std::vector<double> means =
        people_.resampled_means(options_, stream_of("", "mean of domains"));
    const auto domains = static_cast<double>(people_.domains());
    result_.mean.resize(metrics_);
    for (std::size_t m = 0; m < metrics_; ++m) {
      for (std::size_t run = 0; run < runs; ++run) {
        // One "user" with the resampled means; its own values are the means over domains below.
        const Samples samples = {1, std::vector<double>(metrics_ * runs, 0.0), means};
        RunFigures figures = figures_of(samples, metrics_ * runs, m * runs, m * runs + run);
        figures.better = figures.worse = 0;
        for (const DomainComparison& domain : result_.domains) {
          if (domain.slices.empty() || domain.slices.front().name != "all") continue;
          figures.value += domain.slices.front().figures[m][run].value / domains;
          figures.difference += domain.slices.front().figures[m][run].difference / domains;
        }
        result_.mean[m].push_back(figures);
      }
    }
  }

  const std::vector<NamedRun>& runs_;
  const BootstrapOptions& options_;
  std::size_t metrics_;
  Comparison result_;
  People people_;  // of whole domains
};

}  // namespace

Comparison compare(const std::vector<NamedRun>& runs, const BootstrapOptions& options) {
  CHECK_GE(runs.size(), 2U);
  refuse_other_splits(runs);
  return Comparer(runs, options).take();
}

}  // namespace micrec
