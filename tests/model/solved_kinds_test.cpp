// Kinds whose table is computed whole, an epoch a step: implicit ALS and popularity.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "model/model.h"
#include "model/solved/implicit_rows.h"
#include "model/solved/symmetric_eigen.h"
#include "tests/support/dense_model.h"
#include "tests/support/on_threads.h"
#include "tests/support/sharded_model.h"
#include "tests/support/small_world.h"
#include "tests/support/temporary_folder.h"

namespace micrec {
namespace {

TEST(SymmetricEigen, TakesAMatrixApart) {
  const Random random(21, Purpose::synthetic);
  std::uint64_t draw = 0;
  for (const std::int64_t n : {1, 2, 3, 17, 64}) {
    for (const std::int64_t rank : {std::int64_t{0}, (n + 1) / 2, 2 * n}) {
      std::vector<double> factor(rank * n), matrix(n * n, 0);
      for (double& value : factor) value = random.normal(draw++)[0];
      for (std::int64_t r = 0; r < n; ++r) {
        for (std::int64_t c = 0; c < n; ++c) {
          for (std::int64_t k = 0; k < rank; ++k) {
            matrix[r * n + c] += factor[k * n + r] * factor[k * n + c];
          }
        }
      }
      const SymmetricEigen eigen = symmetric_eigen(matrix, n);
      for (std::int64_t r = 0; r < n; ++r) {
        for (std::int64_t c = 0; c < n; ++c) {
          double again = 0, product = 0;
          for (std::int64_t k = 0; k < n; ++k) {
            again += eigen.values[k] * eigen.vectors[k * n + r] * eigen.vectors[k * n + c];
            product += eigen.vectors[r * n + k] * eigen.vectors[c * n + k];
          }
          ASSERT_NEAR(again, matrix[r * n + c], 1e-10) << n << ' ' << rank;
          ASSERT_NEAR(product, r == c ? 1 : 0, 1e-12) << n << ' ' << rank;
        }
      }
    }
  }
}

/// Solves M x = b by Gauss's elimination; M is positive definite.
std::vector<double> eliminated(std::vector<double> matrix, std::vector<double> x) {
  const auto n = static_cast<std::int64_t>(x.size());
  for (std::int64_t pivot = 0; pivot < n; ++pivot) {
    for (std::int64_t r = 0; r < n; ++r) {
      if (r == pivot) continue;
      const double factor = matrix[r * n + pivot] / matrix[pivot * n + pivot];
      for (std::int64_t c = pivot; c < n; ++c) matrix[r * n + c] -= factor * matrix[pivot * n + c];
      x[r] -= factor * x[pivot];
    }
  }
  for (std::int64_t r = 0; r < n; ++r) x[r] /= matrix[r * n + r];
  return x;
}

struct Problem {
  Pattern pattern;
  RowSet columns;
  at::Tensor z;
  std::vector<double> shared;
};

/// Rows of these degrees over 400 columns, of which every third is not used.
Problem problem_of(std::int64_t dim, const std::vector<std::int64_t>& degrees) {
  constexpr std::int64_t kColumns = 1200;
  const Random random(22, Purpose::synthetic);
  std::uint64_t draw = 0;
  Problem problem;
  std::vector<std::int32_t> used;
  for (std::int32_t c = 0; c < kColumns; ++c) {
    if (c % 3 != 1) used.push_back(c);
  }
  problem.columns = RowSet(kColumns, used);
  problem.z = at::empty({problem.columns.size(), dim});
  for (std::int64_t n = 0; n < problem.z.numel(); ++n) {
    problem.z.data_ptr<float>()[n] = static_cast<float>(0.3 * random.normal(draw++)[0]);
  }
  for (std::int64_t c = 0; c < dim; ++c) problem.shared.push_back(0.1 * static_cast<double>(c));
  for (const std::int64_t degree : degrees) {
    for (std::int64_t k = 0; k < degree; ++k)
      problem.pattern.columns.push_back(used[k + degree % 7]);
    problem.pattern.offsets.push_back(static_cast<std::int64_t>(problem.pattern.columns.size()));
  }
  return problem;
}

ImplicitRows view_of(const Problem& problem, std::vector<std::int64_t> rows) {
  return {problem.pattern,
          std::move(rows),
          problem.columns,
          problem.z,
          problem.shared,
          [](std::int64_t degree) { return 0.5 + 0.01 * static_cast<double>(degree); }};
}

std::vector<std::int64_t> all_rows(const Problem& problem) {
  std::vector<std::int64_t> rows;
  for (std::int64_t r = 0; r < problem.pattern.rows(); ++r) rows.push_back(r);
  return rows;
}

/// Degrees below, at and above the width, of single rows and of more than one group.
std::vector<std::int64_t> many_degrees(std::int64_t dim) {
  std::vector<std::int64_t> degrees = {0, 1, dim - 1, dim, dim + 1, 300, 257, 256, 700, 0};
  for (std::int64_t n = 0; n < 40; ++n) degrees.push_back(1 + n % 23);
  return degrees;
}

TEST(ImplicitRows, AreThoseOfTheirSystemsWhateverTheirDegree) {
  for (const std::int64_t dim : {1, 6, 16, 40}) {
    const Problem problem = problem_of(dim, many_degrees(dim));
    const ImplicitRows view = view_of(problem, all_rows(problem));
    const SolvedRows solved = on_threads(2, [&] { return solve_implicit_rows(view); });
    const SolvedRows by_torch = solve_implicit_rows_by_torch(view);
    for (std::int64_t row = 0; row < problem.pattern.rows(); ++row) {
      const std::int64_t degree = problem.pattern.degree(row);
      std::vector<double> matrix(dim * dim, 0), sum(dim, 0);
      for (std::int64_t c = 0; c < dim; ++c) {
        matrix[c * dim + c] = problem.shared[c] + 0.5 + 0.01 * static_cast<double>(degree);
      }
      for (std::int64_t k = 0; k < degree; ++k) {
        const std::int32_t column = problem.pattern.columns[problem.pattern.offsets[row] + k];
        const float* const z =
            problem.z.const_data_ptr<float>() + problem.columns.position(column) * dim;
        for (std::int64_t r = 0; r < dim; ++r) {
          sum[r] += z[r];
          for (std::int64_t c = 0; c < dim; ++c) {
            matrix[r * dim + c] += static_cast<double>(z[r]) * z[c];
          }
        }
      }
      const std::vector<double> x = eliminated(matrix, sum);
      auto misfit = static_cast<double>(degree);
      for (std::int64_t c = 0; c < dim; ++c) {
        misfit -= sum[c] * x[c];
        ASSERT_NEAR(solved.x[row][c].item<float>(), x[c], 2e-5) << dim << ' ' << degree;
        ASSERT_NEAR(by_torch.x[row][c].item<float>(), x[c], 2e-5) << dim << ' ' << degree;
      }
      const double rounding = 1e-5 * static_cast<double>(degree + 1);
      ASSERT_NEAR(solved.misfit[row], misfit, rounding) << dim << ' ' << degree;
      ASSERT_NEAR(by_torch.misfit[row], misfit, rounding) << dim << ' ' << degree;
    }
  }
}

TEST(ImplicitRows, HaveTheSameBitsAloneAndAmongOthers) {
  constexpr std::int64_t kDim = 24;
  const Problem problem = problem_of(kDim, many_degrees(kDim));
  const SolvedRows together =
      on_threads(3, [&] { return solve_implicit_rows(view_of(problem, all_rows(problem))); });
  for (std::int64_t row = 0; row < problem.pattern.rows(); ++row) {
    const SolvedRows alone = solve_implicit_rows(view_of(problem, {row}));
    ASSERT_TRUE(at::equal(alone.x[0], together.x[row])) << problem.pattern.degree(row);
    ASSERT_EQ(alone.misfit[0], together.misfit[row]);
  }
}

ModelConfig ials_config() {
  ModelConfig config;
  config.kind = ModelKind::ials;
  config.dim = 6;
  config.ials_weight = 0.05;
  config.ials_reg = 0.1;
  return config;
}

/// Implicit ALS in plain loops over dense matrices.
class PlainAls {
 public:
  PlainAls(const ModelConfig& config, const DenseWorld& world, const at::Tensor& table)
      : config_(config), world_(world), z_(table.to(at::kDouble)), trained_(world.training.sum(1)) {
    z_.mul_((trained_ > 0).unsqueeze(1));
  }

