#include "graph/approximate_neighbours.h"

#include <ATen/ATen.h>
#include <glog/logging.h>
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/description.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "base/timer.h"
#include "kernels/dispatch.h"

namespace micrec {
namespace {

constexpr std::int64_t kBlock = 4096;  // items read at a time, and that one part of ranks asks for
constexpr std::int64_t kChunk = 16;    // queries that a thread takes
constexpr int kLinks = 16;
constexpr int kBuildWidth = 100;  // candidates that a new item chooses its links from
constexpr int kWidths[] = {8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
constexpr double kRecallOfGraph = 0.985;  // of the sample's neighbours in it
constexpr float kSameCosine = 1e-6F;
constexpr ScoredItem kNone{-1, 0};
constexpr std::int64_t kBytesOfFound = sizeof(ScoredItem);  // as it travels

/// Whether a rank with this share asks its graphs for an item.
bool is_handled(std::int64_t item, const GraphShare& share) {
  return !share.graphs.empty() && item / kBlock % share.parts == share.part;
}

/// The first of the sampled items whose true neighbours a rank finds.
std::int64_t first_sampled(std::int64_t sampled, int rank, int ranks) {
  return sampled * rank / ranks;
}

void keep_best(std::vector<ScoredItem>& found, std::int64_t k) {
  if (static_cast<std::int64_t>(found.size()) > k) {
    std::nth_element(found.begin(), found.begin() + k, found.end(), is_better);
    found.resize(k);
  }
}

/// The items that a rank asks for, rising.
std::vector<std::int64_t> asked_by(const NeighbourQuestion& question, int rank) {
  std::vector<std::int64_t> items;
  for (std::int64_t item = 0; item < question.source.items; ++item) {
    if (question.asked_by[item] == rank) items.push_back(item);
  }
  return items;
}

/// Rows as a graph has them: 1 / length, and a byte a column.
class ByteRows : public hnswlib::SpaceInterface<float> {
 public:
  explicit ByteRows(std::int64_t width)
      : bytes_of_row_(sizeof(float) + (width + 3) / 4 * 4), parameter_{width, kernels()} {}

  std::int64_t bytes_of_row() const { return bytes_of_row_; }

  /// Shapes   row: (width), of unit length or zeros; to: (bytes_of_row()).
  void convert(const float* row, std::byte* to) const {
    const std::int64_t width = parameter_.width;
    float largest = 0;
    for (std::int64_t c = 0; c < width; ++c) largest = std::max(largest, std::abs(row[c]));
    const float scale = largest > 0 ? 127 / largest : 0;
    auto* const numbers = reinterpret_cast<std::int8_t*>(to + sizeof(float));
    std::int64_t squares = 0;
    for (std::int64_t c = 0; c < width; ++c) {
      numbers[c] = static_cast<std::int8_t>(std::lrintf(row[c] * scale));
      squares += static_cast<std::int64_t>(numbers[c]) * numbers[c];
    }
    const auto inverse =
        squares > 0 ? static_cast<float>(1 / std::sqrt(static_cast<double>(squares))) : 0.0F;
    std::memcpy(to, &inverse, sizeof inverse);
  }

  size_t get_data_size() override { return bytes_of_row_; }
  hnswlib::DISTFUNC<float> get_dist_func() override { return distance; }
  void* get_dist_func_param() override { return &parameter_; }

 private:
  struct Parameter {
    std::int64_t width;
    const Kernels& kernels;
  };
  /// Minus the cosine. No addition follows the products, so there is one way to round.
  static float distance(const void* a, const void* b, const void* parameter) {
    const auto& of = *static_cast<const Parameter*>(parameter);
    float lengths[2];
    std::memcpy(&lengths[0], a, sizeof(float));
    std::memcpy(&lengths[1], b, sizeof(float));
    const std::int32_t product =
        of.kernels.multiply_bytes(static_cast<const std::int8_t*>(a) + sizeof(float),
                                  static_cast<const std::int8_t*>(b) + sizeof(float), of.width);
    return -static_cast<float>(product) * lengths[0] * lengths[1];
  }

  std::int64_t bytes_of_row_;
  Parameter parameter_;
};

/// Rows of unit length in both forms.
struct UnitRows {
  UnitRows(const ByteRows& space, std::int64_t rows, std::int64_t columns)
      : width(columns),
        bytes_of_row(space.bytes_of_row()),
        floats(rows * columns),
        bytes(rows * bytes_of_row) {}

  float* row(std::int64_t n) { return floats.data() + n * width; }
  const float* row(std::int64_t n) const { return floats.data() + n * width; }
  std::byte* converted(std::int64_t n) { return bytes.data() + n * bytes_of_row; }
  const std::byte* converted(std::int64_t n) const { return bytes.data() + n * bytes_of_row; }

  std::int64_t width;
  std::int64_t bytes_of_row;
  std::vector<float> floats;     // (rows, width)
  std::vector<std::byte> bytes;  // (rows, bytes_of_row)
};

/// A graph over some items, which searches for their neighbours. Of items with equal rows only one
/// is in it: many of them would know each other alone, and nobody would find a way to them.
class ItemGraph {
 public:
  /// `floats`: (items, width) of unit length. `space` outlives this.
  ItemGraph(std::vector<std::int32_t> items, std::vector<float> floats, ByteRows& space,
            std::int64_t width)
      : items_(std::move(items)), floats_(std::move(floats)), space_(space), width_(width) {}

  /// The first and the last of its items.
  std::int32_t first() const { return items_.front(); }
  std::int32_t last() const { return items_.back(); }

  void build() {
    join_equal_rows();
    graph_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(&space_, different_.size(), kLinks,
                                                               kBuildWidth);
    std::vector<std::byte> bytes(space_.bytes_of_row());
    for (std::size_t n = 0; n < different_.size(); ++n) {
      space_.convert(row(different_[n]), bytes.data());
      graph_->addPoint(bytes.data(), n);
    }
  }

  /// Adds the best k of those met in a search of this width, but for `self`. Shapes   query:
  /// (width) of unit length, and converted.
  void search(const float* query, const std::byte* converted, int search_width, std::int32_t self,
              std::int64_t k, std::vector<ScoredItem>& found) const {
    const std::size_t most = std::min<std::size_t>(search_width, different_.size());
    std::vector<ScoredItem> best;
    for (auto met = graph_->searchKnn(converted, most); !met.empty(); met.pop()) {
      std::int32_t place = different_[met.top().second];
      const float cosine = kernels().score_pair(query, 1, row(place), 1, width_);
      for (std::int64_t n = 0; place >= 0 && n <= k; ++n, place = next_equal_[place]) {
        if (items_[place] != self) best.push_back({items_[place], cosine});
      }
    }
    keep_best(best, k);
    found.insert(found.end(), best.begin(), best.end());
  }

 private:
  const float* row(std::int64_t place) const { return floats_.data() + place * width_; }

  void join_equal_rows() {
    const std::size_t bytes = width_ * sizeof(float);
    next_equal_.assign(items_.size(), -1);
    std::vector<std::int32_t> last_equal(items_.size());
    std::unordered_multimap<std::size_t, std::int32_t> of_hash;
    of_hash.reserve(items_.size());
    for (std::int32_t place = 0; place < static_cast<std::int32_t>(items_.size()); ++place) {
      const std::string_view text(reinterpret_cast<const char*>(row(place)), bytes);
      const std::size_t hash = std::hash<std::string_view>{}(text);
      const auto [begin, end] = of_hash.equal_range(hash);
      const auto equal = std::find_if(begin, end, [&](const auto& one) {
        return std::memcmp(row(one.second), row(place), bytes) == 0;
      });
      last_equal[place] = place;
      if (equal == end) {
        of_hash.emplace(hash, place);
        different_.push_back(place);
      } else {
        next_equal_[last_equal[equal->second]] = place;
        last_equal[equal->second] = place;
      }
    }
  }

  std::vector<std::int32_t> items_;  // rising
  std::vector<float> floats_;        // (items, width)
  ByteRows& space_;
  std::int64_t width_;
  std::vector<std::int32_t> different_;   // places of items, one of each row
  std::vector<std::int32_t> next_equal_;  // (items) the next place with the same row, -1: none
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph_;
};

class ApproximateSearch {
 public:
  ApproximateSearch(const NeighbourQuestion& question, int graphs, Communicator* communicator)
      : question_(question),
        graphs_(graphs),
        communicator_(communicator),
        share_(share_of_graphs(rank(), ranks(), graphs)),
        space_(question.source.width) {
    for (std::int64_t item = 0; item < question.source.items; ++item) {
      if (question.eligible[item]) eligible_.push_back(static_cast<std::int32_t>(item));
    }
    for (std::int64_t item = 0; item < question.source.items; ++item) {
      if (question.asked_by[item] >= 0 && is_handled(item, share_)) queries_.push_back(item);
    }
    best_.assign(queries_.size() * question.k, kNone);
    find_truth();
  }

  /// Ranks: local.
  void search() {
    const auto own = static_cast<int>(share_.graphs.size());
    for (int first = 0; first < own; first += compute_threads()) {
      const int last = std::min(own, first + compute_threads());
      std::vector<ItemGraph> graphs;
      for (int g = first; g < last; ++g) {
        if (std::optional<ItemGraph> graph = read_graph(share_.graphs[g])) {
          graphs.push_back(std::move(*graph));
        }
      }
      const auto count = static_cast<std::int64_t>(graphs.size());
      parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t g = begin; g < end; ++g) graphs[g].build();
      });
      std::vector<int> widths;
      for (const ItemGraph& graph : graphs) widths.push_back(choose_width(graph));
      ask(graphs, widths);
    }
  }

