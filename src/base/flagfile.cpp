#include "base/flagfile.h"

#include <algorithm>
#include <cstdint>
#include <sstream>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"

namespace micrec {

FlagWord take_apart(const std::string& word) {
  const std::size_t begin = word.find_first_not_of('-');
  if (begin == std::string::npos) return {"", std::nullopt};
  const std::size_t equals = word.find('=', begin);
  FlagWord parts{word.substr(begin, equals == std::string::npos ? equals : equals - begin),
                 std::nullopt};
  if (equals != std::string::npos) parts.value = word.substr(equals + 1);
  std::ranges::replace(parts.name, '-', '_');
  return parts;
}

std::vector<FlagSetting> parse_flagfile(const std::string& contents, const std::string& origin) {
  std::vector<FlagSetting> settings;
  std::istringstream stream(contents);
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    line = line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
    const std::string place = text(origin, ":", number);
    const FlagWord word = take_apart(line);
    if (line[0] != '-' || word.name.empty()) {
      throw Error(Cause::usage, place, ": expected --name=value, got ", excerpt(line));
    }
    settings.push_back({word.name, word.value.value_or("true"), place});
  }
  return settings;
}

}  // namespace micrec
