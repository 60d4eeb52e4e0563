#include "contract.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "base/timer.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

CommunicatorOptions patient() { return {.deadline_seconds = 60}; }
CommunicatorOptions checked() { return {.deadline_seconds = 60, .check_collectives = true}; }

// Both modes must do the same.
void run_in_both_modes(const RunGroup& run, const std::function<void(Communicator&)>& body) {
  run(patient(), body);
  run(checked(), body);
}

// Uneven shares: 2, 0, 3, 1, 4, 2, 0, 3 rows.
std::int64_t share_of(int rank) { return (3 * rank + 2) % 5; }

std::vector<std::int64_t> shares(int ranks) {
  std::vector<std::int64_t> rows;
  for (int rank = 0; rank < ranks; ++rank) rows.push_back(share_of(rank));
  return rows;
}

std::int64_t sum(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

const std::vector<at::ScalarType>& moved_dtypes() {
  static const std::vector<at::ScalarType> dtypes = {
      at::kFloat, at::kDouble, at::kInt, at::kLong, at::kByte, at::kBool, at::kHalf, at::kBFloat16};
  return dtypes;
}

const std::vector<at::ScalarType>& reduced_dtypes() {
  static const std::vector<at::ScalarType> dtypes = {at::kFloat, at::kDouble, at::kInt, at::kLong};
  return dtypes;
}

// Small whole numbers that tell who made them, exact in every dtype: (rows, columns).
at::Tensor numbers(std::int64_t rows, std::int64_t columns, int key, at::ScalarType dtype) {
  return at::arange(rows * columns, at::kLong)
      .add(7 * key + 1)
      .remainder(120)
      .view({rows, columns})
      .to(dtype);
}

std::string message_of(const std::function<void()>& call) {
  return refusal_of(Cause::cluster, call);
}

// As messages name a rank of the group.
std::string named(const Communicator& group, int rank) {
  return "rank " + std::to_string(group.rank_in_run(rank));
}

void poll_forever(Communicator& group) {
  while (true) {
    group.poll("test.poll");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// When it returns on the last rank, no other is in an earlier collective any more.
void tell_the_last(Communicator& group) {
  const auto ranks = static_cast<std::size_t>(group.size());
  const bool is_last = group.rank() == group.size() - 1;
  std::vector<std::int64_t> send_rows(ranks, 0);
  send_rows.back() = 1;
  group.all_to_all("test.here", at::ones({1}), send_rows,
                   std::vector<std::int64_t>(ranks, is_last ? 1 : 0));
}

// Into rows of their own, one rank's after the other's.
std::unique_ptr<PendingTensor> start_all_to_all(Communicator& group, const char* name,
                                                const at::Tensor& send,
                                                const std::vector<std::int64_t>& send_rows,
                                                const std::vector<std::int64_t>& receive_rows) {
  std::vector<std::int64_t> shape = send.sizes().vec();
  shape[0] = sum(receive_rows);
  std::vector<std::int64_t> first_rows(receive_rows.size());
  std::exclusive_scan(receive_rows.begin(), receive_rows.end(), first_rows.begin(),
                      std::int64_t{0});
  return group.start_all_to_all_into(name, send, send_rows, receive_rows,
                                     at::empty(shape, send.options()), first_rows);
}

void barrier_waits_for_all(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    // Nobody may pass before the slowest has come.
    constexpr double kLateSeconds = 0.05;
    const Timer timer;  // From before the last rank's sleep can begin.
    group.barrier("test.start");
    if (group.rank() == group.size() - 1) {
      std::this_thread::sleep_for(std::chrono::duration<double>(kLateSeconds));
    }
    group.barrier("test.barrier");
    EXPECT_GE(timer.seconds(), 0.9 * kLateSeconds);
  });
}

void all_gather_concatenates_in_rank_order(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    for (const at::ScalarType dtype : moved_dtypes()) {
      const at::Tensor local = numbers(share_of(group.rank()), 3, group.rank(), dtype);
      std::vector<at::Tensor> expected;
      for (int q = 0; q < group.size(); ++q) {
        expected.push_back(numbers(share_of(q), 3, q, dtype));
      }
      const at::Tensor all = group.all_gather("test.gather", local, shares(group.size()));
      EXPECT_EQ(all.scalar_type(), dtype);
      EXPECT_TRUE(at::equal(all, at::cat(expected))) << dtype;
    }
  });
}

