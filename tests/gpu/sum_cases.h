#pragma once

#include <ATen/ATen.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kernels/neighbour_sum.h"
#include "tests/support/on_threads.h"
#include "tests/support/test_graphs.h"

namespace micrec {

/// A neighbour sum with everything it reads; never moved, since options point into it.
struct SumCase {
  std::string name;
  Pattern pattern;
  at::Tensor x;
  SumOptions options;
  RowList rows;
  std::vector<GlobalNode> numbers;
  RowSet active;
  at::ScalarType x_type = at::kFloat;
  at::ScalarType out_type = at::kFloat;

  SumCase(std::string the_name, const Pattern& the_pattern, const at::Tensor& the_x)
      : name(std::move(the_name)), pattern(the_pattern), x(the_x) {}
  SumCase(const SumCase&) = delete;

  std::int64_t output_rows() const { return options.rows ? options.rows->size() : pattern.rows(); }
  /// What the CPU gives, whose sums are float32 whatever is stored.
  at::Tensor expected() const {
    at::Tensor out = at::full({output_rows(), x.size(1)}, kUntouched);
    on_threads(2, [&] { neighbour_sum_into(out, pattern, x.to(x_type).to(at::kFloat), options); });
    return out.to(out_type);
  }
  static constexpr float kUntouched = 42;
};

/// Every option by itself and together, at widths that use one lane, all, and several passes.
inline std::deque<std::unique_ptr<SumCase>> sum_cases() {
  std::deque<std::unique_ptr<SumCase>> cases;
  const auto add = [&](const std::string& name, const Pattern& pattern,
                       const at::Tensor& x) -> SumCase& {
    cases.push_back(std::make_unique<SumCase>(name, pattern, x));
    return *cases.back();
  };
  const TestGraph small = bipartite_graph(60, 45, 7);
  const Pattern pattern = small.pattern();
  const std::int64_t nodes = small.nodes();
  at::Tensor mask = random_matrix(nodes, 1, 4).flatten().relu();  // half of them zero
  at::Tensor row_scale = random_matrix(nodes, 1, 3).flatten();
  for (std::int64_t i = 0; i < nodes; i += 5) row_scale.mutable_data_ptr<float>()[i] = 0;
  std::vector<GlobalNode> all;
  for (std::int32_t i = 0; i < nodes; ++i) all.push_back(GlobalNode(i));
  const at::Tensor edge_weights = at::tensor(small.rows_of(all).weights);
  const std::vector<std::int32_t> wanted = {0, 1, 7, 31, 32, 58, 59, 60, 63, 64, 104};

  for (const std::int64_t dim : {1, 2, 3, 16, 31, 32, 33, 64, 65, 96, 100, 128, 130, 256, 300}) {
    add("plain of " + std::to_string(dim), pattern, random_matrix(nodes, dim, dim));
    for (const at::ScalarType out : {at::kFloat, at::kBFloat16}) {
      SumCase& stored =
          add("bfloat16 of " + std::to_string(dim), pattern, random_matrix(nodes, dim, dim + 1));
      stored.x_type = at::kBFloat16;
      stored.out_type = out;
    }
  }
  for (const std::int64_t dim : {3, 32, 64, 128}) {
    for (int choice = 0; choice < 256; ++choice) {
      SumCase& made = add("options " + std::to_string(choice) + " of " + std::to_string(dim),
                          pattern, random_matrix(nodes, dim, 2));
      SumOptions& options = made.options;
      if (choice & 1) options.scaling.row = row_scale;
      if (choice & 2) options.scaling.column = mask;
      options.scaling.skip_zero_columns = (choice & 32) != 0;
      if (choice & 4) options.dropout = {0.4F, 9, (choice & 8) != 0};
      if (choice & 16) {
        options.horner = {random_matrix(nodes, dim, 5), at::Tensor(), nullptr, 0.25F};
      }
      if (choice & 32) {
        options.edge_weights = edge_weights;
        if (choice & 16) options.horner.scale = random_matrix(nodes, 1, 6).flatten();
      }
      if (choice & 64) {
        made.rows = RowList(wanted);
        options.rows = &made.rows;
      }
      if (choice & 128) {
        std::vector<std::int32_t> active;
        for (std::int32_t i = 0; i < nodes; i += 1 + i % 3) active.push_back(i);
        made.active = RowSet(nodes, active);
        made.x = random_matrix(made.active.size(), dim, 12);
        options.active_columns = &made.active;
        if (choice & 16) {
          options.horner.addend = random_matrix(made.active.size(), dim, 13);
          options.horner.addend_rows = &made.active;
        }
        for (std::int32_t i = 0; i < nodes; ++i) made.numbers.push_back(GlobalNode(3 * i + 7));
        if (choice & 4) options.local_to_global = &made.numbers;
      }
    }
  }
  // Two hubs of three pieces and one of one whole piece and a nonzero, beside rows without any.
  Pattern hubs;
  const std::int64_t columns = 3 * kHubChunk;
  for (const std::int64_t degree : {std::int64_t{0}, 3 * kHubChunk, std::int64_t{5}, kHubChunk,
                                    kHubChunk + 1, 3 * kHubChunk - 7}) {
    for (std::int32_t c = 0; c < degree; ++c) hubs.columns.push_back(c);
    hubs.offsets.push_back(static_cast<std::int64_t>(hubs.columns.size()));
  }
  for (const std::int64_t dim : {3, 64}) {
    for (int choice = 0; choice < 16; ++choice) {
      SumCase& made = add("hubs " + std::to_string(choice) + " of " + std::to_string(dim), hubs,
                          random_matrix(columns, dim, 21));
      if (choice & 1) made.options.dropout = {0.3F, 4, false};
      if (choice & 2) {
        made.rows = RowList({1, 2, 5});
        made.options.rows = &made.rows;
      }
      if (choice & 4) {
        made.options.scaling.row = at::tensor({1.0F, 0.5F, 2.0F, 3.0F, 0.0F, 0.25F});
        made.options.horner = {random_matrix(6, dim, 22), at::Tensor(), nullptr, 0.5F};
      }
      if (choice & 8) made.x_type = made.out_type = at::kBFloat16;
    }
  }
  // Ranges of rows, whose others keep what they had; the hubs lie in the second.
  const TestGraph long_graph = bipartite_graph(130, 60, 5);
  Pattern with_hubs = long_graph.pattern();
  for (const std::int64_t degree : {kHubChunk + 9, std::int64_t{3}, 2 * kHubChunk + 1}) {
    for (std::int32_t c = 0; c < degree; ++c) with_hubs.columns.push_back(c);
    with_hubs.offsets.push_back(static_cast<std::int64_t>(with_hubs.columns.size()));
  }
  for (int choice = 0; choice < 8; ++choice) {
    SumCase& made =
        add("range " + std::to_string(choice), with_hubs, random_matrix(2 * kHubChunk + 1, 32, 31));
    made.options.range = choice & 1 ? Range{64, 193} : Range{0, 64};
    if (choice & 2) made.options.scaling.row = random_matrix(193, 1, 32).flatten();
    if (choice & 4) {
      made.options.horner = {random_matrix(193, 32, 33), random_matrix(193, 1, 34).flatten(),
                             nullptr, 0.5F};
    }
  }
  // Addends that several rows share.
  std::vector<std::int32_t> addend_of;
  for (std::int32_t row = 0; row < with_hubs.rows(); ++row) addend_of.push_back(row * row % 5);
  for (int choice = 0; choice < 8; ++choice) {
    SumCase& made = add("shared addends " + std::to_string(choice), with_hubs,
                        random_matrix(2 * kHubChunk + 1, 32, 41));
    made.options.horner.addend = random_matrix(5, 32, 42);
    made.options.horner.addend_of = at::tensor(addend_of, at::kInt);
    if (choice & 1) made.options.horner.scale = random_matrix(193, 1, 43).flatten();
    if (choice & 2) made.options.dropout = {0.3F, 4, false};
    if (choice & 4) {
      made.rows = RowList({0, 63, 64, 191, 192});
      made.options.rows = &made.rows;
    } else if (!(choice & 2)) {
      made.options.range = Range{64, 193};
    }
  }
  Pattern lone;
  lone.offsets = {0, 0, 0};
  add("no nonzeros", lone, random_matrix(4, 5, 1));
  add("no rows", Pattern{}, random_matrix(4, 5, 1));
  return cases;
}

}  // namespace micrec