  const at::Tensor& table() const { return z_; }

  void epoch() {
    for (const bool is_user : {true, false}) {
      for (int domain = 0; domain < world_.space.domains(); ++domain) {
        const Range own = side(is_user, domain);
        for (std::int64_t row = own.begin; row < own.end; ++row) {
          z_[row].copy_(solved(row, world_.training, is_user, domain));
        }
      }
    }
  }

  at::Tensor solved(std::int64_t row, const at::Tensor& graph, bool is_user, int domain) const {
    const std::int64_t dim = z_.size(1);
    const Range others = side(!is_user, domain);
    std::vector<double> matrix(dim * dim, 0), sum(dim, 0);
    const auto z = z_.accessor<double, 2>();
    double degree = 0;
    for (std::int64_t other = others.begin; other < others.end; ++other) {
      const bool is_there = graph[row][other].item<double>() > 0;
      degree += is_there ? 1 : 0;
      for (std::int64_t r = 0; r < dim; ++r) {
        sum[r] += is_there ? z[other][r] : 0;
        for (std::int64_t c = 0; c < dim; ++c) {
          matrix[r * dim + c] +=
              (config_.ials_weight + (is_there ? 1 : 0)) * z[other][r] * z[other][c];
        }
      }
    }
    for (std::int64_t c = 0; c < dim; ++c) {
      matrix[c * dim + c] += penalty(degree, is_user, domain);
    }
    return at::tensor(eliminated(matrix, sum), at::kDouble);
  }