void all_to_all_delivers_each_block(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    // From p to q: (2p + q) % 4 rows, so some pairs have nothing for each other.
    const auto rows = [](int from, int to) { return std::int64_t{(2 * from + to) % 4}; };
    for (const at::ScalarType dtype : moved_dtypes()) {
      std::vector<std::int64_t> send_rows;
      std::vector<std::int64_t> receive_rows;
      std::vector<at::Tensor> send;
      std::vector<at::Tensor> expected;
      for (int q = 0; q < group.size(); ++q) {
        send_rows.push_back(rows(group.rank(), q));
        receive_rows.push_back(rows(q, group.rank()));
        send.push_back(numbers(send_rows.back(), 2, 10 * group.rank() + q, dtype));
        expected.push_back(numbers(receive_rows.back(), 2, 10 * q + group.rank(), dtype));
      }
      const at::Tensor received =
          group.all_to_all("test.all_to_all", at::cat(send), send_rows, receive_rows);
      EXPECT_TRUE(at::equal(received, at::cat(expected))) << dtype;
    }
  });
}

void all_reduce_reduces_every_element(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    // Few elements, fewer than ranks, and enough for the way of large tensors; none of a round
    // size.
    for (const std::int64_t count : {0, 1, 2, 37, 12'345}) {
      for (const at::ScalarType dtype : reduced_dtypes()) {
        std::vector<at::Tensor> all;
        for (int q = 0; q < group.size(); ++q) all.push_back(numbers(count, 1, 5 * q, dtype));
        const at::Tensor stacked = at::stack(all);
        at::Tensor values = all[group.rank()].clone();
        group.all_reduce("test.sum", values);
        EXPECT_TRUE(at::equal(values, stacked.sum(0).to(dtype))) << dtype << " " << count;
        values = all[group.rank()].clone();
        group.all_reduce("test.min", values, Reduction::min);
        EXPECT_TRUE(at::equal(values, stacked.amin(0))) << dtype << " " << count;
        values = all[group.rank()].clone();
        group.all_reduce("test.max", values, Reduction::max);
        EXPECT_TRUE(at::equal(values, stacked.amax(0))) << dtype << " " << count;
      }
    }
    at::Tensor scalar = at::full({}, group.rank() + 1, at::kLong);
    group.all_reduce("test.scalar", scalar);
    EXPECT_EQ(scalar.item<std::int64_t>(), group.size() * (group.size() + 1) / 2);
  });
}

void all_reduce_keeps_a_nan(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    for (int sick = 0; sick < group.size(); ++sick) {
      for (const Reduction reduction : {Reduction::sum, Reduction::min, Reduction::max}) {
        at::Tensor values = at::full({2}, 1.0 + group.rank(), at::kDouble);
        if (group.rank() == sick) values[1] = std::nan("");
        group.all_reduce("test.nan", values, reduction);
        EXPECT_TRUE(std::isfinite(values[0].item<double>()));
        EXPECT_TRUE(std::isnan(values[1].item<double>())) << "rank " << sick;
      }
    }
  });
}

void broadcast_copies_the_roots_values(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    for (int root = 0; root < group.size(); ++root) {
      for (const at::ScalarType dtype : moved_dtypes()) {
        at::Tensor values = numbers(4, 3, group.rank(), dtype);
        group.broadcast("test.broadcast", values, root);
        EXPECT_TRUE(at::equal(values, numbers(4, 3, root, dtype))) << dtype << " root " << root;
      }
    }
  });
}

void sums_have_the_bits_of_rank_order(const RunGroup& run) {
  run({.deadline_seconds = 60, .reproducible = true}, [](Communicator& group) {
    // Magnitudes that differ by 2^40: another order of the sum gives other bits.
    const auto values_of = [](int rank) {
      at::Tensor values = at::arange(6'001, at::kFloat).add(0.1).mul(1.0 + rank).sin();
      return rank % 2 == 1 ? values * 1e6 : values;
    };
    at::Tensor expected = values_of(0);
    for (int q = 1; q < group.size(); ++q) expected += values_of(q);
    for (const std::int64_t count : {5, 6'001}) {
      at::Tensor values = values_of(group.rank()).narrow(0, 0, count).clone();
      group.all_reduce("test.bits", values);
      EXPECT_TRUE(at::equal(values, expected.narrow(0, 0, count))) << count;
    }
  });
}

void nothing_at_all_is_legal(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    const std::vector<std::int64_t> none(static_cast<std::size_t>(group.size()), 0);
    const at::Tensor no_rows = at::empty({0, 4}, at::kFloat);
    EXPECT_EQ(group.all_gather("test.none", no_rows, none).sizes(), (at::IntArrayRef{0, 4}));
    EXPECT_EQ(group.all_to_all("test.none", no_rows, none, none).sizes(), (at::IntArrayRef{0, 4}));
    at::Tensor empty = no_rows.clone();
    group.all_reduce("test.none", empty);
    group.broadcast("test.none", empty, group.size() - 1);
    // Rows without columns have a number but no bytes.
    const at::Tensor no_columns = at::empty({share_of(group.rank()), 0}, at::kInt);
    const std::vector<std::int64_t> rows = shares(group.size());
    EXPECT_EQ(group.all_gather("test.none", no_columns, rows).size(0), sum(rows));
  });
}