  /// The share of the sample's neighbours that all graphs together have found. Ranks: collective.
  double recall() {
    if (sample_.empty()) return 1;
    at::Tensor found = at::empty({static_cast<std::int64_t>(found_.size())}, at::kLong);
    std::copy(found_.begin(), found_.end(), found.mutable_data_ptr<std::int64_t>());
    if (communicator_ != nullptr) communicator_->all_reduce("neighbours.recall", found);
    double sum = 0;
    double all = 0;
    for (std::size_t n = 0; n < truth_.size(); ++n) {
      const auto count = static_cast<std::int64_t>(truth_[n].size());
      sum += static_cast<double>(
          std::min(count, found.const_data_ptr<std::int64_t>()[static_cast<std::int64_t>(n)]));
      all += static_cast<double>(count);
    }
    return all > 0 ? sum / all : 1;
  }
  std::int64_t sampled() const { return static_cast<std::int64_t>(sample_.size()); }

  /// Brings together what the ranks have found. Ranks: collective.
  NumberLists exchange() {
    const int ranks = this->ranks();
    std::vector<std::int64_t> send_rows(ranks, 0), receive_rows(ranks, 0);
    for (const std::int64_t item : queries_) ++send_rows[question_.asked_by[item]];
    std::vector<std::int64_t> next(ranks, 0);
    std::exclusive_scan(send_rows.begin(), send_rows.end(), next.begin(), std::int64_t{0});
    const at::Tensor send = room_for_lists(std::ssize(queries_));
    for (std::size_t n = 0; n < queries_.size(); ++n) {
      std::copy_n(best_.begin() + static_cast<std::int64_t>(n) * question_.k, question_.k,
                  list_at(send, next[question_.asked_by[queries_[n]]]++));
    }
    const std::vector<std::int64_t> own = asked_by(question_, rank());
    std::vector<GraphShare> shares;
    for (int rank = 0; rank < ranks; ++rank) {
      shares.push_back(share_of_graphs(rank, ranks, graphs_));
      receive_rows[rank] = std::ranges::count_if(
          own, [&](std::int64_t item) { return is_handled(item, shares[rank]); });
    }
    const at::Tensor received =
        communicator_ == nullptr
            ? send
            : communicator_->all_to_all("neighbours.found", send, send_rows, receive_rows);
    std::exclusive_scan(receive_rows.begin(), receive_rows.end(), next.begin(), std::int64_t{0});
    std::vector<std::vector<ScoredItem>> found;
    for (const std::int64_t item : own) {
      std::vector<ScoredItem>& all = found.emplace_back();
      for (int rank = 0; rank < ranks; ++rank) {
        if (!is_handled(item, shares[rank])) continue;
        take_list(received, next[rank]++, all);
      }
      keep_best(all, question_.k);
    }
    return by_number(found);
  }