  /// The objective over the number of interactions.
  double loss() const {
    double sum = 0, interactions = 0;
    for (int domain = 0; domain < world_.space.domains(); ++domain) {
      const Range users = side(true, domain);
      const Range items = side(false, domain);
      for (std::int64_t user = users.begin; user < users.end; ++user) {
        for (std::int64_t item = items.begin; item < items.end; ++item) {
          const double score = at::dot(z_[user], z_[item]).item<double>();
          sum += config_.ials_weight * score * score;
          if (world_.training[user][item].item<double>() == 0) continue;
          sum += (1 - score) * (1 - score);
          ++interactions;
        }
      }
      for (const bool is_user : {true, false}) {
        const Range own = side(is_user, domain);
        for (std::int64_t row = own.begin; row < own.end; ++row) {
          sum += penalty(trained_[row].item<double>(), is_user, domain) *
                 at::dot(z_[row], z_[row]).item<double>();
        }
      }
    }
    return sum / interactions;
  }

 private:
  Range side(bool is_user, int domain) const {
    return is_user ? world_.space.users_of(domain) : world_.space.items_of(domain);
  }
  double penalty(double degree, bool is_user, int domain) const {
    const Range others = side(!is_user, domain);
    const double seen = (trained_.slice(0, others.begin, others.end) > 0).sum().item<double>();
    return config_.ials_reg * (degree + config_.ials_weight * seen);
  }

  ModelConfig config_;
  const DenseWorld& world_;
  at::Tensor z_;
  at::Tensor trained_;  // (nodes) degrees
};

class SolvedKinds : public testing::Test {
 protected:
  SolvedKinds()
      : dataset_(write_small_world({}, folder_ / "world.h5")), world_(read_dense_world(dataset_)) {}

  struct Trained {
    at::Tensor start;  // (nodes, dim)
    at::Tensor table;
    std::vector<StepLoss> losses;
    std::vector<double> votes;
  };