void results_share_no_memory_with_arguments(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    at::Tensor local = at::ones({1}, at::kFloat);
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    const at::Tensor all = group.all_gather("test.memory", local, one_each);
    at::Tensor full = at::ones({group.size()}, at::kFloat);
    const at::Tensor exchanged = group.all_to_all("test.memory", full, one_each, one_each);
    local.fill_(9);
    full.fill_(9);
    EXPECT_TRUE(at::equal(all, at::ones({group.size()})));
    EXPECT_TRUE(at::equal(exchanged, at::ones({group.size()})));
  });
}

void tensors_that_need_gradients_move(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    at::Tensor parameter = at::ones({1}, at::kFloat).requires_grad_(true);
    const at::Tensor all = group.all_gather("test.gradient", parameter, one_each);
    EXPECT_FALSE(all.requires_grad());
    group.all_reduce("test.gradient", parameter);
    EXPECT_EQ(parameter.item<float>(), static_cast<float>(group.size()));
    EXPECT_TRUE(parameter.requires_grad());
  });
}

void large_messages_arrive(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    const auto values_of = [](int rank) {
      return at::arange(300'000, at::kInt).mul(rank + 3).view({-1, 4});
    };
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(group.size()), 75'000);
    const at::Tensor all = group.all_gather("test.large", values_of(group.rank()), rows);
    for (int q = 0; q < group.size(); ++q) {
      EXPECT_TRUE(at::equal(all.narrow(0, 75'000 * q, 75'000), values_of(q)));
    }
  });
}

void many_collectives_in_a_row_keep_their_order(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    for (int turn = 0; turn < 200; ++turn) {
      at::Tensor value = at::full({1}, turn + group.rank(), at::kLong);
      group.all_reduce("test.turn", value, Reduction::max);
      ASSERT_EQ(value.item<std::int64_t>(), turn + group.size() - 1);
      at::Tensor shown = at::full({1}, turn * 10 + group.rank(), at::kLong);
      group.broadcast("test.turn", shown, turn % group.size());
      ASSERT_EQ(shown.item<std::int64_t>(), turn * 10 + turn % group.size());
    }
  });
}

void counts_and_lists_are_exchanged(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    EXPECT_EQ(gather_counts(group, "test.counts", share_of(group.rank())), shares(group.size()));
    const auto list = [](int from, int to) {
      return std::vector<std::int32_t>(static_cast<std::size_t>((from + 2 * to) % 3),
                                       100 * from + to);
    };
    std::vector<std::vector<std::int32_t>> sent;
    std::vector<std::vector<std::int32_t>> expected;
    for (int q = 0; q < group.size(); ++q) {
      sent.push_back(list(group.rank(), q));
      expected.push_back(list(q, group.rank()));
    }
    EXPECT_EQ(exchange_lists(group, "test.lists", sent), expected);
  });
}

void one_wish_is_known_to_all(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    EXPECT_FALSE(on_any_rank(group, "test.wish", false));
    for (int q = 0; q < group.size(); ++q) {
      EXPECT_TRUE(on_any_rank(group, "test.wish", group.rank() == q));
    }
  });
}

// What goes from p to q in the tests of what is started: (2p + q + turn) % 4 rows of 2.
struct Started {
  Started(const Communicator& group, int turn) {
    const auto rows = [&](int from, int to) { return std::int64_t{(2 * from + to + turn) % 4}; };
    std::vector<at::Tensor> blocks;
    std::vector<at::Tensor> wanted;
    const int own = group.rank();
    for (int q = 0; q < group.size(); ++q) {
      send_rows.push_back(rows(own, q));
      receive_rows.push_back(rows(q, own));
      blocks.push_back(numbers(send_rows.back(), 2, 10 * own + q + turn, at::kFloat));
      wanted.push_back(numbers(receive_rows.back(), 2, 10 * q + own + turn, at::kFloat));
    }
    send = at::cat(blocks);
    expected = at::cat(wanted);
  }

  std::vector<std::int64_t> send_rows;
  std::vector<std::int64_t> receive_rows;
  at::Tensor send;
  at::Tensor expected;
};

