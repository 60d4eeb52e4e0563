#include "partition/process_grid.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace micrec {
namespace {

constexpr int kMostLeaves = 64;

}  // namespace

std::string to_text(const ProcessGrid& grid) { return text(grid.rows, "x", grid.columns); }

int column_leaves(int dim) {
  CHECK_GE(dim, 1);
  return std::min(kMostLeaves, dim & -dim);
}

std::optional<ProcessGrid> read_grid(const std::string& text) {
  constexpr std::int64_t kMost = 1 << 20;
  const std::vector<std::string> parts = split(text, 'x');
  if (parts.size() != 2) return std::nullopt;
  const std::int64_t rows = parse_integer(parts[0]).value_or(0);
  const std::int64_t columns = parse_integer(parts[1]).value_or(0);
  if (rows < 1 || columns < 1 || rows > kMost || columns > kMost / rows) return std::nullopt;
  return ProcessGrid{static_cast<int>(rows), static_cast<int>(columns)};
}

ProcessGrid parse_grid(const std::string& text_of_grid, int ranks, int dim) {
  const std::optional<ProcessGrid> grid = read_grid(text_of_grid);
  if (!grid) {
    throw Error(Cause::usage, "--grid=", text_of_grid,
                ": expected RxC, row parts x column parts, such as 4x2, or "
                "auto");
  }
  const int columns = grid->columns;
  if (grid->ranks() != ranks) {
    throw Error(Cause::usage, "--grid=", text_of_grid, " has ", grid->rows, " x ", columns,
                " parts, but ", ranks, ranks == 1 ? " rank was" : " ranks were",
                " started; expected as many parts as ranks: change --grid or the number of "
                "ranks");
  }
  const int leaves = column_leaves(dim);
  if (columns > leaves || leaves % columns != 0) {
    std::vector<std::string> possible;
    for (int c = 1; c <= leaves; c *= 2) possible.push_back(std::to_string(c));
    throw Error(Cause::usage, "--grid=", text_of_grid, " cuts the columns in ", columns,
                ", but --dim=", dim, " can be cut in ", join(possible, ", "),
                " (powers of two that divide it, at most ", kMostLeaves,
                "); choose another grid or another --dim");
  }
  return *grid;
}

Range columns_of(const ProcessGrid& grid, int dim, int column_part) {
  CHECK_EQ(column_leaves(dim) % grid.columns, 0) << dim << " columns in " << grid.columns;
  CHECK(column_part >= 0 && column_part < grid.columns);
  const std::int64_t width = dim / grid.columns;
  return {column_part * width, (column_part + 1) * width};
}

Range summands_of(const Layout& layout, int row_part) {
  const std::int64_t count = layout.summands.ranks;
  return {row_part * count / layout.grid.rows, (row_part + 1) * count / layout.grid.rows};
}

Layout make_layout(const NodeSpace& space, const People& people, Ownership summands,
                   const ProcessGrid& grid, bool reproducible) {
  CHECK(reproducible || summands.ranks == grid.rows);
  CHECK_EQ(static_cast<std::int64_t>(summands.owner.size()), space.nodes());
  CHECK_GE(summands.ranks, grid.rows) << "a row part without summands";
  Layout layout{grid, std::move(summands), {}, {}, reproducible};

  std::vector<std::int32_t> row_part(static_cast<std::size_t>(layout.summands.ranks));
  for (int part = 0; part < grid.rows; ++part) {
    const Range own = summands_of(layout, part);
    std::fill(row_part.begin() + own.begin, row_part.begin() + own.end, part);
  }
  layout.rows.ranks = grid.rows;
  layout.rows.owner.reserve(layout.summands.owner.size());
  for (const std::int32_t summand : layout.summands.owner) {
    layout.rows.owner.push_back(row_part[summand]);
  }

  layout.whole.ranks = grid.ranks();
  layout.whole.owner.resize(layout.rows.owner.size());
  std::vector<std::int32_t> people_met(static_cast<std::size_t>(grid.rows));
  std::vector<std::int32_t> items_met(static_cast<std::size_t>(grid.rows));
  std::vector<std::int32_t> part_of_person(static_cast<std::size_t>(people.count), -1);
  for (std::int64_t node = 0; node < space.nodes(); ++node) {
    const std::int32_t part = layout.rows.owner[node];
    std::int32_t column_part = 0;
    if (node < space.users()) {
      std::int32_t& of_person = part_of_person[people.person[node]];
      if (of_person < 0) of_person = people_met[part]++ % grid.columns;
      column_part = of_person;
    } else {
      column_part = items_met[part]++ % grid.columns;
    }
    layout.whole.owner[node] = grid.rank_of(part, column_part);
  }
  return layout;
}

}  // namespace micrec