 private:
  int rank() const { return communicator_ == nullptr ? 0 : communicator_->rank(); }
  int ranks() const { return communicator_ == nullptr ? 1 : communicator_->size(); }

  // Found lists as they travel: k items each, kNone where there are fewer.
  at::Tensor room_for_lists(std::int64_t lists) const {
    static_assert(kBytesOfFound == 2 * sizeof(std::int32_t));
    return at::empty({lists, 2 * static_cast<std::int64_t>(question_.k)}, at::kInt);
  }
  ScoredItem* list_at(const at::Tensor& lists, std::int64_t n) const {
    return static_cast<ScoredItem*>(lists.mutable_data_ptr()) + n * question_.k;
  }
  void take_list(const at::Tensor& lists, std::int64_t n, std::vector<ScoredItem>& to) const {
    std::copy_if(list_at(lists, n), list_at(lists, n + 1), std::back_inserter(to),
                 [](const ScoredItem& one) { return one.item >= 0; });
  }

  /// Draws the sample and finds its true neighbours, each rank those of its part. Ranks:
  /// collective.
  void find_truth() {
    // Of those that ask: an item that is in a graph is found more easily than one that is not.
    std::vector<std::int64_t> asking;
    for (std::int64_t item = 0; item < question_.source.items; ++item) {
      if (question_.asked_by[item] >= 0) asking.push_back(item);
    }
    const auto count = static_cast<std::int64_t>(asking.size());
    if (count == 0) return;
    const Permutation permutation(count, /*seed=*/0, Purpose::neighbour_sample);
    for (std::int64_t n = 0; n < std::min(kSampledItems, count); ++n) {
      sample_.push_back(asking[permutation.at(n)]);
    }
    std::ranges::sort(sample_);
    const int ranks = this->ranks();
    const auto cut = [&](int rank) { return first_sampled(sampled(), rank, ranks); };
    std::vector<std::int64_t> rows;
    for (int rank = 0; rank < ranks; ++rank) rows.push_back(cut(rank + 1) - cut(rank));
    const std::vector<std::int64_t> own(sample_.begin() + cut(rank()),
                                        sample_.begin() + cut(rank() + 1));
    const std::vector<std::vector<ScoredItem>> found = nearest_with_cosines(
        own, read_rows(question_.source, own), question_.source, question_.eligible, question_.k);
    const at::Tensor local = room_for_lists(std::ssize(own));
    std::fill(list_at(local, 0), list_at(local, std::ssize(own)), kNone);
    for (std::int64_t n = 0; n < std::ssize(found); ++n) {
      std::ranges::copy(found[n], list_at(local, n));
    }
    const at::Tensor all = communicator_ == nullptr
                               ? local
                               : communicator_->all_gather("neighbours.sample", local, rows);
    for (std::int64_t n = 0; n < sampled(); ++n) take_list(all, n, truth_.emplace_back());
    const at::Tensor features = read_rows(question_.source, sample_);
    sample_rows_ = std::make_unique<UnitRows>(space_, sampled(), question_.source.width);
    convert(features.const_data_ptr<float>(), sample_, *sample_rows_);
    found_.assign(sample_.size(), 0);
  }