void started_collectives_give_what_waiting_gives(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    // Three in flight, of rows of two kinds, others in between, one never polled for.
    for (int turn = 0; turn < 3; ++turn) {
      const Started first(group, turn);
      const Started second(group, turn + 1);
      const Started third(group, turn + 2);
      const auto one =
          start_all_to_all(group, "test.one", first.send, first.send_rows, first.receive_rows);
      const auto whole = start_all_to_all(group, "test.whole", third.send.to(at::kInt),
                                          third.send_rows, third.receive_rows);
      EXPECT_EQ(gather_counts(group, "test.between", group.rank()).back(), group.size() - 1);
      for (int i = 0; i < 10 * turn; ++i) group.poll("test.poll");
      const auto two =
          start_all_to_all(group, "test.two", second.send, second.send_rows, second.receive_rows);
      EXPECT_TRUE(at::equal(one->wait(), first.expected));
      group.barrier("test.between");
      EXPECT_TRUE(at::equal(whole->wait(), third.expected.to(at::kInt)));
      EXPECT_TRUE(at::equal(two->wait(), second.expected));
    }
  });
}

void started_rows_land_where_they_were_told_to(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    const Started rows(group, 1);
    const std::int64_t all = sum(rows.receive_rows);
    // The last rank's rows come first, and a row that is nobody's lies before each rank's.
    std::vector<std::int64_t> first_rows(rows.receive_rows.size());
    at::Tensor expected = at::full({all + group.size(), 2}, -1, at::kFloat);
    const at::Tensor into = expected.clone();
    std::int64_t to = 0;
    std::int64_t from = all;
    for (int q = group.size() - 1; q >= 0; --q) {
      first_rows[q] = to + 1;
      from -= rows.receive_rows[q];
      expected.narrow(0, to + 1, rows.receive_rows[q])
          .copy_(rows.expected.narrow(0, from, rows.receive_rows[q]));
      to += rows.receive_rows[q] + 1;
    }
    const auto pending = group.start_all_to_all_into("test.into", rows.send, rows.send_rows,
                                                     rows.receive_rows, into, first_rows);
    EXPECT_EQ(pending->wait().const_data_ptr(), into.const_data_ptr());
    EXPECT_TRUE(at::equal(into, expected));
  });
}

void large_rows_travel_while_ranks_poll(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    const auto values_of = [](int rank) {
      return at::arange(300'000, at::kInt).mul(rank + 3).view({-1, 4});
    };
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(group.size()), 75'000);
    const at::Tensor to_each = values_of(group.rank()).repeat({group.size(), 1});
    const auto pending = start_all_to_all(group, "test.large", to_each, rows, rows);
    for (int i = 0; i < 100; ++i) group.poll("test.work");
    const at::Tensor all = pending->wait();
    for (int q = 0; q < group.size(); ++q) {
      EXPECT_TRUE(at::equal(all.narrow(0, 75'000 * q, 75'000), values_of(q)));
    }
  });
}

void a_failure_ends_what_is_in_flight(const RunGroup& run) {
  for (const CommunicatorOptions& options : {patient(), checked()}) {
    run(options, [](Communicator& group) {
      if (group.size() == 1) return;
      const Started rows(group, 0);
      const std::vector<std::int64_t> large(static_cast<std::size_t>(group.size()), 100'000);
      const auto one =
          start_all_to_all(group, "test.flight", rows.send, rows.send_rows, rows.receive_rows);
      const auto two =
          start_all_to_all(group, "test.large", at::ones({sum(large)}, at::kDouble), large, large);
      tell_the_last(group);
      if (group.rank() == group.size() - 1) throw std::runtime_error("the disk is full");
      const Timer timer;
      // Both may have arrived before; the next collective cannot.
      const std::string message = message_of([&] {
        one->wait();
        two->wait();
        group.barrier("test.never");
      });
      EXPECT_THAT(message, AllOf(HasSubstr(named(group, group.size() - 1) + " failed"),
                                 HasSubstr("the disk is full")));
      EXPECT_LT(timer.seconds(), 20) << "long before the deadline";
    });
  }
}

void what_nobody_waits_for_ends_the_communicator(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    if (group.size() == 1) return;
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    start_all_to_all(group, "test.dropped", at::ones({group.size()}), one_each, one_each);
    EXPECT_THAT(message_of([&] { group.barrier("test.after"); }),
                AllOf(HasSubstr("'test.after'"), HasSubstr("'test.dropped' (collective 1)"),
                      HasSubstr("nobody waited for")));
  });
}

