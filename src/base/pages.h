#pragma once

#include <cstddef>
#include <vector>

namespace micrec {

/// Memory of the system's own: zeros at first, taken a page at a time as it is written, and the
/// system's again as soon as this ends, whichever thread that is in. What the C library has freed
/// stays with the thread that took it.
class Pages {
 public:
  Pages() = default;
  /// Errors   std::bad_alloc.
  explicit Pages(std::size_t bytes);
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// Gives the system back what lies before this byte, whole pages of it, which is zeros from now
  /// on.
  void give_back(std::size_t end) const;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

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
