#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "kernels/pattern.h"

namespace micrec {

/// Rows of people of a domain who join later, from the owned rows that each has interacted with.
/// Made once, while what it was made from stays as it is; several threads may call it at once.
/// Shapes   items: (users) of owned rows; returns (users, dim).
using RowsOfNew = std::function<at::Tensor(const Pattern& items, int domain)>;

}  // namespace micrec