void the_deadline_holds_for_what_is_in_flight(const RunGroup& run) {
  run({.deadline_seconds = 0.5}, [](Communicator& group) {
    if (group.size() == 1) return;
    if (group.rank() == 0) {
      EXPECT_THROW(poll_forever(group), PeerFailure);
      return;
    }
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    const auto pending =
        start_all_to_all(group, "test.deadline", at::ones({group.size()}), one_each, one_each);
    const std::string message = message_of([&] { pending->wait(); });
    EXPECT_THAT(message, AllOf(HasSubstr("'test.deadline' (collective 1)"),
                               HasSubstr(named(group, 0)), HasSubstr("waited 0.5 s")));
    throw Error(Cause::cluster, message);
  });
}

void checked_mode_compares_what_is_started(const RunGroup& run) {
  run(checked(), [](Communicator& group) {
    if (group.size() == 1) return;
    const bool astray = group.rank() == group.size() - 1;
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    const std::string message = message_of([&] {
      start_all_to_all(group, "test.started", at::ones({group.size(), astray ? 2 : 3}), one_each,
                       one_each);
    });
    EXPECT_THAT(message, AllOf(HasSubstr("'test.started' (collective 1)"), HasSubstr("8 bytes"),
                               HasSubstr("12 bytes")));
    throw Error(Cause::cluster, message);
  });
}

void the_ledger_counts_what_travels(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    const std::int64_t others = group.size() - 1;
    const LedgerEntries before = group.ledger().snapshot();
    const std::vector<std::int64_t> one_each(static_cast<std::size_t>(group.size()), 1);
    // A float to each rank, this one included; twice, once without standing still.
    group.all_to_all("test.rows", at::ones({group.size()}), one_each, one_each);
    const auto pending =
        start_all_to_all(group, "test.rows", at::ones({group.size()}), one_each, one_each);
    group.poll("test.poll");
    pending->wait();
    const auto part = group.split("test.part", group.rank() % 2);
    EXPECT_EQ(&part->ledger(), &group.ledger());
    part->all_gather("test.in_part", at::ones({1}, at::kLong),
                     std::vector<std::int64_t>(static_cast<std::size_t>(part->size()), 1));
    const LedgerEntries own = since(before, group.ledger().snapshot());
    ASSERT_TRUE(own.contains("test.rows"));
    EXPECT_EQ(own.at("test.rows").calls, 2);
    EXPECT_EQ(own.at("test.rows").bytes_sent, 2 * 4 * others);
    EXPECT_EQ(own.at("test.rows").bytes_received, 2 * 4 * others);
    EXPECT_EQ(own.at("test.in_part").bytes_sent, 8 * (part->size() - 1));
    EXPECT_EQ(own.contains("test.start"), false);
    if (others > 0) {
      EXPECT_GT(own.at("test.rows").waited_seconds, 0);
    }
    EXPECT_GE(own.at("test.rows").hidden_seconds, 0);

    LedgerEntries shown = own;  // A name that one rank alone knows is no name less.
    if (group.rank() == 0) shown["test.only"] = {.calls = 3, .bytes_sent = 70};
    const std::map<std::string, LedgerOverRanks> all = over_ranks(group, shown);
    EXPECT_EQ(all.at("test.only").total.calls, 3);
    EXPECT_EQ(all.at("test.only").largest.bytes_sent, 70);
    EXPECT_EQ(all.at("test.rows").total.bytes_sent, 2 * 4 * others * group.size());
    EXPECT_EQ(all.at("test.rows").largest.bytes_sent, 2 * 4 * others);
    EXPECT_EQ(all.at("test.rows").total.bytes_sent, all.at("test.rows").total.bytes_received);
  });
}

void split_groups_by_colour_in_rank_order(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    const auto columns = group.split("test.columns", group.rank() % 3 - 1);
    const auto halves = columns->split("test.halves", columns->rank() < 2 ? 1 : 0);
    const auto alone = group.split("test.alone", group.rank());
    const auto all = group.split("test.all", 7);
    EXPECT_EQ(alone->size(), 1);
    EXPECT_EQ(all->size(), group.size());
    EXPECT_EQ(columns->rank(), group.rank() / 3);
    EXPECT_EQ(columns->size(), (group.size() - 1 - group.rank() % 3) / 3 + 1);
    std::vector<std::int64_t> expected;
    for (int q = group.rank() % 3; q < group.size(); q += 3) expected.push_back(q);
    EXPECT_EQ(gather_counts(*columns, "test.members", group.rank()), expected);
    for (int q = 0; q < columns->size(); ++q) {
      EXPECT_EQ(columns->rank_in_run(q), group.rank_in_run(static_cast<int>(expected[q])));
    }
    EXPECT_EQ(halves->rank_in_run(halves->rank()), group.rank_in_run(group.rank()));
    EXPECT_EQ(halves->ranks_in_run(), group.ranks_in_run());
    const std::vector<std::int64_t> half =
        columns->rank() < 2 ? std::vector<std::int64_t>(
                                  expected.begin(), expected.begin() + std::min(2, columns->size()))
                            : std::vector<std::int64_t>(expected.begin() + 2, expected.end());
    EXPECT_EQ(gather_counts(*halves, "test.members", group.rank()), half);
  });
}