  /// Rows of items to unit rows. Shapes   rows: (items, width).
  void convert(const float* rows, const std::vector<std::int64_t>& items, UnitRows& to) const {
    const auto count = static_cast<std::int64_t>(items.size());
    parallel_for(count, kChunk, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        to_unit_length(rows + n * to.width, to.width, items[n], to.row(n));
        space_.convert(to.row(n), to.converted(n));
      }
    });
  }

  /// The graph of a number, not built yet; none where no item falls into it.
  std::optional<ItemGraph> read_graph(int number) {
    const auto count = static_cast<std::int64_t>(eligible_.size());
    const std::int64_t first = count * number / graphs_;
    const std::int64_t last = count * (number + 1) / graphs_;
    if (first == last) return std::nullopt;
    const std::int64_t width = question_.source.width;
    std::vector<std::int32_t> items;
    std::vector<float> floats((last - first) * width);
    std::vector<float> block(std::min(kBlock, question_.source.items) * width);
    for (std::int64_t next = first; next < last;) {
      const std::int64_t begin = eligible_[next] / kBlock * kBlock;
      const std::int64_t end = std::min(question_.source.items, begin + kBlock);
      question_.source.read(begin, end, block.data());
      for (; next < last && eligible_[next] < end; ++next) {
        const std::int32_t item = eligible_[next];
        to_unit_length(block.data() + (item - begin) * width, width, item,
                       floats.data() + (next - first) * width);
        items.push_back(item);
      }
    }
    return ItemGraph(std::move(items), std::move(floats), space_, width);
  }

  /// The neighbours of the sample's n-th item that a graph finds.
  std::vector<ScoredItem> search_for_sampled(const ItemGraph& graph, std::int64_t n,
                                             int width) const {
    std::vector<ScoredItem> found;
    graph.search(sample_rows_->row(n), sample_rows_->converted(n), width,
                 static_cast<std::int32_t>(sample_[n]), question_.k, found);
    return found;
  }

  /// How far a graph must be searched, and counts what that finds for the sample.
  int choose_width(const ItemGraph& graph) {
    const std::int64_t count = sampled();
    std::vector<std::int64_t> in_graph(count), near(count);
    for (std::int64_t n = 0; n < count; ++n) {
      in_graph[n] = std::ranges::count_if(truth_[n], [&](const ScoredItem& one) {
        return graph.first() <= one.item && one.item <= graph.last();
      });
    }
    const auto all = std::accumulate(in_graph.begin(), in_graph.end(), std::int64_t{0});
    int chosen = 0;
    for (const int width : kWidths) {
      chosen = width;
      parallel_for(count, kChunk, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
          const float least = truth_[n].empty() ? 0 : truth_[n].back().score - kSameCosine;
          near[n] =
              std::ranges::count_if(search_for_sampled(graph, n, width),
                                    [&](const ScoredItem& one) { return one.score >= least; });
        }
      });
      std::int64_t enough = 0;
      for (std::int64_t n = 0; n < count; ++n) enough += std::min(in_graph[n], near[n]);
      if (static_cast<double>(enough) >= kRecallOfGraph * static_cast<double>(all)) break;
    }
    if (share_.part == 0) {
      for (std::int64_t n = 0; n < count; ++n) found_[n] += near[n];
    }
    return chosen;
  }

  /// Asks some graphs for the neighbours of all queries.
  void ask(const std::vector<ItemGraph>& graphs, const std::vector<int>& widths) {
    const FeatureSource& source = question_.source;
    std::vector<float> block(std::min(kBlock, source.items) * source.width);
    UnitRows rows(space_, std::min(kBlock, source.items), source.width);
    for (std::size_t next = 0; next < queries_.size();) {
      const std::int64_t begin = queries_[next] / kBlock * kBlock;
      const std::int64_t end = std::min(source.items, begin + kBlock);
      source.read(begin, end, block.data());
      std::vector<std::int64_t> items;
      const std::size_t first = next;
      for (; next < queries_.size() && queries_[next] < end; ++next) {
        const auto n = static_cast<std::int64_t>(items.size());
        // Never moves a row over one that is still to come.
        std::copy_n(block.data() + (queries_[next] - begin) * source.width, source.width,
                    block.data() + n * source.width);
        items.push_back(queries_[next]);
      }
      convert(block.data(), items, rows);
      const auto count = static_cast<std::int64_t>(items.size());
      parallel_for(count, kChunk, [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t n = from; n < to; ++n) {
          ask_for(first + n, rows.row(n), rows.converted(n), graphs, widths);
        }
      });
    }
  }

  void ask_for(std::size_t query, const float* row, const std::byte* converted,
               const std::vector<ItemGraph>& graphs, const std::vector<int>& widths) {
    const auto best = best_.begin() + static_cast<std::int64_t>(query) * question_.k;
    std::vector<ScoredItem> found;
    for (int n = 0; n < question_.k && best[n].item >= 0; ++n) found.push_back(best[n]);
    for (std::size_t g = 0; g < graphs.size(); ++g) {
      graphs[g].search(row, converted, widths[g], static_cast<std::int32_t>(queries_[query]),
                       question_.k, found);
    }
    keep_best(found, question_.k);
    std::ranges::copy(found, best);
  }

  const NeighbourQuestion& question_;
  int graphs_;
  Communicator* communicator_;  // null: one rank
  GraphShare share_;
  ByteRows space_;
  std::vector<std::int32_t> eligible_;          // items, rising
  std::vector<std::int64_t> queries_;           // items of all ranks that this one searches for
  std::vector<ScoredItem> best_;                // (queries, k), kNone where there are fewer
  std::vector<std::int64_t> sample_;            // items, rising
  std::unique_ptr<UnitRows> sample_rows_;       // of them
  std::vector<std::vector<ScoredItem>> truth_;  // (sample) the nearest, best first
  std::vector<std::int64_t> found_;  // (sample) how many as near this rank's graphs have found
};

}  // namespace

