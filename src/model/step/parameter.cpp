#include "model/step/parameter.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "base/parallel.h"
#include "base/random.h"

namespace micrec {

Parameter* ModelState::add_parameter(std::string name, const at::Tensor& value, c10::Device device,
                                     Placement placement, std::string description) {
  Parameter& parameter = parameters.emplace_back(
      Parameter{std::move(name), value.to(device), placement, std::move(description)});
  parameter.value.requires_grad_(true);
  return &parameter;
}

Buffer* ModelState::add_buffer(std::string name, const at::Tensor& value, Placement placement,
                               std::string description) {
  return &buffers.emplace_back(Buffer{std::move(name), value, placement, std::move(description)});
}

void draw_normal(Parameter& parameter, const Shard& shard, double deviation, std::uint64_t seed,
                 InitialStream stream, std::uint32_t number) {
  const c10::NoGradGuard no_gradient;
  at::Tensor& rows = parameter.value;  // (rows, columns of this rank)
  const Random random(seed, Purpose::initial_values, static_cast<std::uint32_t>(stream) + number);
  const std::int64_t dim = rows.size(1) * shard.grid.columns;
  const Range own = columns_of(shard.grid, static_cast<int>(dim), shard.column_part());
  const std::int64_t pairs = (dim + 1) / 2;
  const bool by_node = has_row_a_node(parameter.placement);
  at::Tensor drawn = rows.device().is_cpu() ? rows : at::empty(rows.sizes(), at::kFloat);
  float* out = drawn.data_ptr<float>();
  parallel_for(rows.size(0), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t id = by_node ? value(shard.owned()[row]) : row;
      for (std::int64_t pair = own.begin / 2; 2 * pair < own.end; ++pair) {
        const auto normal = random.normal(static_cast<std::uint64_t>(id * pairs + pair));
        for (const int half : {0, 1}) {
          const std::int64_t column = 2 * pair + half;
          if (!own.contains(column)) continue;
          out[row * own.size() + column - own.begin] = static_cast<float>(deviation * normal[half]);
        }
      }
    }
  });
  if (!drawn.is_same(rows)) rows.copy_(drawn);
}

}  // namespace micrec