void groups_do_different_things_at_once(const RunGroup& run) {
  run_in_both_modes(run, [](Communicator& group) {
    const bool odd = group.rank() % 2 == 1;
    const auto part = group.split("test.part", odd ? 1 : 0);
    for (int turn = 0; turn < 20; ++turn) {
      if (odd) {  // another number of collectives, of other kinds and sizes, under the same name
        at::Tensor sum = at::full({5000}, part->rank() + 1, at::kFloat);
        part->all_reduce("test.turn", sum);
        const int ranks = part->size();
        ASSERT_TRUE(at::equal(sum, at::full({5000}, ranks * (ranks + 1) / 2, at::kFloat)));
        part->barrier("test.turn");
      } else {
        const at::Tensor all = part->all_gather(
            "test.turn", numbers(share_of(part->rank()), 3, turn, at::kInt), shares(part->size()));
        ASSERT_EQ(all.size(0), sum(shares(part->size())));
      }
      if (turn % 5 == 0) {
        EXPECT_EQ(gather_counts(group, "test.all", group.rank() + turn).back(),
                  group.size() - 1 + turn);
      }
    }
  });
}

void a_failure_ends_the_collectives_of_every_group(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    // The last rank is in one group, the waiting ones in others, and one waits for no collective.
    const bool fails = group.rank() == group.size() - 1;
    const bool polls = group.rank() == 0;
    const auto part = group.split("test.part", fails ? 2 : polls ? 1 : 0);
    tell_the_last(group);
    if (fails) throw std::runtime_error("the disk is full");
    const Timer timer;
    const auto wait = [&] {
      while (polls) {
        part->poll("test.poll");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      while (true) part->barrier("test.never");
    };
    if (!polls && part->size() == 1) return;  // has nobody to wait for
    const std::string message = message_of(wait);
    EXPECT_THAT(message, AllOf(HasSubstr(named(group, group.rank()) + " of "),
                               HasSubstr(named(group, group.size() - 1) + " failed"),
                               HasSubstr("the disk is full")));
    EXPECT_LT(timer.seconds(), 20) << "long before the deadline";
  });
}

void a_failing_rank_ends_the_others_collectives(const RunGroup& run) {
  for (const CommunicatorOptions& options : {patient(), checked()}) {
    run(options, [](Communicator& group) {
      tell_the_last(group);
      if (group.rank() == group.size() - 1) throw std::runtime_error("the disk is full");
      const Timer timer;
      try {
        group.barrier("test.never");
        ADD_FAILURE() << "the barrier was passed";
      } catch (const PeerFailure& failure) {
        EXPECT_EQ(failure.failed_rank(), group.rank_in_run(group.size() - 1));
        EXPECT_THAT(failure.what(),
                    AllOf(HasSubstr("'test.never' (collective 2)"), HasSubstr("the disk is full")));
      }
      EXPECT_LT(timer.seconds(), 20) << "long before the deadline";
    });
  }
}

void an_abort_ends_the_others_collectives(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    if (group.rank() == 0) {
      group.abort("no more");
      return;
    }
    const std::string message = message_of([&] { group.barrier("test.never"); });
    EXPECT_THAT(message, AllOf(HasSubstr(named(group, 0) + " failed"), HasSubstr("no more")));
  });
}

void a_rank_that_never_comes_is_named_after_the_deadline(const RunGroup& run) {
  constexpr double kDeadlineSeconds = 0.5;
  const Timer timer;  // From before any rank waits: the first deadline that passes ends all.
  run({.deadline_seconds = kDeadlineSeconds}, [&timer](Communicator& group) {
    if (group.size() == 1) return;
    if (group.rank() == 0) {
      // It must neither end nor wait in a collective until the others have given up.
      EXPECT_THROW(poll_forever(group), PeerFailure);
      return;
    }
    const std::string message = message_of([&] { group.barrier("test.deadline"); });
    EXPECT_GE(timer.seconds(), 0.9 * kDeadlineSeconds);
    EXPECT_THAT(message, AllOf(HasSubstr("'test.deadline' (collective 1)"),
                               HasSubstr(named(group, 0)), HasSubstr("waited 0.5 s")));
    throw Error(Cause::cluster, message);
  });
}