GraphShare share_of_graphs(int rank, int ranks, int graphs) {
  GraphShare share;
  if (ranks <= graphs) {
    for (int graph = rank; graph < graphs; graph += ranks) share.graphs.push_back(graph);
  } else {
    const int graph = rank % graphs;
    share = {{graph}, rank / graphs, (ranks - graph + graphs - 1) / graphs};
  }
  return share;
}

std::vector<SearchTraffic> traffic_of_search(const std::vector<std::int32_t>& asked_by, int k,
                                             int ranks) {
  const auto items = static_cast<std::int64_t>(asked_by.size());
  const auto list = static_cast<double>(k * kBytesOfFound);
  std::vector<double> asked_of_block((items + kBlock - 1) / kBlock, 0);
  std::vector<SearchTraffic> traffic(ranks);
  std::vector<GraphShare> shares;
  for (int rank = 0; rank < ranks; ++rank) {
    shares.push_back(share_of_graphs(rank, ranks, kNeighbourGraphs));
  }
  std::int64_t asking = 0;
  for (std::int64_t item = 0; item < items; ++item) {
    const std::int32_t rank = asked_by[item];
    if (rank < 0) continue;
    ++asking;
    ++asked_of_block[item / kBlock];
    if (is_handled(item, shares[rank])) traffic[rank].found -= list;
  }
  const std::int64_t sampled = std::min(kSampledItems, asking);
  for (int rank = 0; rank < ranks; ++rank) {
    for (std::size_t block = 0; block < asked_of_block.size(); ++block) {
      const bool is_asked = is_handled(static_cast<std::int64_t>(block) * kBlock, shares[rank]);
      traffic[rank].found += is_asked ? list * asked_of_block[block] : 0;
    }
    const std::int64_t own =
        first_sampled(sampled, rank + 1, ranks) - first_sampled(sampled, rank, ranks);
    traffic[rank].sample = list * static_cast<double>(own * (ranks - 1));
    traffic[rank].sampled = sampled;
  }
  return traffic;
}

