#include "launcher/common_flags.h"

#include "base/text.h"
#include "checkpoints/run_folder.h"
#include "io/paths.h"
#include "io/unfinished_file.h"
#include "serve/filter/filter_files.h"
#include "serve/trained_run.h"

namespace micrec {
namespace {

constexpr int kLongestList = 10'000;

std::string check_device(const std::string& value) {
  return value == "auto" || value == "cpu" || value == "cuda" ? "" : "auto, cpu or cuda";
}

}  // namespace

Flag dataset_flag(std::string& path) {
  return may_change(
      {"dataset", "Files", "FILE", "the dataset, as micrec prepare or micrec synth made it", path});
}

Flag run_dir_flag(std::string& path) {
  return may_change({"run_dir", "Files", "FOLDER",
                     "the folder of the run: its configuration, metrics and checkpoints", path});
}

Flag out_flag(std::string& path, const std::string& meaning, bool is_required) {
  return {"out", "Files", "FILE", meaning, path, is_required ? required() : Bound{}};
}

void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs) {
  if (path.empty()) return;
  refuse_unwritable(path);
  refuse_output_over_inputs(flag, path, inputs);
  refuse_output_over_inputs(flag, path, arguments.flagfiles);
  refuse_file_of_run(flag, path);
}

Flag seed_flag(std::uint64_t& seed) {
  return {"seed", "Running",  "", "seed of everything random; the same seed gives the same result",
          seed,   at_least(0)};
}

Flag split_flag(Split& split, const std::string& meaning) {
  return {"split", "Results", "", meaning,
          one_of(split, {{"valid", Split::valid}, {"test", Split::test}})};
}

Flag k_flag(std::vector<std::int64_t>& k) {
  return may_change({"k", "Results", "items", "lengths of the ranked lists that metrics look at", k,
                     between(1, kLongestList)});
}

Flag most_users_flag(std::int64_t& most_users) {
  return {"most_users",
          "Results",
          "users",
          "users of a domain that are ranked at most, always the same sample, whose NDCG is told "
          "with its 95% "
          "interval; 0: all",
          most_users,
          at_least(0)};
}

Flag single_k_flag(std::int64_t& k) {
  return {"k", "Results", "items", "how many items to recommend", k, between(1, kLongestList)};
}

Flag checkpoint_flag(std::string& checkpoint) {
  return {"checkpoint",
          "Files",
          "",
          "which checkpoint: best (by validation; the newest where none was validated), newest, or "
          "the name of one, as in step-000000001200",
          checkpoint,
          written_as("best, newest or a name", [](const std::string& value) {
            return value == "best" || value == "newest" || value.starts_with("step-")
                       ? std::string()
                       : "best, newest or the name of a checkpoint, as in step-000000001200";
          })};
}

std::vector<Flag> table_flags(const std::string& group, InteractionsOptions& reading) {
  return {
      {"columns", group, "",
       "columns of the files, USER,ITEM[,TIME[,RATING[,SPLIT]]] by name or, without a header "
       "line, by number from 1; empty: by the names the files have",
       reading.columns},
      {"separator", group, "",
       "what stands between the fields of the files: a character or more, as in ; or ::, tab "
       "or space; empty: a comma in .csv, a tab in .tsv and .inter, else as the contents say",
       reading.separator},
      {"quotes", group, "",
       "what a double quote is in the files: twice (it stands around fields, and in them is "
       "written twice), none (a character like others), or auto (none where tabs or several "
       "characters separate the fields, else twice)",
       one_of(reading.quotes,
              {{"auto", Quotes::automatic}, {"twice", Quotes::twice}, {"none", Quotes::none}})}};
}

std::vector<Flag> addition_flags(LaterFiles& files, const std::string* history) {
  const std::vector<Flag> flags = {
      {"items", "What came later", "MODALITY:DOMAIN=FILE",
       "feature files of new items with commas between, as in text:food=new_food_text.h5; each key "
       "is an item that the dataset does not have, and joins the catalogue",
       files.items},
      {"observed", "What came later", "DOMAIN=FILE",
       "what people did since the dataset was made, old and new ones with old and new items: "
       "DOMAIN=FILE with commas between, files as micrec prepare reads them; they join the graph, "
       "nothing is retrained",
       files.observed}};
  const auto unread = [&files, history]() -> std::string {
    if (!files.observed.empty() || (history != nullptr && !history->empty())) return "";
    return history == nullptr ? "without --observed" : "with neither --observed nor --history";
  };
  return flags + idle_where(unread, table_flags("What came later", files.reading));
}

std::vector<Flag> filter_flags(FilterOptions& options) {
  return {{"only_items", "Items", "FILE",
           "the only items to list: a file with a key a line, for several domains DOMAIN=FILE with "
           "commas between",
           options.only_items},
          {"exclude_items", "Items", "FILE", "items not to list, written likewise",
           options.exclude_items},
          {"attributes", "Items", "FILE",
           "what --where and --at_most ask about: a table with a header line, item_id and other "
           "columns of numbers or texts; for several domains DOMAIN=FILE with commas between",
           options.attributes},
          {"where", "Items", "",
           "list the items alone whose attributes are so, as in 'price < 20 and brand in (\"a\", "
           "\"b\")': and, or, not, ( ), = != < <= > >=, in (...), is missing",
           options.rules.where},
          {"at_most", "Items", "N:COLUMN",
           "how many items of one value of a column of --attributes a list may have, as in 2:brand",
           options.rules.at_most},
          {"min_degree", "Items", "interactions",
           "list the items alone that have so many training interactions", options.rules.min_degree,
           at_least(0)}};
}

Flag device_flag(JobOptions& job) {
  return may_change({"device", "Running", "",
                     "where to compute; auto: on GPUs where every rank has one", job.device,
                     written_as("auto, cpu or cuda", check_device)});
}

Flag threads_flag(int& threads) {
  return may_change({"threads", "Running", "threads",
                     "threads of each rank; 0: its share of the machine's cores", threads,
                     between(0, 1024)});
}

std::vector<Flag> cluster_flags(JobOptions& job) {
  return {may_change({"deadline", "Cluster", "seconds",
                      "longest wait of a rank for the others in one collective; then the run ends "
                      "and names the rank that hangs",
                      job.communicator.deadline_seconds, above(0)}),
          may_change({"check_collectives", "Cluster", "",
                      "compare name, type and sizes of each collective on all ranks before it "
                      "runs; slower, on GPUs most",
                      job.communicator.check_collectives}),
          may_change({"watchdog", "Cluster", "",
                      "start each of several ranks under a process that says why the rank died; "
                      "without it a debugger sees the rank itself",
                      job.watchdog})};
}

}  // namespace micrec
