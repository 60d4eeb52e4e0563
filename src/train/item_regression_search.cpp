#include "train/item_regression_search.h"

#include <glog/logging.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {
namespace {

// The first of each is the default; a tie goes to the earlier.
constexpr double kLambdas[] = {60, 20, 150, 400, 1000};
constexpr double kAlphas[] = {2, 3, 1, 5, 0};
constexpr double kCrosses[] = {0.6, 0};
constexpr double kHalfLives[] = {kNoRecency, 8, 4, 2, 1, 0.5};

constexpr std::int64_t kMostItems = 20000;  // of a domain that are solved for while choosing

/// The value of a list for a domain; nothing where the list is empty.
const double* wished(const std::vector<double>& list, int domain) {
  if (list.empty()) return nullptr;
  return &list[list.size() == 1 ? 0 : domain];
}

bool any(const std::vector<bool>& of_domains) {
  return std::ranges::find(of_domains, true) != of_domains.end();
}

/// One setting of every domain varied, the others as chosen so far.
struct Search {
  const ItemRegressionFit& fit;
  const RateCoefficients& rate;
  int solves;  // of all settings together
  const std::function<void(double)>& progress;
  ItemRegressionChoice& choice;
  int solved = 0;

  using Set = std::function<void(ItemRegressionSettings&, double)>;

  /// Takes the best of the values in the domains where that is open. `apart`: the values do not
  /// share neighbourhoods.
  void vary(std::span<const double> values, const std::vector<bool>& is_open, const Set& set,
            bool apart = false) {
    if (!any(is_open)) return;
    std::vector<double> best(choice.chosen.size(), -1);
    if (!apart) rate_all(tasks_of(values, is_open, set), is_open, best);
    for (std::size_t n = 0; n < values.size() && apart; ++n) {
      rate_all(tasks_of(values.subspan(n, 1), is_open, set), is_open, best);
    }
  }

  std::vector<ItemRegressionTask> tasks_of(std::span<const double> values,
                                           const std::vector<bool>& is_open, const Set& set) const {
    std::vector<ItemRegressionTask> tasks;
    for (std::size_t d = 0; d < choice.chosen.size(); ++d) {
      ItemRegressionTask& task = tasks.emplace_back();
      for (const double value : values) {
        ItemRegressionSettings& settings = task.settings.emplace_back(choice.chosen[d]);
        if (is_open[d]) set(settings, value);
      }
      task.cross = task.settings.front().cross;
      task.neighbourhood_lambda = choice.chosen[d].lambda;
      task.most_items = kMostItems;
    }
    return tasks;
  }

  /// Of the settings of each domain's task takes the best, if it is above `best`.
  void rate_all(const std::vector<ItemRegressionTask>& tasks, const std::vector<bool>& is_open,
                std::vector<double>& best) {
    const std::vector<SparseRows> solutions =
        fit.solve(tasks, [this](double share) { progress((solved + share) / solves); });
    ++solved;
    for (std::size_t s = 0; s < solutions.size(); ++s) {
      const std::vector<double> metrics = rate(solutions[s], choice.half_life);
      for (std::size_t d = 0; d < tasks.size(); ++d) {
        if (!is_open[d] || metrics[d] < 0) continue;
        const ItemRegressionSettings& settings = tasks[d].settings[s];
        choice.tried.push_back({static_cast<int>(d), settings, choice.half_life[d], metrics[d]});
        if (metrics[d] <= best[d]) continue;
        best[d] = metrics[d];
        choice.chosen[d] = settings;
      }
    }
  }
};

}  // namespace

void check_one_a_domain(const std::vector<double>& list, int domains, const char* flag) {
  if (list.size() <= 1 || static_cast<int>(list.size()) == domains) return;
  throw Error(Cause::usage, "--", flag, " has ", list.size(), " values; expected one, or one ",
              "for each of the ", domains, " domains");
}

ItemRegressionChoice choose_item_regression(const ItemRegressionFit& fit, int domains,
                                            const ItemRegressionWish& wish,
                                            const RateCoefficients& rate,
                                            const std::function<void(double)>& progress) {
  check_one_a_domain(wish.lambda, domains, "regression_lambda");
  check_one_a_domain(wish.cross, domains, "regression_cross");
  check_one_a_domain(wish.alpha, domains, "regression_alpha");
  check_one_a_domain(wish.half_life, domains, "recency");
  ItemRegressionChoice choice;
  std::vector<bool> lambda_open, alpha_open, cross_open;
  for (int d = 0; d < domains; ++d) {
    const double* const lambda = wished(wish.lambda, d);
    const double* const alpha = wished(wish.alpha, d);
    const double* const cross = wished(wish.cross, d);
    choice.chosen.push_back(
        {.lambda = lambda ? *lambda : kLambdas[0],
         .cross = cross ? *cross : kCrosses[0],
         .alpha = std::vector<double>(fit.modalities(), alpha ? *alpha : kAlphas[0])});
    lambda_open.push_back(lambda == nullptr);
    alpha_open.push_back(alpha == nullptr);
    cross_open.push_back(cross == nullptr && domains > 1);
    const double* const half_life = wished(wish.half_life, d);
    choice.half_life.push_back(half_life ? *half_life : kNoRecency);
  }
  if (!rate) return choice;

  const int solves =
      static_cast<int>(solves_of_fit(wish, domains, fit.modalities(), true).size()) - 1;
  Search search{fit, rate, solves, progress, choice};
  search.vary(kLambdas, lambda_open,
              [](ItemRegressionSettings& settings, double value) { settings.lambda = value; });
  for (int m = 0; m < fit.modalities(); ++m) {
    search.vary(kAlphas, alpha_open,
                [m](ItemRegressionSettings& settings, double value) { settings.alpha[m] = value; });
  }
  search.vary(
      kCrosses, cross_open,
      [](ItemRegressionSettings& settings, double value) { settings.cross = value; },
      /*apart=*/true);
  return choice;
}