double most_search_bytes(const NeighbourSearchSize& size) {
  constexpr double kFloat = sizeof(float);
  constexpr double kFound = kBytesOfFound;
  constexpr double kNumber = sizeof(std::int32_t);
  // What a graph has of an item beside its row: links, a lock, a label and where to find it, and
  // what joins equal rows.
  constexpr double kOfItem = 2 * kLinks * kNumber + 250;
  constexpr double kBlocks = 3;  // of rows that are read and converted
  const double rows = kBlocks * kBlock * size.width * kFloat;
  if (!is_approximate(size.search, static_cast<std::int64_t>(size.eligible),
                      static_cast<std::int64_t>(size.asked))) {
    // Heaps, what they become, and the numbers of those.
    return rows + size.own * (size.width * kFloat + size.k * (2 * kFound + kNumber));
  }
  const GraphShare share = share_of_graphs(0, size.ranks, kNeighbourGraphs);
  const double graphs = size.eligible * static_cast<double>(share.graphs.size()) / kNeighbourGraphs;
  const double found = (size.ranks > 1 ? 2 : 1) * size.asked / share.parts * size.k * kFound;
  return rows + graphs * (size.width * (kFloat + 1) + kOfItem) + found +
         size.own * size.k * (kFound + kNumber);
}

std::string in_words(const NeighbourSearchReport& report) {
  std::string words = text("among ", with_commas(report.eligible), " items, ");
  const std::string recall =
      text("recall ", decimal("%.4f", report.recall), " of ", report.sampled, " items");
  if (!report.tried_graphs) {
    words += "exactly";
  } else if (report.is_exact) {
    words += text("exactly, as the approximate search had ", recall);
  } else {
    words += text("approximately: ", recall);
  }
  return text(words, ", in ", in_time(report.seconds));
}

NumberLists find_neighbours(const NeighbourQuestion& question, const NeighbourOptions& options,
                            Communicator* communicator, NeighbourSearchReport* report) {
  CHECK_EQ(static_cast<std::int64_t>(question.eligible.size()), question.source.items);
  CHECK_EQ(static_cast<std::int64_t>(question.asked_by.size()), question.source.items);
  CHECK_GE(question.k, 1);
  const Timer timer;
  NeighbourSearchReport told;
  told.eligible = std::ranges::count(question.eligible, 1);
  told.asking =
      std::ranges::count_if(question.asked_by, [](std::int32_t rank) { return rank >= 0; });
  told.tried_graphs = is_approximate(options.search, told.eligible, told.asking);
  NumberLists result;
  if (told.tried_graphs) {
    ApproximateSearch search(question, options.graphs, communicator);
    search.search();
    told.recall = search.recall();
    told.sampled = search.sampled();
    told.is_exact = told.recall < options.least_recall;
    if (!told.is_exact) result = search.exchange();
  }
  if (told.is_exact) {
    const std::vector<std::int64_t> queries =
        asked_by(question, communicator == nullptr ? 0 : communicator->rank());
    result = nearest_neighbours(queries, read_rows(question.source, queries), question.source,
                                question.eligible, question.k);
  }
  told.seconds = timer.seconds();
  if (report != nullptr) *report = told;
  return result;
}

}  // namespace micrec