  Trained train(const ModelConfig& config, const ShardedSetting& setting, int epochs) {
    Trained trained;
    on_ranks(dataset_, config, setting, [&](ModelRank& rank) {
      const at::Tensor start = gather_buffers(rank).at("embedding");
      std::vector<StepLoss> losses;
      std::vector<double> votes;
      for (int epoch = 0; epoch < epochs; ++epoch) {
        at::Tensor vote = at::ones({2}, at::kDouble);
        losses.push_back(rank.model.solve(vote).read());
        votes.push_back(vote[1].item<double>());
      }
      const at::Tensor table = gather_buffers(rank).at("embedding");
      EXPECT_TRUE(rank.model.parameters().empty());
      if (rank.communicator.rank() == 0) trained = {start, table, losses, votes};
    });
    return trained;
  }

  /// z of a graph, from a trained table.
  at::Tensor inferred(const ModelConfig& config, const at::Tensor& table, Observed observed,
                      int ranks) {
    WholeTensors buffers;
    on_ranks(dataset_, config, {}, [&](ModelRank& rank) { buffers = gather_buffers(rank); });
    buffers["embedding"] = table;
    ShardedSetting setting;
    setting.ranks = ranks;
    setting.observed = observed;
    setting.initialise = false;
    return sharded_embeddings(dataset_, config, setting, {}, buffers, 0);
  }

