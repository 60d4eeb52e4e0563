#include "cluster/health/verdict_link.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/timer.h"

namespace micrec {
namespace {

// The watchdogs of some machines in one process, each with its machine's board.
class Machines {
 public:
  explicit Machines(int machines) {
    VerdictAddress address;
    const int hub = listen_for_verdicts(address);
    EXPECT_GE(hub, 0);
    address_ = VerdictAddress::from_text(address.to_text());
    for (int m = 0; m < machines; ++m) {
      boards.push_back(ProgressBoard::create(1));
      boards.back()->remove_name();
      const int socket = m == 0 ? hub : connect_for_verdicts(address_, 5);
      EXPECT_GE(socket, 0);
      links_.push_back(std::make_unique<VerdictLink>(socket, m == 0, address_.token));
    }
    exchange();
  }

  void exchange() {
    for (std::size_t m = 0; m < links_.size(); ++m) links_[m]->exchange(*boards[m]);
  }

  bool all_know() {
    const Timer timer;
    while (timer.seconds() < 30) {
      exchange();
      bool all = true;
      for (const auto& board : boards) all = all && board->verdict();
      if (all) return true;
      sched_yield();
    }
    return false;
  }

  const VerdictAddress& address() const { return address_; }

  std::vector<std::unique_ptr<ProgressBoard>> boards;

 private:
  VerdictAddress address_;
  std::vector<std::unique_ptr<VerdictLink>> links_;
};

TEST(VerdictLink, AVerdictReachesAllMachinesWhoeverGivesIt) {
  for (int giver = 0; giver < 4; ++giver) {
    Machines machines(4);
    machines.boards[giver]->give_verdict({10 + giver, 5, "rank was killed", 0});
    ASSERT_TRUE(machines.all_know()) << "given on machine " << giver;
    for (const auto& board : machines.boards) {
      EXPECT_EQ(board->verdict()->rank, 10 + giver);
      EXPECT_EQ(board->verdict()->exit_code, 5);
      EXPECT_EQ(board->verdict()->message, "rank was killed");
    }
  }
}

TEST(VerdictLink, OneWhoDoesNotKnowTheTokenIsNotHeard) {
  Machines machines(2);
  VerdictAddress guess = machines.address();
  guess.token ^= 1;
  const int socket = connect_for_verdicts(guess, 5);
  ASSERT_GE(socket, 0);
  const auto board = ProgressBoard::create(1);
  board->remove_name();
  board->give_verdict({9, 5, "a stranger's", 0});
  VerdictLink stranger(socket, /*is_hub=*/false, guess.token);
  stranger.exchange(*board);
  machines.boards[1]->give_verdict({1, 5, "rank 1's", 0});
  ASSERT_TRUE(machines.all_know());
  EXPECT_EQ(machines.boards[0]->verdict()->message, "rank 1's");
}

TEST(VerdictLink, NobodyAnswersWhereThereIsNoHub) {
  VerdictAddress address;
  close(listen_for_verdicts(address));
  EXPECT_EQ(connect_for_verdicts(address, 5), -1);
  EXPECT_EQ(connect_for_verdicts({}, 5), -1);
}

}  // namespace
}  // namespace micrec
