#include "serve/observed_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/path_error.h"
#include "base/text.h"
#include "io/durable_files.h"
#include "serve/json_number.h"

namespace micrec {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDigits = 32;
constexpr char kFormat[] = "micrec observed events";
constexpr int kVersion = 1;

std::string checked_line(const std::string& json) { return digest_bytes(json) + " " + json + "\n"; }

std::string first_line() {
  return checked_line(Json{{"format", kFormat}, {"format_version", kVersion}}.dump());
}

/// The JSON of a line, without its end; null where it is not whole.
Json parse_line(std::string_view line) {
  if (line.size() < kDigits + 2 || line[kDigits] != ' ') return nullptr;
  const std::string_view json = line.substr(kDigits + 1);
  if (digest_bytes(json) != line.substr(0, kDigits)) return nullptr;
  return Json::parse(json, /*callback=*/nullptr, /*allow_exceptions=*/false);
}

NewItem item_of(const Json& json) {
  NewItem item = {json.at("domain").get<std::string>(), json.at("item").get<std::string>()};
  if (json.contains("features")) {
    item.features = json["features"].get<std::map<std::string, std::vector<float>>>();
  }
  item.title = json.value("title", "");
  return item;
}

Observation observation_of(const Json& line, const std::string& where) {
  Observation observation;
  try {
    for (const Json& event : line.at("events")) {
      observation.events.push_back({event.at(0).get<std::string>(), event.at(1).get<std::string>(),
                                    event.at(2).get<std::string>()});
    }
    if (!line.contains("items")) return observation;
    for (const Json& item : line["items"]) observation.items.push_back(item_of(item));
  } catch (const Json::exception&) {
    throw Error(Cause::data, where,
                ": expected {\"events\": [[domain, user, item], ...], \"items\": "
                "[{\"domain\", \"item\", \"features\"}, ...]}; this program did not "
                "write it, give another --log");
  }
  return observation;
}

Json json_of(const NewItem& item) {
  Json json = {{"domain", item.domain}, {"item", item.item}};
  for (const auto& [modality, row] : item.features) {
    Json& numbers = json["features"][modality] = Json::array();
    for (const float number : row) numbers.push_back(shortest(number));
  }
  if (!item.title.empty()) json["title"] = item.title;
  return json;
}

std::string line_of(const Observation& observation) {
  Json json = {{"events", Json::array()}};
  for (const ObservedEvent& event : observation.events) {
    json["events"].push_back({event.domain, event.user, event.item});
  }
  for (const NewItem& item : observation.items) json["items"].push_back(json_of(item));
  return checked_line(json.dump());
}

void check_format(const Json& first, const std::string& path) {
  const bool is_ours = first.is_object() && first.value("format", "") == kFormat;
  if (is_ours && first.value("format_version", 0) == kVersion) return;
  throw Error(Cause::data, path,
              is_ours ? " is of another version of the log of observed events"
                      : " is no log of observed events, or its first line is damaged",
              "; give another file by --log");
}

}  // namespace

ObservedLog::ObservedLog(const std::string& path, const Use& use, std::ostream& report)
    : path_(path), file_(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC) {
  if (!file_.ok()) {
    throw Error(Cause::io, path_error("open", path, errno),
                "; --log names another file to keep events in");
  }
  struct stat status {};
  if (fstat(file_.id(), &status) != 0 || !S_ISREG(status.st_mode)) {
    throw Error(Cause::io, path, " is no file that events can be kept in; name one by --log");
  }
  if (flock(file_.id(), LOCK_EX | LOCK_NB) != 0) {
    throw Error(Cause::io, path,
                " is in use by another server; stop it, or give this one a "
                "file of its own by --log");
  }
  read(use, report);
  if (is_torn_ && !cut()) throw Error(Cause::io, path_error("shorten", path, errno));
  if (bytes_ > 0) return;
  if (const auto failure = write(first_line())) throw Error(Cause::io, *failure);
  const std::size_t slash = path.rfind('/');
  sync_to_disk(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

void ObservedLog::read(const Use& use, std::ostream& report) {
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  std::int64_t number = 0;
  std::int64_t damaged = 0;  // number of the first line that is not whole
  std::int64_t end = 0;      // bytes read
  std::int64_t events = 0;
  std::int64_t items = 0;
  while (std::getline(file, line)) {
    ++number;
    end += static_cast<std::int64_t>(line.size()) + (file.eof() ? 0 : 1);
    const Json json = file.eof() ? Json() : parse_line(line);
    if (!json.is_object()) {
      if (number == 1 && !(file.eof() && first_line().starts_with(line))) {
        check_format(nullptr, path_);  // some other file, which must not be cut
      }
      if (damaged == 0) damaged = number;
      continue;
    }
    if (damaged > 0) {
      throw Error(Cause::data, path_, ":", damaged,
                  ": the line is damaged, and whole ones follow it; restore the "
                  "file, or take the line out and lose its events");
    }
    if (number == 1) {
      check_format(json, path_);
    } else {
      const Observation read = observation_of(json, text(path_, ":", number));
      events += std::ssize(read.events);
      items += std::ssize(read.items);
      use(read);
    }
    bytes_ = end;
  }
  if (!file.eof()) throw Error(Cause::io, path_error("read", path_, errno));  // or not opened
  is_torn_ = end > bytes_;
  if (number > 1) {
    report << path_ << ": " << with_commas(events) << " events"
           << (items > 0 ? text(" and ", with_commas(items), " new items") : "")
           << " observed before\n";
  }
  if (is_torn_) {
    report << path_ << ": its last line, " << with_commas(end - bytes_)
           << " bytes, was not finished and is left out; nobody was told that it was kept\n";
  }
}

bool ObservedLog::cut() {
  if (ftruncate(file_.id(), bytes_) != 0 || !file_.sync()) return false;
  is_torn_ = false;
  return true;
}

/// Why it could not be written; nothing where it is on the disk.
std::optional<std::string> ObservedLog::write(const std::string& line) {
  errno = 0;
  if (is_torn_ && !cut()) return path_error("shorten", path_, errno);
  if (!file_.write(line) || !file_.sync()) {
    const int error = errno;
    is_torn_ = true;
    static_cast<void>(cut());  // else the next write tries again
    return path_error("write", path_, error);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  bytes_ += static_cast<std::int64_t>(line.size());
  return std::nullopt;
}

void ObservedLog::append(const Observation& observation) {
  if (observation.is_empty()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!next_) next_ = std::make_shared<Commit>();
  const std::shared_ptr<Commit> commit = next_;
  Observation& shared = commit->observation;
  shared.events.insert(shared.events.end(), observation.events.begin(), observation.events.end());
  shared.items.insert(shared.items.end(), observation.items.begin(), observation.items.end());
  while (!commit->is_done) {
    if (is_writing_) {
      changed_.wait(lock);
      continue;
    }
    is_writing_ = true;
    next_ = nullptr;  // It was `commit`: what is neither done nor being written is the next.
    lock.unlock();
    std::optional<std::string> failure = write(line_of(commit->observation));
    lock.lock();
    commit->failure = std::move(failure);
    commit->is_done = true;
    is_writing_ = false;
    changed_.notify_all();
  }
  if (commit->failure) throw Error(Cause::io, *commit->failure);
}

std::int64_t ObservedLog::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

}  // namespace micrec