void different_sizes_are_an_error(const RunGroup& run, const CommunicatorOptions& options) {
  run(options, [](Communicator& group) {
    if (group.size() == 1) return;
    // Rank 0 is wrong about how much it will get.
    const bool wrong = group.rank() == 0;
    std::vector<std::int64_t> rows(static_cast<std::size_t>(group.size()), 2);
    if (wrong) rows.back() = 1;
    const std::string message = message_of([&] {
      group.all_gather("test.sizes", at::zeros({2, 4}, at::kFloat), rows);
      // A rank whose own part was right hears of it in the next collective at the latest.
      group.barrier("test.after");
    });
    EXPECT_THAT(message, HasSubstr("expects"));
    throw Error(Cause::cluster, message);
  });
}

void checked_mode_finds_different_sizes(const RunGroup& run) {
  different_sizes_are_an_error(run, checked());
}

void different_sizes_are_found_in_every_mode(const RunGroup& run) {
  different_sizes_are_an_error(run, patient());
}

void checked_mode_names_both_collectives(const RunGroup& run) {
  run(checked(), [](Communicator& group) {
    if (group.size() == 1) return;
    group.barrier("test.start");
    const bool astray = group.rank() == group.size() - 1;
    const std::string message =
        message_of([&] { group.barrier(astray ? "test.astray" : "test.right"); });
    EXPECT_THAT(message, AllOf(HasSubstr("'test.right' (collective 2)"),
                               HasSubstr("'test.astray' (collective 2)")));
    throw Error(Cause::cluster, message);
  });
}

void checked_mode_compares_kind_dtype_and_sizes(const RunGroup& run) {
  const std::function<void(Communicator&, bool)> mistakes[] = {
      [](Communicator& group, bool astray) {  // kind
        at::Tensor values = at::zeros({1}, at::kInt);
        if (astray) {
          group.broadcast("test.same", values, 0);
        } else {
          group.all_reduce("test.same", values);
        }
      },
      [](Communicator& group, bool astray) {  // dtype of the same width
        at::Tensor values = at::zeros({3}, astray ? at::kInt : at::kFloat);
        group.all_reduce("test.same", values);
      },
      [](Communicator& group, bool astray) {  // reduction
        at::Tensor values = at::zeros({3}, at::kFloat);
        group.all_reduce("test.same", values, astray ? Reduction::max : Reduction::sum);
      },
      [](Communicator& group, bool astray) {  // size
        at::Tensor values = at::zeros({astray ? 3 : 2}, at::kFloat);
        group.broadcast("test.same", values, 0);
      },
      [](Communicator& group, bool astray) {  // root
        at::Tensor values = at::zeros({3}, at::kFloat);
        group.broadcast("test.same", values, astray ? 1 : 0);
      },
      [](Communicator& group, bool astray) {  // width of a row
        const std::vector<std::int64_t> rows(static_cast<std::size_t>(group.size()), 1);
        group.all_gather("test.same", at::zeros({1, astray ? 2 : 1}, at::kFloat), rows);
      },
      [](Communicator& group, bool astray) {  // a collective more
        if (astray) group.barrier("test.same");
        group.barrier("test.other");
      },
  };
  for (const auto& mistake : mistakes) {
    run(checked(), [&](Communicator& group) {
      if (group.size() == 1) return;
      const std::string message =
          message_of([&] { mistake(group, group.rank() == group.size() - 1); });
      EXPECT_THAT(message, HasSubstr("'test.same' (collective 1)"));
      throw Error(Cause::cluster, message);
    });
  }
}

void a_failed_communicator_stays_failed(const RunGroup& run) {
  run(patient(), [](Communicator& group) {
    if (group.size() == 1) return;
    if (group.rank() == 0) throw std::runtime_error("gone");
    message_of([&] { group.barrier("test.first"); });
    EXPECT_THAT(message_of([&] { group.barrier("test.second"); }),
                AllOf(HasSubstr("'test.second'"), HasSubstr("'test.first' (collective 1)")));
  });
}

// On ranks other than 0 only failures are worth a line.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_,
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.message());
  }
  int rank_;
};

}  // namespace

void print_only_failures_of(int rank) {
  if (rank == 0) return;
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new FailurePrinter(rank));
}

