#include "evaluate/per_user_file.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <ostream>
#include <set>
#include <utility>

#include "base/description.h"
#include "base/error.h"
#include "base/text.h"
#include "io/unfinished_file.h"

namespace micrec {
namespace {

constexpr Hdf5Storage kStorage = {.compress = true};

std::string domain_path(const std::string& domain) { return "/domains/" + domain; }

/// Where the columns of a slice lie; those of the whole belong to the domain itself.
std::string slice_path(const std::string& domain, const std::string& slice) {
  return slice == "all" ? domain_path(domain) : domain_path(domain) + "/slices/" + slice;
}

std::vector<std::string> metric_names(const std::vector<std::int64_t>& cutoffs) {
  std::vector<std::string> names;
  for (const std::int64_t k : cutoffs) {
    for (const Metric metric : kMetrics) names.push_back(metric_name(metric, k));
  }
  return names;
}

PerUserOrigin origin_of(const EvaluatedUsers& users) {
  return {.model = users.model,
          .checkpoint = users.report.checkpoint,
          .dataset_fingerprint = users.dataset.fingerprint(),
          .split = users.report.split,
          .split_rule = users.dataset.origin().split_rule,
          .hold_out = users.dataset.origin().hold_out};
}

void write_origin(const PerUserOrigin& origin, const std::vector<std::int64_t>& k, Hdf5File& file) {
  file.set_attribute("/", "format", kPerUserFormat);
  file.set_attribute("/", "format_version", kPerUserVersion);
  file.set_attribute("/", "model", origin.model);
  file.set_attribute("/", "checkpoint", origin.checkpoint);
  file.set_attribute("/", "dataset_fingerprint", origin.dataset_fingerprint);
  file.set_attribute("/", "split", name_of(origin.split));
  file.set_attribute("/", "split_rule", origin.split_rule);
  file.set_attribute("/", "hold_out", origin.hold_out);
  std::vector<std::string> cutoffs;
  for (const std::int64_t cutoff : k) cutoffs.push_back(std::to_string(cutoff));
  file.set_attribute("/", "k", join(cutoffs, ","));
}

/// Columns of one slice that grow block by block in the file.
struct OpenSlice {
  std::string path;
  std::int64_t users = 0;    // in the report
  std::int64_t written = 0;  // of them
};

/// Receives the blocks of one domain and writes them.
class DomainWriter {
 public:
  DomainWriter(Hdf5File& file, const EvaluatedDomain& domain, const DomainReport& report,
               std::vector<std::string> metrics)
      : file_(file), metrics_(std::move(metrics)), slices_(domain.slice_names.size()) {
    const std::string path = domain_path(domain.name);
    file_.make_group(path);
    std::vector<std::string> names;
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      const std::string& name = domain.slice_names[s];
      const auto found = std::ranges::find(report.slices, name, &SliceReport::name);
      if (found == report.slices.end()) continue;
      slices_[s] = {slice_path(domain.name, name), found->users};
      reserve(slices_[s], name == "all");
      if (name != "all") names.push_back(name);
    }
    file_.set_attribute(path, "candidates", domain.candidates);
    file_.set_attribute(path, "slices", join(names, ","));
  }

  void write(const UserBlock& block) {
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      if (!block.slices[s].row.empty()) append(slices_[s], block.slices[s], s == 0);
    }
  }

 private:
  void reserve(const OpenSlice& slice, bool is_whole) {
    if (!is_whole) file_.reserve<std::int32_t>(slice.path + "/row", {slice.users}, kStorage);
    file_.reserve<std::int32_t>(slice.path + "/positives", {slice.users}, kStorage);
    for (const std::string& metric : metrics_) {
      file_.reserve<double>(text(slice.path, '/', metric), {slice.users}, kStorage);
    }
  }

  void append(OpenSlice& slice, const SliceOfUsers& users, bool is_whole) {
    const auto count = static_cast<std::int64_t>(users.row.size());
    const Range rows = {slice.written, slice.written + count};
    CHECK_LE(rows.end, slice.users);
    if (!is_whole) file_.write_rows(slice.path + "/row", rows, users.row.data());
    file_.write_rows(slice.path + "/positives", rows, users.positives.data());
    for (std::size_t m = 0; m < metrics_.size(); ++m) {
      file_.write_rows(text(slice.path, '/', metrics_[m]), rows, users.values[m].data());
    }
    slice.written = rows.end;
  }

  Hdf5File& file_;
  std::vector<std::string> metrics_;
  std::vector<OpenSlice> slices_;  // as EvaluatedDomain::slice_names; no path: has no users
};

