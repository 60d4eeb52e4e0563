#include "launcher/death_in_tests.h"

#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

std::function<void(SaveStep)> death_from_environment(int rank) {
  const char* const set = std::getenv("MICREC_TEST_DIE_AT");
  if (set == nullptr || *set == '\0') return nullptr;
  const std::vector<std::string> at = split(set, '@');
  const std::vector<std::string> words = split(at.empty() ? "" : at[0], ':');
  const std::optional<SaveStep> step = parse_save_step(words.empty() ? "" : words[0]);
  const std::optional<std::int64_t> times =
      words.size() > 1 ? parse_integer(words[1]) : std::optional<std::int64_t>(1);
  const std::optional<std::int64_t> only =
      at.size() > 1 ? parse_integer(at[1]) : std::optional<std::int64_t>(rank);
  if (!step || !times || *times < 1 || !only || words.size() > 2 || at.size() > 2) {
    throw Error(Cause::usage, text("MICREC_TEST_DIE_AT is '", set,
                                   "', expected STEP[:TIMES][@RANK] as in shard_synced:3@1"));
  }
  if (*only != rank) return nullptr;
  const auto left = std::make_shared<std::int64_t>(*times);
  return [step = *step, left](SaveStep reached) {
    if (reached == step && --*left == 0) std::raise(SIGKILL);
  };
}

}  // namespace micrec