std::vector<ItemRegressionSolve> solves_of_fit(const ItemRegressionWish& wish, int domains,
                                               int modalities, bool has_validation) {
  const bool crosses =
      domains > 1 && (wish.cross.empty() ? kCrosses[0] > 0 : std::ranges::max(wish.cross) > 0);
  std::vector<ItemRegressionSolve> solves;
  if (has_validation && wish.lambda.empty()) {
    solves.push_back({crosses, static_cast<int>(std::size(kLambdas)), kMostItems});
  }
  if (has_validation && wish.alpha.empty()) {
    solves.insert(solves.end(), modalities,
                  {crosses, static_cast<int>(std::size(kAlphas)), kMostItems});
  }
  if (has_validation && wish.cross.empty() && domains > 1) {
    for (const double cross : kCrosses) solves.push_back({cross > 0, 1, kMostItems});
  }
  solves.push_back({crosses, 1, 0});
  return solves;
}

SparseRows fit_item_regression(const ItemRegressionFit& fit, const ItemRegressionChoice& choice,
                               const std::function<void(double)>& progress) {
  std::vector<ItemRegressionTask> tasks;
  for (const ItemRegressionSettings& settings : choice.chosen) {
    tasks.push_back({settings.cross, settings.lambda, {settings}, /*most_items=*/0});
  }
  return std::move(fit.solve(tasks, progress).front());
}

void choose_half_life(const SparseRows& coefficients, const ItemRegressionWish& wish,
                      const RateCoefficients& rate, ItemRegressionChoice& choice) {
  if (!wish.half_life.empty() || !rate) return;
  const std::size_t domains = choice.chosen.size();
  std::vector<double> best(domains, -1);
  for (const double half_life : kHalfLives) {
    const std::vector<double> metrics = rate(coefficients, std::vector(domains, half_life));
    for (std::size_t d = 0; d < domains; ++d) {
      if (metrics[d] < 0) continue;
      choice.tried.push_back({static_cast<int>(d), choice.chosen[d], half_life, metrics[d]});
      if (metrics[d] <= best[d]) continue;
      best[d] = metrics[d];
      choice.half_life[d] = half_life;
    }
  }
}

nlohmann::ordered_json to_json(const ItemRegressionChoice& choice,
                               const std::vector<std::string>& domains,
                               const std::vector<std::string>& modalities) {
  const auto of = [&](const ItemRegressionSettings& settings, double half_life) {
    nlohmann::ordered_json json = {{"lambda", settings.lambda}, {"cross", settings.cross}};
    for (std::size_t m = 0; m < modalities.size(); ++m) {
      json["alpha"][modalities[m]] = settings.alpha[m];
    }
    if (half_life != kNoRecency) json["recency"] = half_life;
    return json;
  };
  nlohmann::ordered_json json;
  for (std::size_t d = 0; d < domains.size(); ++d) {
    json[domains[d]] = of(choice.chosen[d], choice.half_life[d]);
    json[domains[d]]["tried"] = nlohmann::ordered_json::array();
    for (const ItemRegressionChoice::Tried& tried : choice.tried) {
      if (tried.domain != static_cast<int>(d)) continue;
      nlohmann::ordered_json one = of(tried.settings, tried.half_life);
      one["ndcg@20"] = tried.metric;
      json[domains[d]]["tried"].push_back(one);
    }
  }
  return json;
}

std::vector<ItemRegressionSettings> chosen_settings(const nlohmann::json& chosen,
                                                    const std::vector<std::string>& domains,
                                                    const std::vector<std::string>& modalities,
                                                    const std::string& origin) {
  std::vector<ItemRegressionSettings> settings;
  try {
    for (const std::string& domain : domains) {
      const nlohmann::json& of_domain = chosen.at(domain);
      ItemRegressionSettings& of = settings.emplace_back(ItemRegressionSettings{
          .lambda = of_domain.at("lambda"), .cross = of_domain.at("cross"), .alpha = {}});
      for (const std::string& modality : modalities) {
        of.alpha.push_back(of_domain.at("alpha").at(modality));
      }
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(Cause::checkpoint, origin,
                " does not say with which settings item regression "
                "was fitted: ",
                error.what());
  }
  return settings;
}

std::vector<double> chosen_half_life(const nlohmann::json& chosen,
                                     const std::vector<std::string>& domains,
                                     const std::string& origin) {
  std::vector<double> half_life;
  for (const std::string& domain : domains) {
    const nlohmann::json of =
        chosen.value(domain, nlohmann::json::object()).value("recency", nlohmann::json(kNoRecency));
    if (!of.is_number() || !(of.get<double>() >= 0)) {
      throw Error(Cause::checkpoint, origin, ": expected a number from 0 as the recency of ",
                  domain, ", got ", excerpt(of.dump()));
    }
    half_life.push_back(of);
  }
  return half_life;
}

}  // namespace micrec