/// Calls use(domain, block) on rank 0, and at the end of each domain finish(domain, keys of its
/// users). Ranks: collective.
void for_each_block(const EvaluatedUsers& users, Communicator& communicator, c10::Device device,
                    std::int64_t block_bytes, const std::function<void(int, const UserBlock&)>& use,
                    const std::function<void(int, std::vector<std::string>)>& finish) {
  const auto domains = static_cast<int>(users.evaluator.domains().size());
  for (int d = 0; d < domains; ++d) {
    const EvaluatedDomain& domain = users.evaluator.domains()[d];
    const MetricTable metrics(users.evaluator.options().k, domain.candidates);
    std::vector<std::int32_t> numbers;  // of the evaluated users
    for_each_user_block({domain, users.items_ahead[d], metrics}, communicator, device, block_bytes,
                        [&](const UserBlock& block) {
                          numbers.insert(numbers.end(), block.user.begin(), block.user.end());
                          use(d, block);
                        });
    if (communicator.rank() != 0) continue;
    const std::vector<std::string> keys = users.dataset.user_keys(d);
    std::vector<std::string> of_users;
    of_users.reserve(numbers.size());
    for (const std::int32_t number : numbers) of_users.push_back(keys[number]);
    finish(d, std::move(of_users));
  }
}

}  // namespace

void write_per_user(const EvaluatedUsers& users, const std::string& path,
                    Communicator& communicator, c10::Device device, std::int64_t block_bytes) {
  const std::vector<EvaluatedDomain>& domains = users.evaluator.domains();
  std::optional<UnfinishedFile> unfinished;
  std::optional<Hdf5File> file;
  std::vector<DomainWriter> writers;
  if (communicator.rank() == 0) {
    unfinished.emplace(path);
    file.emplace(Hdf5File::create(unfinished->name()));
    write_origin(origin_of(users), users.report.k, *file);
    for (std::size_t d = 0; d < domains.size(); ++d) {
      writers.emplace_back(*file, domains[d], users.report.domains[d],
                           metric_names(users.report.k));
    }
  }
  for_each_block(
      users, communicator, device, block_bytes,
      [&](int d, const UserBlock& block) { writers[d].write(block); },
      [&](int d, const std::vector<std::string>& keys) {
        file->write_text(domain_path(domains[d].name) + "/user", keys, {.compress = true});
      });
  if (file) {
    file->close();
    unfinished->finish();
  }
  communicator.barrier("per_user.finished");
}

