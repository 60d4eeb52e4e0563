#include "cluster/ledger.h"

#include <gtest/gtest.h>

#include <string>

namespace micrec {
namespace {

bool same(const LedgerEntry& a, const LedgerEntry& b) {
  return a.calls == b.calls && a.bytes_sent == b.bytes_sent &&
         a.bytes_received == b.bytes_received && a.waited_seconds == b.waited_seconds &&
         a.hidden_seconds == b.hidden_seconds;
}

TEST(Ledger, AddsUnderOneNameWhereverItsTextLies) {
  static const char elsewhere[] = "halo.propagate";
  Ledger ledger;
  ledger.record("halo.propagate", {1, 10, 20, 0.5, 0.25});
  ledger.record(elsewhere, {1, 1, 2, 0.5, 0});
  ledger.record("batch.rows", {.calls = 4});
  const LedgerEntries entries = ledger.snapshot();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_TRUE(same(entries.at("halo.propagate"), {2, 11, 22, 1, 0.25}));
  EXPECT_TRUE(same(entries.at("batch.rows"), {4, 0, 0, 0, 0}));
}

TEST(Ledger, ShowsWhatHappenedSinceASnapshot) {
  Ledger ledger;
  ledger.record("a", {1, 10, 0, 0, 0});
  ledger.record("b", {1, 10, 0, 0, 0});
  const LedgerEntries before = ledger.snapshot();
  ledger.record("b", {2, 5, 7, 0.5, 0});
  ledger.record("c", {1, 0, 0, 0, 0});
  LedgerEntries difference = since(before, ledger.snapshot());
  ASSERT_EQ(difference.size(), 2U) << "nothing happened under 'a'";
  EXPECT_TRUE(same(difference.at("b"), {2, 5, 7, 0.5, 0}));
  EXPECT_TRUE(same(difference.at("c"), {1, 0, 0, 0, 0}));
  add(difference, {{"b", {1, 1, 1, 1, 1}}, {"d", {1, 0, 0, 0, 0}}});
  EXPECT_TRUE(same(difference.at("b"), {3, 6, 8, 1.5, 1}));
  EXPECT_EQ(difference.size(), 3U);
}

TEST(Ledger, TakesThePhaseFromTheName) {
  EXPECT_EQ(phase_of("halo.propagate.active"), "halo");
  EXPECT_EQ(phase_of("barrier"), "barrier");
}

}  // namespace
}  // namespace micrec