  TemporaryFolder folder_;
  DatasetFile dataset_;
  DenseWorld world_;
};

TEST_F(SolvedKinds, IalsIsAlternatingLeastSquaresInPlainLoops) {
  const ModelConfig config = ials_config();
  const Trained trained = train(config, {}, 3);
  PlainAls plain(config, world_, trained.start);
  double before = plain.loss();
  for (int epoch = 0; epoch < 3; ++epoch) {
    plain.epoch();
    EXPECT_NEAR(trained.losses[epoch].total(), plain.loss(), 1e-5);
    EXPECT_LT(trained.losses[epoch].total(), before);
    EXPECT_GT(trained.losses[epoch].of("l2"), 0);
    before = trained.losses[epoch].total();
  }
  EXPECT_TRUE(at::allclose(trained.table.to(at::kDouble), plain.table(), 1e-4, 1e-5));
}

TEST_F(SolvedKinds, IalsIsTheSameOnAnyNumberOfRanks) {
  const ModelConfig config = ials_config();
  const Trained one = train(config, {}, 2);
  for (const int ranks : {2, 3, 4, 5}) {
    ShardedSetting setting;
    setting.ranks = ranks;
    const Trained many = train(config, setting, 2);
    EXPECT_TRUE(at::allclose(one.table, many.table, 1e-4, 1e-5)) << ranks;
    EXPECT_NEAR(one.losses[1].total(), many.losses[1].total(), 1e-5) << ranks;
    EXPECT_EQ(many.votes[0], ranks);
  }
}

TEST_F(SolvedKinds, IalsHasTheSameBitsOnAnyNumberOfRanksWhereReproducible) {
  const ModelConfig config = ials_config();
  ShardedSetting setting;
  setting.summands = 8;
  const Trained one = train(config, setting, 2);
  for (const int ranks : {2, 3, 4}) {
    setting.ranks = ranks;
    const ComputeThreads threads(ranks);
    const Trained many = train(config, setting, 2);
    EXPECT_TRUE(at::equal(one.table, many.table)) << ranks;
    EXPECT_EQ(one.losses[1].by_name, many.losses[1].by_name) << ranks;
  }
}

TEST_F(SolvedKinds, IalsInfersNewNodesByTheirOwnProblems) {
  const ModelConfig config = ials_config();
  const Trained trained = train(config, {}, 4);
  const PlainAls plain(config, world_, trained.table);
  const at::Tensor seen = world_.training.sum(1) > 0;
  for (const int ranks : {1, 3}) {
    const at::Tensor z = inferred(config, trained.table, Observed::all, ranks);
    int of_users = 0, of_items = 0;
    for (std::int64_t node = 0; node < world_.space.nodes(); ++node) {
      if (seen[node].item<bool>()) {
        EXPECT_TRUE(at::equal(z[node], trained.table[node])) << node;
        continue;
      }
      if (world_.all[node].sum().item<double>() == 0) continue;
      const GlobalNode global{static_cast<std::int32_t>(node)};
      const bool is_user = world_.space.is_user(global);
      (is_user ? of_users : of_items) += 1;
      const at::Tensor row =
          plain.solved(node, world_.all, is_user, world_.space.domain_of(global));
      EXPECT_TRUE(at::allclose(z[node].to(at::kDouble), row, 1e-3, 1e-4)) << node;
    }
    EXPECT_GT(of_users, 0);
    EXPECT_GT(of_items, 0);
  }
}

TEST_F(SolvedKinds, IalsGivesSomebodyNewTheRowOfTheirHistory) {
  const ModelConfig config = ials_config();
  const Trained trained = train(config, {}, 3);
  const PlainAls plain(config, world_, trained.table);
  ShardedSetting setting;
  on_ranks(dataset_, config, setting, [&](ModelRank& rank) {
    WholeTensors buffers = gather_buffers(rank);
    buffers["embedding"] = trained.table;
    fill_buffers(rank.model, buffers);
    rank.model.refresh();
    const Range users = world_.space.users_of(1);
    const Range items = world_.space.items_of(1);
    std::vector<std::vector<std::int32_t>> histories(1);
    std::vector<std::int64_t> nodes = {-1};
    for (std::int64_t user = users.begin; user < users.end; ++user) {
      std::vector<std::int32_t> history;
      for (std::int64_t item = items.begin; item < items.end; ++item) {
        if (world_.training[user][item].item<double>() > 0) {
          history.push_back(static_cast<std::int32_t>(item - items.begin));
        }
      }
      if (history.empty()) continue;
      histories.push_back(history);
      nodes.push_back(user);
    }
    const at::Tensor rows = new_user_embeddings(rank.model, 1, histories, 0);
    for (std::size_t n = 1; n < nodes.size(); ++n) {
      const at::Tensor row = plain.solved(nodes[n], world_.training, true, 1);
      EXPECT_TRUE(
          at::allclose(rows[static_cast<std::int64_t>(n)].to(at::kDouble), row, 1e-3, 1e-4));
    }
    const at::Tensor old =
        trained.table.slice(0, users.begin, users.end)
            .index_select(
                0,
                (world_.training.sum(1) > 0).slice(0, users.begin, users.end).nonzero().squeeze(1));
    EXPECT_TRUE(at::allclose(rows[0], old.mean(0), 1e-4, 1e-6)) << "without a history";
  });
}

TEST_F(SolvedKinds, PopularityScoresWithTrainingDegreesAndNewItemsWithWhatIsObserved) {
  ModelConfig config;
  config.kind = ModelKind::popularity;
  for (const int ranks : {1, 3}) {
    ShardedSetting setting;
    setting.ranks = ranks;
    const Trained trained = train(config, setting, 1);
    EXPECT_EQ(trained.votes[0], ranks);
    const at::Tensor z = inferred(config, trained.table, Observed::all, ranks);
    ASSERT_EQ(z.size(1), 1);
    const at::Tensor training = world_.training.sum(1);
    const at::Tensor all = world_.all.sum(1);
    for (std::int64_t node = 0; node < world_.space.nodes(); ++node) {
      const bool is_user = world_.space.is_user(GlobalNode{static_cast<std::int32_t>(node)});
      const double count = training[node].item<double>() > 0 ? training[node].item<double>()
                                                             : all[node].item<double>();
      EXPECT_EQ(z[node][0].item<float>(), is_user ? 1 : count) << node;
    }
  }
}

TEST_F(SolvedKinds, PopularityLeavesPeopleKnownElsewhereTheirRow) {
  ModelConfig config;
  config.kind = ModelKind::popularity;
  on_ranks(dataset_, config, {}, [&](ModelRank& rank) {
    at::Tensor votes = at::zeros({1}, at::kDouble);
    rank.model.solve(votes);
    rank.model.fit_ridge(rank.model.embeddings(0));
    const at::Tensor z = rank.model.embeddings(0);
    EXPECT_TRUE((z.slice(0, 0, world_.space.users()) == 1).all().item<bool>());
    EXPECT_EQ(new_user_embeddings(rank.model, 0, {{1, 2}, {}}, 0).sum().item<float>(), 2);
  });
}

}  // namespace
}  // namespace micrec
