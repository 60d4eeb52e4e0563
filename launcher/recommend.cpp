#include <ATen/ATen.h>
#include <gflags/gflags.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/path_list.h"
#include "base/text.h"
#include "base/timer.h"
#include "cluster/job.h"
#include "data/key_table.h"
#include "evaluate/ranking.h"
#include "io/interactions_reader.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "launcher/commands.h"
#include "launcher/common_flags.h"
#include "launcher/outputs.h"
#include "launcher/trained_run.h"

DEFINE_string(domain, "", "recommend items of this domain alone; empty: of every domain");
DEFINE_string(
    history, "",
    "what new people have interacted with: a file as micrec prepare reads it (user_id and "
    "item_id), for several domains DOMAIN=FILE with commas between; they are inferred "
    "from it, nothing is retrained");
DEFINE_string(exclude, "observed",
              "what users of the dataset are not recommended again: observed (what the model has "
              "seen of them) or all (their validation and test interactions too)");

// Of prepare, which reads such files too.
DECLARE_string(columns);
DECLARE_string(separator);
DECLARE_string(quotes);

namespace micrec {
namespace {

constexpr std::int64_t kBlock = 4096;  // people served at a time

struct RecommendOptions {
  TrainedRunOptions run;
  std::string domain;
  std::string history;
  InteractionsOptions reading;     // of the history's files
  std::vector<std::string> users;  // keys; empty: everyone
  bool exclude_all = false;
  std::int64_t k = 20;
  std::string out;
};

/// Where a list comes from, as the column `basis` says.
enum class Basis { dataset, history, other_domain, popular };
const char* name_of(Basis basis) {
  constexpr const char* kNames[] = {"dataset", "history", "other_domain", "popular"};
  return kNames[static_cast<int>(basis)];
}

/// Interactions of people from --history in one domain, with the items that the dataset knows.
struct History {
  KeyTable users;
  std::vector<std::vector<std::int32_t>> items;  // [number in users] rising
};

/// All that is served from, in memory.
struct Service {
  TrainedRun& run;
  int threads;
  at::Tensor z;                    // (nodes, dim), final rows of the dataset's users and items
  std::vector<KeyTable> users;     // [domain] numbers as in the dataset
  std::vector<History> histories;  // [domain]
};

KeyTable table_of(const std::vector<std::string>& keys) {
  KeyTable table;
  for (const std::string& key : keys) table.add(key);
  return table;
}

std::span<const float> values_of(const at::Tensor& rows) {
  return {rows.const_data_ptr<float>(), static_cast<std::size_t>(rows.numel())};
}

History read_history(const std::string& path, const InteractionsOptions& reading, int domain,
                     const DatasetFile& dataset, const KeyTable& known_users) {
  const KeyTable items = table_of(dataset.item_keys(domain));
  const std::string& name = dataset.domains()[domain].name;
  History history;
  std::int64_t read = 0;
  std::int64_t unknown = 0;
  std::string unknown_example;
  const InteractionsSummary summary =
      for_each_interaction(path, reading, [&](const Interaction& interaction) {
        ++read;
        const std::int32_t user = history.users.add(interaction.user);
        if (user == static_cast<std::int32_t>(history.items.size())) history.items.emplace_back();
        const std::int32_t item = items.find(interaction.item);
        if (item >= 0) {
          history.items[user].push_back(item);
        } else if (unknown++ == 0) {
          unknown_example = interaction.item;
        }
      });
  for (std::vector<std::int32_t>& list : history.items) {
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  std::cerr << path << ": " << with_commas(read) << " interactions of "
            << with_commas(history.users.size()) << " people in " << name << " ("
            << join(summary.in_words(), "; ") << ")\n";
  if (unknown == read) {
    throw Error(Cause::data,
                text(path, ": none of its items is an item of the domain ", name, " (it has '",
                     unknown_example, "', the domain has '", items.size() > 0 ? items.key(0) : "",
                     "'); check that user and item columns are not swapped, or name "
                     "the domain by --history=DOMAIN=FILE"));
  }
  if (unknown > 0) {
    std::cerr << "  " << with_commas(unknown) << " of them with items that " << name
              << " does not have, as '" << unknown_example << "': left out\n";
  }
  std::int64_t known = 0;
  for (std::int32_t u = 0; u < history.users.size(); ++u) {
    known += known_users.find(history.users.key(u)) >= 0;
  }
  if (known > 0) {
    std::cerr << "  " << with_commas(known)
              << " of the people have keys that the dataset knows; they are served from this file "
                 "alone\n";
  }
  return history;
}

/// --history=FILE or DOMAIN=FILE,...: the file of every domain number.
std::map<int, std::string> history_files(const RecommendOptions& options,
                                         const DatasetFile& dataset) {
  std::map<int, std::string> files;
  for (const std::string& part : split_paths(options.history)) {
    const std::size_t equals = part.find('=');
    std::string domain = options.domain;
    if (equals != std::string::npos) {
      domain = part.substr(0, equals);
    } else if (domain.empty() && dataset.domains().size() == 1) {
      domain = dataset.domains().front().name;
    } else if (domain.empty()) {
      throw Error(Cause::usage,
                  text("--history=", part,
                       " does not say which domain it is of: write "
                       "--history=",
                       dataset.domains().front().name, "=", part, " or give --domain"));
    }
    const int number = dataset.domain_number(domain);
    if (!files.emplace(number, part.substr(equals == std::string::npos ? 0 : equals + 1)).second) {
      throw Error(Cause::usage, text("--history names two files for the domain ", domain));
    }
  }
  return files;
}

/// The keys to serve: those asked for, or everyone in the histories, or everyone in the dataset's
/// domain.
std::vector<std::string> keys_to_serve(const RecommendOptions& options, const Service& service,
                                       int domain) {
  if (!options.users.empty()) return options.users;
  KeyTable keys;
  for (const History& history : service.histories) {
    for (std::int32_t u = 0; u < history.users.size(); ++u) keys.add(history.users.key(u));
  }
  const KeyTable& chosen = keys.size() > 0 ? keys : service.users[domain];
  std::vector<std::string> list;
  for (std::int32_t u = 0; u < chosen.size(); ++u) list.emplace_back(chosen.key(u));
  return list;
}

/// Items with the most training interactions, ties to the smaller number.
std::vector<ScoredItem> popular_items(const Service& service, int domain, std::int64_t k) {
  const Range nodes = service.run.summary.space.items_of(domain);
  std::vector<ScoredItem> items;
  for (std::int64_t node = nodes.begin; node < nodes.end; ++node) {
    items.push_back({static_cast<std::int32_t>(node - nodes.begin),
                     static_cast<float>(service.run.summary.training_degree[node])});
  }
  std::ranges::stable_sort(items, std::ranges::greater(), &ScoredItem::score);
  items.resize(std::min<std::size_t>(items.size(), k));
  return items;
}

/// The items of every user of the dataset that are not to be recommended again: [user] rising.
std::vector<std::vector<std::int32_t>> observed_items(const DatasetFile& dataset, int domain,
                                                      bool all) {
  std::vector<std::vector<std::int32_t>> items(dataset.domains()[domain].users);
  std::vector<Split> splits = {Split::train, Split::later};
  if (all) splits.insert(splits.end(), {Split::valid, Split::test});
  for (const Split split : splits) {
    dataset.for_each_chunk(domain, split, 1 << 20, [&](const Interactions& chunk) {
      for (std::size_t n = 0; n < chunk.user.size(); ++n) {
        items[chunk.user[n]].push_back(chunk.item[n]);
      }
    });
  }
  for (std::vector<std::int32_t>& list : items) std::ranges::sort(list);
  return items;
}

/// Known items of a person in --history, nullptr where there are none.
const std::vector<std::int32_t>* history_of(const Service& service, int domain,
                                            const std::string& key) {
  const History& history = service.histories[domain];
  const std::int32_t user = history.users.find(key);
  return user < 0 || history.items[user].empty() ? nullptr : &history.items[user];
}

/// Rows of a block of people for one domain, and where each comes from; rows of Basis::popular are
/// zero.
struct Rows {
  at::Tensor z;  // (people, dim)
  std::vector<Basis> basis;
};

/// Rows from the person's own history or own node in this domain; what has neither is left at
/// Basis::popular.
Rows own_rows(const Service& service, int domain, std::span<const std::string> keys) {
  const auto count = static_cast<std::int64_t>(keys.size());
  Rows rows = {at::zeros({count, service.z.size(1)}), std::vector<Basis>(count, Basis::popular)};
  std::vector<std::int64_t> known_people;
  std::vector<std::int64_t> nodes;
  std::vector<std::int64_t> new_people;
  std::vector<std::vector<std::int32_t>> lists;
  for (std::int64_t n = 0; n < count; ++n) {
    if (const std::vector<std::int32_t>* list = history_of(service, domain, keys[n])) {
      rows.basis[n] = Basis::history;
      new_people.push_back(n);
      lists.push_back(*list);
      continue;
    }
    const std::int32_t user = service.users[domain].find(keys[n]);
    if (user < 0) continue;
    rows.basis[n] = Basis::dataset;
    known_people.push_back(n);
    nodes.push_back(value(service.run.summary.space.user(domain, user)));
  }
  rows.z.index_copy_(0, at::tensor(known_people, at::kLong),
                     service.z.index_select(0, at::tensor(nodes, at::kLong)));
  if (!new_people.empty()) {
    rows.z.index_copy_(0, at::tensor(new_people, at::kLong),
                       service.run.model->new_user_embeddings(domain, lists, service.run.epoch));
  }
  return rows;
}

/// Rows for a domain; people unknown in it are mapped from the domains where they are known.
Rows rows_for(const Service& service, int domain, std::span<const std::string> keys) {
  Rows rows = own_rows(service, domain, keys);
  std::vector<std::string> strangers;
  std::vector<std::int64_t> place;
  for (std::size_t n = 0; n < keys.size(); ++n) {
    if (rows.basis[n] != Basis::popular) continue;
    strangers.push_back(keys[n]);
    place.push_back(static_cast<std::int64_t>(n));
  }
  if (strangers.empty()) return rows;
  std::vector<int> maps(strangers.size(), 0);
  for (int from = 0; from < service.run.summary.space.domains(); ++from) {
    if (from == domain) continue;
    const Rows there = own_rows(service, from, strangers);
    const std::optional<at::Tensor> mapped =
        service.run.model->map_to_domain(there.z, from, domain);
    if (!mapped) continue;
    for (std::size_t s = 0; s < strangers.size(); ++s) {
      if (there.basis[s] == Basis::popular) continue;
      rows.z[place[s]].add_((*mapped)[static_cast<std::int64_t>(s)]);
      rows.basis[place[s]] = Basis::other_domain;
      ++maps[s];
    }
  }
  for (std::size_t s = 0; s < strangers.size(); ++s) {
    if (maps[s] > 1) rows.z[place[s]].div_(maps[s]);
  }
  return rows;
}

/// A CSV field (RFC 4180).
std::string field(std::string_view value) {
  if (value.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(value);
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

void serve_domain(const Service& service, const RecommendOptions& options, int domain,
                  std::ostream& out) {
  const DatasetFile& dataset = service.run.dataset;
  const std::string& name = dataset.domains()[domain].name;
  const Range items = service.run.summary.space.items_of(domain);
  const std::vector<std::string> item_keys = dataset.item_keys(domain);
  const at::Tensor item_rows = service.z.narrow(0, items.begin, items.size()).contiguous();
  std::vector<std::int32_t> row_of(items.size());
  std::iota(row_of.begin(), row_of.end(), 0);
  const std::vector<std::uint8_t> one_group(items.size(), 0);
  const Candidates candidates(values_of(item_rows), item_rows.size(1), 0, row_of, one_group, 1,
                              service.threads);
  const std::vector<ScoredItem> popular = popular_items(service, domain, options.k);
  const std::vector<std::vector<std::int32_t>> observed =
      observed_items(dataset, domain, options.exclude_all);
  const std::vector<std::string> keys = keys_to_serve(options, service, domain);

  std::map<Basis, std::int64_t> served;
  std::string stranger;
  for (std::size_t begin = 0; begin < keys.size(); begin += kBlock) {
    const std::span<const std::string> block =
        std::span(keys).subspan(begin, std::min<std::size_t>(kBlock, keys.size() - begin));
    const Rows rows = rows_for(service, domain, block);
    ItemLists masked;
    for (std::size_t n = 0; n < block.size(); ++n) {
      if (rows.basis[n] == Basis::history) {
        const std::vector<std::int32_t>& own = *history_of(service, domain, block[n]);
        masked.items.insert(masked.items.end(), own.begin(), own.end());
      } else if (rows.basis[n] == Basis::dataset) {
        const std::vector<std::int32_t>& own = observed[service.users[domain].find(block[n])];
        masked.items.insert(masked.items.end(), own.begin(), own.end());
      }
      masked.offsets.push_back(static_cast<std::int64_t>(masked.items.size()));
    }
    const std::vector<std::vector<ScoredItem>> lists =
        top_k(candidates, values_of(rows.z), masked, options.k, service.threads);
    for (std::size_t n = 0; n < block.size(); ++n) {
      const Basis basis = rows.basis[n];
      if (basis == Basis::popular && served[basis]++ == 0) stranger = block[n];
      if (basis != Basis::popular) ++served[basis];
      const std::vector<ScoredItem>& list = basis == Basis::popular ? popular : lists[n];
      for (std::size_t rank = 0; rank < list.size(); ++rank) {
        char score[32];
        std::snprintf(score, sizeof score, "%.6g", static_cast<double>(list[rank].score));
        out << field(block[n]) << ',' << name << ',' << rank + 1 << ','
            << field(item_keys[list[rank].item]) << ',' << score << ',' << name_of(basis) << '\n';
      }
    }
  }

  std::cerr << name << ": " << with_commas(static_cast<std::int64_t>(keys.size())) << " people";
  for (const auto& [basis, count] : served) {
    std::cerr << ", " << with_commas(count) << " from " << name_of(basis);
  }
  std::cerr << "\n";
  if (served.count(Basis::popular) > 0) {
    std::cerr << "  nothing is known of " << with_commas(served[Basis::popular]) << " of them, as '"
              << stranger << "': they get the most popular items of " << name
              << "; --history=FILE with their interactions would make the lists their own\n";
  }
}

int recommend(const RecommendOptions& options, Job& job) {
  if (job.world_size() > 1) {
    throw Error(Cause::usage, text("recommend runs as one process, but was started as ",
                                   job.world_size(), "; start it without mpirun"));
  }
  const auto run = open_trained_run(options.run, job);
  const int domains = run->summary.space.domains();
  std::vector<int> wanted(domains);
  std::iota(wanted.begin(), wanted.end(), 0);
  if (!options.domain.empty()) wanted = {run->dataset.domain_number(options.domain)};

  Service service = {*run,
                     job.threads(),
                     run->model->embeddings(run->epoch).cpu().contiguous(),
                     {},
                     std::vector<History>(domains)};
  for (int d = 0; d < domains; ++d) service.users.push_back(table_of(run->dataset.user_keys(d)));
  for (const auto& [domain, path] : history_files(options, run->dataset)) {
    refuse_output_over_inputs("--out", options.out, {path});
    service.histories[domain] =
        read_history(path, options.reading, domain, run->dataset, service.users[domain]);
  }

  std::optional<UnfinishedFile> unfinished;
  std::ofstream file;
  if (!options.out.empty()) {
    unfinished.emplace(options.out);
    errno = 0;
    file.open(unfinished->name());
  }
  std::ostream& out = unfinished ? file : std::cout;
  out << "user_id,domain,rank,item_id,score,basis\n";
  for (const int domain : wanted) serve_domain(service, options, domain, out);
  if (unfinished) file.close();
  if (unfinished) {
    if (!file) refuse_path("write", options.out, errno);
    unfinished->finish();
    std::cerr << options.out << " written, from " << run->checkpoint << "\n";
  }
  return 0;
}

int run_recommend(const Arguments& arguments) {
  RecommendOptions options;
  options.run = {.run_dir = FLAGS_run_dir,
                 .checkpoint = FLAGS_checkpoint,
                 .dataset = FLAGS_dataset,
                 .out = FLAGS_out};
  options.domain = FLAGS_domain;
  options.history = FLAGS_history;
  options.reading.columns = FLAGS_columns;
  options.reading.separator = FLAGS_separator;
  options.reading.quotes = parse_quotes(FLAGS_quotes);
  options.users = split(FLAGS_users, ',');
  options.exclude_all = FLAGS_exclude == "all";
  options.k = integer_list("k").front();
  options.out = FLAGS_out;
  check_output("--out", FLAGS_out, arguments, files_of_run(FLAGS_run_dir));
  return run_ranks_of("recommend", [&](Job& self) { return recommend(options, self); });
}

}  // namespace

Command recommend_command() {
  Command command;
  command.name = "recommend";
  command.summary = "recommend items to users of the dataset and to people it has never seen";
  command.usage = "micrec recommend --run_dir=FOLDER [--users=KEY,...] [--history=FILE] [flags]";
  command.example = "micrec recommend --run_dir=runs/fk --history=food=new.csv --k=20";
  FlagSpec run_dir = run_dir_flag();
  run_dir.bound = required();
  FlagSpec dataset = dataset_flag();
  dataset.meaning = "the dataset, if it is no longer where it was in training";
  command.flags = {
      run_dir,
      checkpoint_flag(),
      dataset,
      {"history", "People", "FILE"},
      {"columns", "People", ""},
      {"separator", "People", ""},
      {"quotes", "People", "", one_of({"auto", "twice", "none"})},
      {"users",
       "People",
       "keys",
       {},
       "",
       "whom to recommend to, with commas between; empty: everyone in --history, or without it "
       "everyone in the dataset"},
      {"domain", "Results", ""},
      single_k_flag(20),
      {"exclude", "Results", "", one_of({"observed", "all"})},
      out_flag("the CSV file to write; empty: standard output", false),
      device_flag(),
      threads_flag(),
  };
  for (const FlagSpec& flag : cluster_flags()) command.flags.push_back(flag);
  command.run = run_recommend;
  return command;
}

}  // namespace micrec
