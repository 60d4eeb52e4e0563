#include "kernels/history_sums.h"

#include <algorithm>

namespace micrec {

float history_sum(std::span<const std::int32_t> columns, std::span<const float> values,
                  const WeightedHistory& history) {
  float sum = 0;
  std::size_t c = 0;
  for (std::size_t n = 0; n < history.items.size(); ++n) {
    const std::int32_t source = history.items[n];
    while (c < columns.size() && columns[c] < source) ++c;
    if (c == columns.size()) break;
    if (columns[c] == source) sum += history.weight(n) * values[c];
  }
  return sum;
}

SourceRows::SourceRows(const SparseRows& rows, std::span<const std::int32_t> row_of) {
  std::int32_t sources = 0;
  for (const std::int32_t source : rows.column) sources = std::max(sources, source + 1);
  entries_ = lists_of<Entry>(sources, [&](const auto& use) {
    for (std::size_t position = 0; position < row_of.size(); ++position) {
      const std::int32_t row = row_of[position];
      for (std::int64_t n = rows.offsets[row]; n < rows.offsets[row + 1]; ++n) {
        use(rows.column[n], Entry{static_cast<std::int32_t>(position), rows.value[n]});
      }
    }
  });
}

void HistoryWalk::start(const SourceRows& sources, const WeightedHistory& history) {
  left_.clear();
  for (std::size_t n = 0; n < history.items.size(); ++n) {
    const std::span<const SourceRows::Entry> row = sources.of(history.items[n]);
    if (row.empty()) continue;
    left_.push_back({row.data(), row.data() + row.size(), row.front().position, history.weight(n)});
  }
}

void HistoryWalk::next(std::int64_t begin, std::int64_t end, float* sums) {
  std::fill(sums, sums + (end - begin), 0.F);
  bool any_is_over = false;
  for (Run& run : left_) {
    if (run.position >= end) continue;
    const SourceRows::Entry* entry = run.next;
    for (; entry != run.end && entry->position < end; ++entry) {
      sums[entry->position - begin] += run.weight * entry->value;
    }
    run.next = entry;
    if (entry != run.end) {
      run.position = entry->position;
    } else {
      any_is_over = true;
    }
  }
  if (any_is_over) std::erase_if(left_, [](const Run& run) { return run.next == run.end; });
}

}  // namespace micrec
