#pragma once

#include <cstddef>
#include <vector>

namespace micrec {

/// Asks the system for huge pages where memory will be read in random order, so that its pages need
/// not be looked up again and again; nothing for less than two of them. Only advice: where the
/// system has none, nothing is lost but time. Of memory that was not written yet.
void advise_huge_pages(void* begin, std::size_t bytes);

/// Room for so many numbers, that will be read in random order.
template <typename T>
void reserve_huge(std::vector<T>& numbers, std::size_t count) {
  numbers.reserve(count);
  advise_huge_pages(numbers.data(), count * sizeof(T));
}

}  // namespace micrec
