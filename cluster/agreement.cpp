#include "cluster/agreement.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cstring>

namespace micrec {

namespace {

// The text that `root` gives, on all ranks.
std::string text_of(Communicator& communicator, const char* name, const std::string& text,
                    int root) {
  at::Tensor size = at::full({1}, std::ssize(text), at::kLong);
  communicator.broadcast(name, size, root);
  at::Tensor bytes = at::empty({size.item<std::int64_t>()}, at::kByte);
  if (communicator.rank() == root && !text.empty()) {
    std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  }
  communicator.broadcast(name, bytes, root);
  return {static_cast<const char*>(bytes.const_data_ptr()),
          static_cast<std::size_t>(bytes.numel())};
}

}  // namespace

std::string broadcast_text(Communicator& communicator, const char* name, const std::string& text) {
  return text_of(communicator, name, text, 0);
}

std::optional<Failure> first_failure(Communicator& communicator, const char* name,
                                     const std::optional<Failure>& own) {
  // One small number while all is well; the message travels only when there is one.
  const int ranks = communicator.size();
  at::Tensor failed = at::full({1}, std::int64_t{own ? communicator.rank() : ranks}, at::kLong);
  communicator.all_reduce(name, failed, Reduction::min);
  const auto rank = static_cast<int>(failed.item<std::int64_t>());
  if (rank == ranks) return std::nullopt;

  at::Tensor kind = at::zeros({2}, at::kLong);
  auto* const numbers = kind.mutable_data_ptr<std::int64_t>();
  if (own) {
    numbers[0] = static_cast<std::int64_t>(own->cause);
    numbers[1] = own->is_newer_format ? 1 : 0;
  }
  communicator.broadcast(name, kind, rank);
  const std::string message = text_of(communicator, name, own ? own->message : "", rank);
  return Failure{static_cast<Cause>(numbers[0]),
                 ranks == 1 ? message : text("rank ", rank, ": ", message), numbers[1] != 0};
}

void throw_failure(const Failure& failure) {
  if (failure.is_newer_format) throw NewerFormat(failure.message);
  throw Error(failure.cause, failure.message);
}

std::vector<std::string> gather_texts(Communicator& communicator, const char* name,
                                      const std::string& text) {
  const auto size = std::ssize(text);
  const std::vector<std::int64_t> sizes = gather_counts(communicator, name, size);
  at::Tensor local = at::empty({size}, at::kByte);
  if (size > 0) std::memcpy(local.mutable_data_ptr(), text.data(), text.size());
  const at::Tensor all = communicator.all_gather(name, local, sizes);
  std::vector<std::string> texts;
  const char* at = static_cast<const char*>(all.const_data_ptr());
  for (const std::int64_t bytes : sizes) {
    texts.emplace_back(at, static_cast<std::size_t>(bytes));
    at += bytes;
  }
  return texts;
}

void throw_together(Communicator& communicator, const char* name,
                    const std::optional<Failure>& own) {
  if (const std::optional<Failure> failure = first_failure(communicator, name, own)) {
    throw_failure(*failure);
  }
}

}  // namespace micrec
