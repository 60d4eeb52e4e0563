#include "evaluate/user_metrics.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <algorithm>
#include <numeric>

namespace micrec {
namespace {

// Columns of a travelling row before the metrics; all are whole numbers that a double holds.
enum Column : int { kView, kUser, kPositives, kClasses, kColumns };

/// The rows (view, user, positives, classes, metrics) of this rank's users from number `begin` up
/// to `end`, a row for every view that selects something of a user.
std::vector<double> rows_of_users(const RankedDomain& ranked, Range numbers) {
  const EvaluatedDomain& domain = ranked.domain;
  const auto first = std::lower_bound(domain.user.begin(), domain.user.end(), numbers.begin);
  const auto last = std::lower_bound(first, domain.user.end(), numbers.end);
  std::vector<double> rows;
  std::vector<double> values(ranked.metrics.values());
  std::vector<std::int32_t> ranks;
  for (auto at = first; at != last; ++at) {
    const std::int64_t user = at - domain.user.begin();
    for (std::size_t view = 0; view < domain.views.size(); ++view) {
      ranks_of(domain, domain.views[view], user, ranked.ahead, ranks);
      if (ranks.empty()) continue;
      ranked.metrics.compute(ranks, values);
      rows.insert(rows.end(),
                  {static_cast<double>(view), static_cast<double>(*at),
                   static_cast<double>(ranks.size()), double{domain.user_classes[user] * 1.0}});
      rows.insert(rows.end(), values.begin(), values.end());
    }
  }
  return rows;
}

/// Sends all rows to rank 0. Returns (rows of all ranks, width), empty on the other ranks.
at::Tensor send_to_first(const std::vector<double>& rows, std::int64_t width,
                         Communicator& communicator, c10::Device device) {
  const auto own = static_cast<std::int64_t>(rows.size()) / width;
  const at::Tensor sent =
      at::tensor(at::ArrayRef<double>(rows), at::kDouble).reshape({own, width}).to(device);
  const std::vector<std::int64_t> counts = gather_counts(communicator, "per_user.counts", own);
  std::vector<std::int64_t> send(communicator.size(), 0);
  send[0] = own;
  const std::vector<std::int64_t> nothing(communicator.size(), 0);
  return communicator
      .all_to_all("per_user.rows", sent, send, communicator.rank() == 0 ? counts : nothing)
      .cpu()
      .contiguous();
}

/// Rows of all ranks as the users and slices of a block; `before` evaluated users precede it.
UserBlock to_block(const EvaluatedDomain& domain, const at::Tensor& received, std::int64_t before) {
  const std::int64_t width = received.size(1);
  const double* rows = received.const_data_ptr<double>();
  std::vector<std::int64_t> order(received.size(0));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double* x = rows + a * width;
    const double* y = rows + b * width;
    return x[kView] != y[kView] ? x[kView] < y[kView] : x[kUser] < y[kUser];
  });

  UserBlock block;
  const std::size_t metrics = width - kColumns;
  block.slices.resize(domain.slice_names.size(),
                      {{}, {}, std::vector<std::vector<double>>(metrics)});
  for (const std::int64_t r : order) {
    const double* row = rows + r * width;
    const auto user = static_cast<std::int32_t>(row[kUser]);
    // The first view selects every relevant item, so all users come before the other views.
    if (row[kView] == 0) block.user.push_back(user);
    const auto place = std::lower_bound(block.user.begin(), block.user.end(), user);
    const ItemView& view = domain.views[static_cast<std::size_t>(row[kView])];
    for (int c = 0; c < kUserClasses; ++c) {
      if (view.slice[c] < 0 || (static_cast<int>(row[kClasses]) >> c & 1) == 0) continue;
      SliceOfUsers& slice = block.slices[view.slice[c]];
      slice.row.push_back(static_cast<std::int32_t>(before + (place - block.user.begin())));
      slice.positives.push_back(static_cast<std::int32_t>(row[kPositives]));
      for (std::size_t m = 0; m < metrics; ++m) slice.values[m].push_back(row[kColumns + m]);
    }
  }
  return block;
}

}  // namespace

void for_each_user_block(const RankedDomain& ranked, Communicator& communicator, c10::Device device,
                         std::int64_t block_bytes,
                         const std::function<void(const UserBlock&)>& use) {
  const EvaluatedDomain& domain = ranked.domain;
  const std::int64_t width = kColumns + ranked.metrics.values();
  CHECK(!domain.views.empty() && domain.views.front().field < 0);
  // The largest number of a user of any rank, plus one.
  at::Tensor end =
      at::full({1}, domain.user.empty() ? 0 : domain.user.back() + 1, at::kLong).to(device);
  communicator.all_reduce("per_user.end", end, Reduction::max);
  const std::int64_t users = end.item<std::int64_t>();
  const std::int64_t bytes_of_user =
      static_cast<std::int64_t>(domain.views.size() * sizeof(double)) * width;
  const std::int64_t step = std::max<std::int64_t>(1, block_bytes / bytes_of_user);
  std::int64_t before = 0;
  for (std::int64_t begin = 0; begin < users; begin += step) {
    const at::Tensor received = send_to_first(
        rows_of_users(ranked, {begin, std::min(users, begin + step)}), width, communicator, device);
    if (communicator.rank() != 0) continue;
    const UserBlock block = to_block(domain, received, before);
    before += static_cast<std::int64_t>(block.user.size());
    use(block);
  }
}

}  // namespace micrec
