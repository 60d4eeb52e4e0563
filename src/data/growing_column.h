#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace micrec {

/// Values that come one after the other, as many as there may be: kept in pieces, so that room for
/// more is never taken twice, as a vector takes it while it grows. A piece is so large that the C
/// library gives its memory back to the system when it goes; what is not filled takes none.
template <typename T, std::size_t kPiece = std::size_t{1} << 24>
class GrowingColumn {
 public:
  std::size_t size() const { return full_.size() * kPiece + last_.size(); }

  void push_back(T value) {
    if (last_.size() == kPiece) close();
    if (last_.capacity() == 0) last_.reserve(kPiece);
    last_.push_back(value);
  }

  /// Room for some more, to be filled by the caller; at most kPiece of them, and fewer where a
  /// piece ends.
  std::span<T> grow(std::size_t wanted) {
    if (last_.size() == kPiece) close();
    if (last_.capacity() == 0) last_.reserve(kPiece);
    const std::size_t begin = last_.size();
    const std::size_t count = std::min(wanted, kPiece - begin);
    last_.resize(begin + count);
    return std::span<T>(last_).subspan(begin);
  }

  /// Moves all values behind those of `out`, whose room is taken once.
  void move_to(std::vector<T>& out) {
    if (out.empty() && full_.empty()) {
      out = std::move(last_);
      last_ = {};
      return;
    }
    out.reserve(out.size() + size());
    for (std::vector<T>& piece : full_) {
      out.insert(out.end(), piece.begin(), piece.end());
      std::vector<T>().swap(piece);
    }
    out.insert(out.end(), last_.begin(), last_.end());
    full_.clear();
    std::vector<T>().swap(last_);
  }

 private:
  void close() {
    full_.push_back(std::move(last_));
    last_ = {};
  }

  std::vector<std::vector<T>> full_;  // pieces of kPiece values
  std::vector<T> last_;
};

}  // namespace micrec
