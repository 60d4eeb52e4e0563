#include "model/step/column_exchange.h"

#include <ATen/ATen.h>
#include <glog/logging.h>

#include <numeric>
#include <utility>

#include "base/number_lists.h"
#include "graph/linear_operator.h"
#include "partition/ownership.h"

namespace micrec {

ColumnExchange::ColumnExchange(const std::vector<std::int32_t>& part_of_row,
                               Communicator* columns) {
  const auto plan = std::make_shared<Plan>();
  plan_ = plan;
  plan->columns = columns;
  plan->rows = static_cast<std::int64_t>(part_of_row.size());
  plan->whole_rows = plan->rows;
  if (columns == nullptr) return;
  for (const std::int32_t part : part_of_row) CHECK(part >= 0 && part < columns->size());
  Arrival arrival = arrival_of(part_of_row, columns->size());
  plan->by_part = RowList(places_by_number(part_of_row, columns->size()).values);
  plan->place_of_row = RowList(std::move(arrival.row_of));
  plan->rows_of_part = std::move(arrival.rows_per_rank);
  plan->whole_rows = plan->rows_of_part[columns->rank()];
  plan->rows_from_ranks.assign(columns->size(), plan->whole_rows);
}

at::Tensor ColumnExchange::Plan::to_whole(const char* name, const at::Tensor& x) const {
  CHECK_EQ(x.size(0), rows);
  if (columns == nullptr) return x;
  const at::Tensor send = x.index_select(0, by_part.on(x.device()));
  if (x.dim() == 1) {
    const std::int64_t begin = std::accumulate(
        rows_of_part.begin(), rows_of_part.begin() + columns->rank(), std::int64_t{0});
    return send.slice(0, begin, begin + whole_rows).clone();
  }
  const std::int64_t width = x.size(1);
  const at::Tensor received = columns->all_to_all(name, send, rows_of_part, rows_from_ranks);
  return received.view({columns->size(), whole_rows, width})
      .permute({1, 0, 2})
      .reshape({whole_rows, columns->size() * width});
}

at::Tensor ColumnExchange::Plan::to_columns(const char* name, const at::Tensor& whole) const {
  CHECK_EQ(whole.size(0), whole_rows);
  if (columns == nullptr) return whole;
  at::Tensor received;
  if (whole.dim() == 1) {
    received = columns->all_gather(name, whole.contiguous(), rows_of_part);
  } else {
    const std::int64_t width = whole.size(1) / columns->size();
    const at::Tensor send = whole.reshape({whole_rows, columns->size(), width})
                                .permute({1, 0, 2})
                                .reshape({columns->size() * whole_rows, width});
    received = columns->all_to_all(name, send.contiguous(), rows_from_ranks, rows_of_part);
  }
  return received.index_select(0, place_of_row.on(whole.device()));
}

at::Tensor ColumnExchange::to_whole(const char* name, const at::Tensor& x) const {
  if (plan_->columns == nullptr) return x;
  const at::Tensor y = plan_->to_whole(name, x.detach());
  return with_transpose("to_whole", x, y, [plan = plan_, name](const at::Tensor& gradient) {
    return plan->to_columns(name, gradient);
  });
}

at::Tensor ColumnExchange::to_columns(const char* name, const at::Tensor& whole) const {
  return plan_->to_columns(name, whole.detach());
}

at::Tensor gather_columns(Communicator* columns, const char* name, const at::Tensor& x) {
  if (columns == nullptr) return x;
  const std::int64_t width = x.size(-1);
  // Columns as rows: the columns of a rank then lie together.
  const at::Tensor own = x.detach().reshape({-1, width}).t().contiguous();
  const at::Tensor all =
      columns->all_gather(name, own, std::vector<std::int64_t>(columns->size(), width));
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = all.size(0);
  return all.t().reshape(shape).contiguous();
}

}  // namespace micrec
