#include "cluster/health/out_of_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace micrec {
namespace {

// The number of bytes between two pieces of a message: "20.00 GiB", "512 bytes".
std::optional<double> bytes_between(std::string_view message, std::string_view before,
                                    std::string_view after) {
  const std::size_t found = message.find(before);
  if (found == std::string_view::npos) return std::nullopt;
  const std::size_t begin = found + before.size();
  const std::size_t end = message.find(after, begin);
  if (end == std::string_view::npos) return std::nullopt;
  const std::vector<std::string> words = split(message.substr(begin, end - begin), ' ');
  if (words.empty() || words.size() > 2) return std::nullopt;
  const std::optional<double> number = parse_real(words.front());
  if (!number) return std::nullopt;
  constexpr std::string_view kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double unit = 1;
  for (const std::string_view name : kUnits) {
    if (words.size() == 1 || words.back() == name) return *number * unit;
    unit *= 1024;
  }
  return std::nullopt;
}

// The bytes of a line of /proc/meminfo.
std::optional<double> machine_bytes(std::string_view line_name) {
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    double kib = 0;
    if (!(file >> kib)) return std::nullopt;
    std::getline(file, unit);
    if (name == line_name) return 1024 * kib;
  }
  return std::nullopt;
}

std::optional<double> own_bytes() {
  std::ifstream file("/proc/self/statm");
  double size = 0, resident = 0;
  if (!(file >> size >> resident)) return std::nullopt;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

struct Refusal {
  std::string of;  // "GPU 0"
  std::optional<double> asked, capacity, free, used;
};

std::string sentence(const Refusal& refusal, int ranks) {
  std::string message = "out of memory on " + refusal.of;
  if (refusal.asked) message += text(": ", in_bytes(*refusal.asked), " more were asked for");
  if (refusal.capacity && refusal.free) {
    message += text(refusal.asked ? ", and " : ": ", in_bytes(*refusal.free), " of its ",
                    in_bytes(*refusal.capacity), " are free");
    if (refusal.used) message += text(" while this rank holds ", in_bytes(*refusal.used));
  }
  message += text("; micrec plan --ranks=", ranks);
  if (refusal.capacity) {
    constexpr double kGiB = 1024.0 * 1024 * 1024;
    message += text(" --memory=", std::max(1.0, std::floor(*refusal.capacity / kGiB)));
  }
  return message +
         " with the run's flags says what a rank needs; use more ranks, a smaller --batch, fewer "
         "columns (--dim) or another --grid";
}

}  // namespace

std::string describe_gpu_out_of_memory(const std::string& what, int ranks) {
  Refusal refusal{.of = "the GPU",
                  .asked = bytes_between(what, "Tried to allocate ", ". "),
                  .capacity = bytes_between(what, "has a total capacity of ", " of which "),
                  .free = bytes_between(what, " of which ", " is free"),
                  .used = bytes_between(what, "this process has ", " memory in use")};
  const std::size_t number = what.find("GPU ");
  if (number != std::string::npos) {
    const std::size_t end = what.find_first_not_of("0123456789", number + 4);
    if (end > number + 4) refusal.of = what.substr(number, end - number);
  }
  return sentence(refusal, ranks);
}

std::string describe_host_out_of_memory(const std::string& what, int ranks) {
  return sentence({.of = "the machine",
                   .asked = bytes_between(what, "you tried to allocate ", "."),
                   .capacity = machine_bytes("MemTotal:"),
                   .free = machine_bytes("MemAvailable:"),
                   .used = own_bytes()},
                  ranks);
}

}  // namespace micrec