PerUserMetrics collect_per_user(const EvaluatedUsers& users,
                                const std::vector<std::string>& metrics, Communicator& communicator,
                                c10::Device device, std::int64_t block_bytes) {
  const std::vector<std::string> known = metric_names(users.report.k);
  std::vector<std::size_t> chosen;
  for (const std::string& metric : metrics) {
    const auto found = std::ranges::find(known, metric);
    CHECK(found != known.end()) << metric;
    chosen.push_back(found - known.begin());
  }
  PerUserMetrics result = {origin_of(users), metrics, {}};
  if (communicator.rank() == 0) {
    for (const EvaluatedDomain& domain : users.evaluator.domains()) {
      PerUserDomain& out = result.domains.emplace_back();
      out.name = domain.name;
      for (const std::string& name : domain.slice_names) {
        out.slices.push_back({{{}, {}, std::vector<std::vector<double>>(metrics.size())}, name});
      }
    }
  }
  const auto append = [](auto& to, const auto& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  const auto take = [&](int d, const UserBlock& block) {
    for (std::size_t s = 0; s < block.slices.size(); ++s) {
      const SliceOfUsers& from = block.slices[s];
      PerUserSlice& to = result.domains[d].slices[s];
      append(to.row, from.row);
      append(to.positives, from.positives);
      for (std::size_t m = 0; m < chosen.size(); ++m) append(to.values[m], from.values[chosen[m]]);
    }
  };
  for_each_block(users, communicator, device, block_bytes, take,
                 [&](int d, std::vector<std::string> keys) {
                   PerUserDomain& domain = result.domains[d];
                   domain.user = std::move(keys);
                   std::erase_if(domain.slices, [](const PerUserSlice& slice) {
                     return slice.name != "all" && slice.row.empty();
                   });
                 });
  return result;
}

namespace {

std::vector<std::string> slices_of(const Hdf5File& file, const std::string& domain) {
  std::vector<std::string> names = {"all"};
  const std::string path = domain_path(domain);
  if (!file.has_attribute(path, "slices")) return names;
  for (std::string& name : split(file.text_attribute(path, "slices"), ',')) {
    names.push_back(std::move(name));
  }
  return names;
}

Split split_of(const Hdf5File& file) {
  const std::string name = file.text_attribute("/", "split");
  for (const Split split : {Split::valid, Split::test}) {
    if (name == name_of(split)) return split;
  }
  throw Error(Cause::data, file.path(), ": attribute split is '", name,
              "', expected valid or test; write it again with micrec evaluate "
              "--per_user");
}

PerUserOrigin read_origin(const Hdf5File& file) {
  const bool is_ours =
      file.has_attribute("/", "format") && file.text_attribute("/", "format") == kPerUserFormat;
  if (!is_ours) {
    throw Error(Cause::data, file.path(),
                " is no file of metrics by user; make one with "
                "micrec evaluate --run_dir=FOLDER --per_user=FILE");
  }
  const std::int64_t version = file.integer_attribute("/", "format_version");
  if (version < 1 || version > kPerUserVersion) {
    throw Error(Cause::data, file.path(), " has version ", version,
                " of metrics by user, and this program "
                "reads up to ",
                kPerUserVersion, "; use a newer micrec");
  }
  return {.model = file.text_attribute("/", "model"),
          .checkpoint = file.text_attribute("/", "checkpoint"),
          .dataset_fingerprint = file.text_attribute("/", "dataset_fingerprint"),
          .split = split_of(file),
          .split_rule = file.text_attribute("/", "split_rule"),
          .hold_out = file.text_attribute("/", "hold_out")};
}

void refuse_missing_metric(const Hdf5File& file, const std::string& domain,
                           const std::string& metric) {
  if (file.is_dataset(text(domain_path(domain), '/', metric))) return;
  std::vector<std::string> known = file.children(domain_path(domain));
  std::erase_if(known, [](const std::string& name) { return name.find('@') == std::string::npos; });
  throw Error(Cause::data, file.path(), " has no ", metric, " of domain ", domain, "; it has ",
              known.empty() ? "none" : join(known, ", "),
              "; evaluate again with the --k that is wanted");
}

/// Rows must be numbers of users, each once, and values numbers.
void check_slice(const Hdf5File& file, const std::string& path, const PerUserSlice& slice,
                 std::size_t users) {
  for (std::size_t n = 0; n < slice.row.size(); ++n) {
    const std::int32_t before = n == 0 ? -1 : slice.row[n - 1];
    if (slice.row[n] > before && slice.row[n] < static_cast<std::int64_t>(users)) continue;
    throw Error(Cause::data, file.path(), ": ", path, "/row is ", slice.row[n], " at ", n,
                ", expected rising rows below ", users,
                "; write it again with micrec evaluate --per_user");
  }
  for (const std::vector<double>& column : slice.values) {
    const auto bad = std::ranges::find_if_not(column, [](double v) { return std::isfinite(v); });
    if (bad == column.end()) continue;
    throw Error(Cause::data, file.path(), ": ", path, " has a metric of ", *bad, " at row ",
                bad - column.begin(), "; write it again with micrec evaluate --per_user");
  }
}

PerUserDomain read_domain(const Hdf5File& file, const std::string& name,
                          const std::vector<std::string>& metrics) {
  const std::string path = domain_path(name);
  PerUserDomain domain = {name, file.read_text(path + "/user"), {}};
  std::set<std::string> seen;
  for (const std::string& key : domain.user) {
    if (seen.insert(key).second) continue;
    throw Error(Cause::data, file.path(), ": ", path, "/user has '", key,
                "' twice; each user has one row");
  }
  for (const std::string& metric : metrics) refuse_missing_metric(file, name, metric);
  for (const std::string& slice_name : slices_of(file, name)) {
    PerUserSlice& slice = domain.slices.emplace_back();
    slice.name = slice_name;
    const std::string from = slice_path(name, slice_name);
    slice.positives = file.read<std::int32_t>(from + "/positives");
    const auto count = static_cast<std::int64_t>(slice.positives.size());
    if (slice_name == "all") {
      file.expect_shape(path + "/positives", {static_cast<std::int64_t>(domain.user.size())});
      for (std::int32_t row = 0; row < count; ++row) slice.row.push_back(row);
    } else {
      file.expect_shape(from + "/row", {count});
      slice.row = file.read<std::int32_t>(from + "/row");
    }
    for (const std::string& metric : metrics) {
      file.expect_shape(text(from, '/', metric), {count});
      slice.values.push_back(file.read<double>(text(from, '/', metric)));
    }
    check_slice(file, from, slice, domain.user.size());
  }
  return domain;
}

}  // namespace

PerUserMetrics read_per_user(const std::string& path, const std::vector<std::string>& metrics) {
  const Hdf5File file = Hdf5File::open(path);
  PerUserMetrics result = {read_origin(file), metrics, {}};
  for (const std::string& name : file.children("/domains")) {
    result.domains.push_back(read_domain(file, name, metrics));
  }
  return result;
}

void describe_per_user(const std::string& path, std::ostream& out) {
  const Hdf5File file = Hdf5File::open(path);
  print_title(out, path, "metrics by user");
  const PerUserOrigin origin = read_origin(file);
  print_row(out, "model", or_none(origin.model));
  print_row(out, "checkpoint", or_none(origin.checkpoint));
  print_row(out, "dataset", or_none(origin.dataset_fingerprint));
  print_row(out, "split", text(name_of(origin.split), " of ", or_none(origin.split_rule)));
  print_row(out, "hold-outs", or_none(origin.hold_out));
  print_row(out, "k", file.text_attribute("/", "k"));
  for (const std::string& name : file.children("/domains")) {
    const std::int64_t users = file.expect_shape(domain_path(name) + "/user", {-1})[0];
    file.expect_shape(domain_path(name) + "/positives", {users});
    print_row(out, "domain " + name,
              text(count_of(users, "user"), " with relevant items, ranked among ",
                   count_of(file.integer_attribute(domain_path(name), "candidates"), "item")));
    print_words(out, "  slices", slices_of(file, name));
  }
  out << "\nGive several to micrec compare.\n";
}

}  // namespace micrec
