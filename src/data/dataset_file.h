#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace micrec {

/// Parts of a domain's interactions.
enum class Split : std::uint8_t {
  train,  ///< what the model is trained on
  valid,
  test,
  later,  ///< held out of training, observed afterwards; part of the graph at inference
};
const char* name_of(Split split);

/// Interactions of one split of one domain, sorted by (user, item), each pair once.
struct Interactions {
  std::vector<std::int32_t> user;  // (n) user number in the domain
  std::vector<std::int32_t> item;  // (n) item number in the domain
};

/// How many of some flags are 1.
std::int64_t ones_in(const std::vector<std::uint8_t>& flags);

struct ModalityInfo {
  std::string name;          // "text"
  std::int64_t width = 0;    // columns
  std::int64_t present = 0;  // items that have it
};

struct DomainInfo {
  std::string name;
  std::int64_t users = 0;
  std::int64_t items = 0;
  std::int64_t interactions[4] = {0, 0, 0, 0};  // by Split
  std::vector<ModalityInfo> modalities;
  bool has_timestamps = false;
};

/// A data set that another extends: its users and items are the first of each domain there, its
/// people the first there, all with the numbers that they had.
struct ExtendedDataset {
  std::string fingerprint;
  std::vector<std::int64_t> users;  // (domains) how many it had
  std::vector<std::int64_t> items;  // (domains)
  std::int64_t people = 0;

  bool operator==(const ExtendedDataset&) const = default;
};

/// How a data set was made.
struct DatasetOrigin {
  std::string provenance;  // the command line that made it, for people
  // How the interactions were split, held out and filtered, as prepare's flags of these names take
  // it; empty: not at all.
  std::string split_rule;
  std::string hold_out;
  std::string core;
  std::int64_t seed = 0;
  std::vector<ExtendedDataset> extends;  // the data sets that this one extends, the oldest first
};

struct Additions;

/// A prepared data set, opened for reading; the format is described in data/dataset_format.h.
///
/// Errors   Error(Cause::io) where the file cannot be read, Error(Cause::data) where it is not a
///          dataset, is of a version this program does not read, or is damaged.
class DatasetFile {
 public:
  static DatasetFile open(const std::string& path);
  /// A data set and what came after it was made (data/additions.h), in memory, as if that had been
  /// held out: new users and items are new, or cold where nobody has met them; interactions are in
  /// Split::later; all else stays as in the file. It extends the file and has a fingerprint of
  /// its own. Memory: what was added, and the interactions in Split::later.
  static DatasetFile with(DatasetFile dataset, Additions additions);
  ~DatasetFile();
  DatasetFile(DatasetFile&&) noexcept;
  DatasetFile& operator=(DatasetFile&&) noexcept;

  const std::string& path() const;
  /// Hexadecimal digest of the contents that matter to a model; equal files have equal ones.
  const std::string& fingerprint() const;
  const DatasetOrigin& origin() const;
  const std::vector<DomainInfo>& domains() const;
  std::vector<std::string> domain_names() const;
  int domain_number(const std::string& name) const;  ///< Error(usage) names the known domains

  Interactions read(int domain, Split split) const;
  /// The same in pieces of at most `most` interactions, in order, so that memory stays bounded.
  void for_each_chunk(int domain, Split split, const std::function<void(const Interactions&)>& use,
                      std::int64_t most = std::int64_t{1} << 20) const;
  /// Calls use(user, item) with each, in order.
  template <typename Use>
  void for_each_interaction(int domain, Split split, const Use& use) const {
    for_each_chunk(domain, split, [&](const Interactions& chunk) {
      for (std::size_t n = 0; n < chunk.user.size(); ++n) use(chunk.user[n], chunk.item[n]);
    });
  }

  /// Times of the interactions of a split, in their order; empty where the domain has none.
  std::vector<std::int64_t> timestamps(int domain, Split split) const;

  std::vector<std::string> user_keys(int domain) const;
  std::vector<std::string> item_keys(int domain) const;

  /// Person of every user of a domain: (users) int32 in [0, people()). People are the distinct user
  /// keys of all domains.
  std::int64_t people() const;
  std::vector<std::string> person_keys() const;
  std::vector<std::int32_t> person_of_user(int domain) const;

  /// Held-out nodes: 1 where the user (item) is new, that is unknown in training; cold items have
  /// features only.
  std::vector<std::uint8_t> new_users(int domain) const;   // (users)
  std::vector<std::uint8_t> new_items(int domain) const;   // (items); cold ones are not among them
  std::vector<std::uint8_t> cold_items(int domain) const;  // (items)
  bool has_hold_outs() const;

  /// Rows [begin, end) of a modality's features, row by row; absent rows are zero. out: ((end -
  /// begin) * width) float32.
  void read_features(int domain, const std::string& modality, std::int64_t begin, std::int64_t end,
                     float* out) const;
  // (items)
  std::vector<std::uint8_t> features_present(int domain, const std::string& modality) const;

  /// Reads everything of the file and compares it with the fingerprint. Errors: Error(data) where
  /// they differ or a number is not finite.
  void verify() const;

 private:
  struct State;
  explicit DatasetFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace micrec