void run_in_part(Communicator& whole, int ranks, const std::function<void(Communicator&)>& body) {
  ASSERT_EQ(whole.size(), ranks + kRanksBesideAPart);
  const bool beside = whole.rank() == 0 || whole.rank() > ranks;
  const auto part = whole.split("test.parts", beside ? 0 : 1);
  if (!beside) {
    ASSERT_EQ(part->size(), ranks);
    EXPECT_EQ(part->rank_in_run(part->rank()), whole.rank());
    body(*part);
    return;
  }
  // Something else goes on there meanwhile, until it is done or the part has failed.
  try {
    for (int turn = 0; turn < 20; ++turn) {
      EXPECT_EQ(gather_counts(*part, "test.beside", part->rank() + turn),
                (std::vector<std::int64_t>{turn, turn + 1}));
    }
  } catch (const PeerFailure&) {
    // Tests of failures are for the part to judge.
  }
}

const std::vector<ContractTest>& contract_tests() {
  static const std::vector<ContractTest> tests = [] {
    std::vector<ContractTest> all = contract_tests_of_gpus();
    all.push_back(
        {"different_sizes_are_found_in_every_mode", different_sizes_are_found_in_every_mode, true});
    return all;
  }();
  return tests;
}

const std::vector<ContractTest>& contract_tests_of_gpus() {
#define MICREC_CONTRACT_TEST(name) \
  ContractTest { #name, name }
#define MICREC_CONTRACT_TEST_OF_FAILURE(name) \
  ContractTest { #name, name, true }
  static const std::vector<ContractTest> tests = {
      MICREC_CONTRACT_TEST(barrier_waits_for_all),
      MICREC_CONTRACT_TEST(all_gather_concatenates_in_rank_order),
      MICREC_CONTRACT_TEST(all_to_all_delivers_each_block),
      MICREC_CONTRACT_TEST(all_reduce_reduces_every_element),
      MICREC_CONTRACT_TEST(all_reduce_keeps_a_nan),
      MICREC_CONTRACT_TEST(broadcast_copies_the_roots_values),
      MICREC_CONTRACT_TEST(sums_have_the_bits_of_rank_order),
      MICREC_CONTRACT_TEST(nothing_at_all_is_legal),
      MICREC_CONTRACT_TEST(results_share_no_memory_with_arguments),
      MICREC_CONTRACT_TEST(tensors_that_need_gradients_move),
      MICREC_CONTRACT_TEST(large_messages_arrive),
      MICREC_CONTRACT_TEST(many_collectives_in_a_row_keep_their_order),
      MICREC_CONTRACT_TEST(counts_and_lists_are_exchanged),
      MICREC_CONTRACT_TEST(one_wish_is_known_to_all),
      MICREC_CONTRACT_TEST(started_collectives_give_what_waiting_gives),
      MICREC_CONTRACT_TEST(started_rows_land_where_they_were_told_to),
      MICREC_CONTRACT_TEST(large_rows_travel_while_ranks_poll),
      MICREC_CONTRACT_TEST_OF_FAILURE(a_failure_ends_what_is_in_flight),
      MICREC_CONTRACT_TEST(what_nobody_waits_for_ends_the_communicator),
      MICREC_CONTRACT_TEST_OF_FAILURE(the_deadline_holds_for_what_is_in_flight),
      MICREC_CONTRACT_TEST_OF_FAILURE(checked_mode_compares_what_is_started),
      MICREC_CONTRACT_TEST(the_ledger_counts_what_travels),
      MICREC_CONTRACT_TEST(split_groups_by_colour_in_rank_order),
      MICREC_CONTRACT_TEST(groups_do_different_things_at_once),
      MICREC_CONTRACT_TEST_OF_FAILURE(a_failing_rank_ends_the_others_collectives),
      MICREC_CONTRACT_TEST_OF_FAILURE(a_failure_ends_the_collectives_of_every_group),
      MICREC_CONTRACT_TEST(an_abort_ends_the_others_collectives),
      MICREC_CONTRACT_TEST_OF_FAILURE(a_rank_that_never_comes_is_named_after_the_deadline),
      MICREC_CONTRACT_TEST_OF_FAILURE(checked_mode_finds_different_sizes),
      MICREC_CONTRACT_TEST_OF_FAILURE(checked_mode_names_both_collectives),
      MICREC_CONTRACT_TEST_OF_FAILURE(checked_mode_compares_kind_dtype_and_sizes),
      MICREC_CONTRACT_TEST_OF_FAILURE(a_failed_communicator_stays_failed),
  };
#undef MICREC_CONTRACT_TEST_OF_FAILURE
#undef MICREC_CONTRACT_TEST
  return tests;
}

}  // namespace micrec
