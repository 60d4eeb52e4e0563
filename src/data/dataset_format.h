#pragma once

#include <cstdint>
#include <string>

#include "data/dataset_file.h"

/// The dataset file, versions 1 to 3. HDF5; everything can be read with h5ls, h5py or pandas,
/// without this program.
///
/// Numbers of users and items are rows: user 17 of a domain is row 17 of its `users` group. Keys
/// are sorted, so a number does not depend on the order of the raw file: keys that are plain
/// decimal numbers (no sign, no leading zero) come first, by value; all others follow by their
/// bytes. Each key is UTF-8 and unique in its list.
///
/// The lists of users, items and people of a file that extends another (prepare --append) begin
/// with those of that file, in their order, so that numbers stay; those that came follow. Keys are
/// then sorted within each of these parts only.
///
///   /                              attributes
///     format          text         "micrec dataset"
///     format_version  int64        3; of older files 1, or 2 where there is /extends
///     fingerprint     text         32 hexadecimal digits, see below
///     provenance      text         the command line that made the file
///     domains         text         names in the order of their numbers, with commas between
///     split           text         the rule, as --split takes it: "ratio:8:1:1"; of a file that
///                                  extends another, of what was added last
///     hold_out        text         the hold-outs, as --hold_out takes them; empty: none
///     core            text         the k-core filter, as --core takes it; empty: none
///     seed            int64        of the split and the hold-outs
///
///   /domains/<name>                one group a domain; attributes users, items: int64, how many
///     users/key     (users)  text
///     users/new     (users)  uint8   1: held out, unknown in training
///     items/key     (items)  text
///     items/new     (items)  uint8   1: held out, unknown in training
///     items/cold    (items)  uint8   1: no interaction but for testing; features only
///     train/  valid/  test/  later/  one group a split; a (user, item) pair is in one of them
///       user        (n)      int32   sorted by (user, item)
///       item        (n)      int32
///       timestamp   (n)      int64   seconds since 1970, or positions as in the raw file; rounded
///                                    down, the earliest of a repeated pair; absent where the raw
///                                    file had none. The split used what was rounded off.
///     features/<modality>/           attribute present: int64, items that have the modality
///       value       (items, width) float32   zeros where absent; finite
///       present     (items)  uint8   1: the item has it
///
///   /people/key        (people)  text   the distinct user keys of all domains, in key order
///   /people/<domain>   (people)  int32  the person's user number in that domain, or -1
///
///   /extends                       from version 2, or absent: the files that this one extends, the
///                                  oldest first, so that what was trained on one is recognised
///     fingerprint (files)   text
///     users       (files, domains)  int64   how many it had: they are the first here
///     items       (files, domains)  int64
///     people      (files)   int64
///
/// `train` is what a model may see in training. `later` is what held-out users and items did
/// meanwhile: interactions that are let in at inference, without training. Interactions of a new
/// user or item in `valid` and `test` stay there; all interactions of a cold item are in `test`.
///
/// A name of a domain or modality is made of letters, digits, '_', '-' and '.'; a domain is not
/// named "key".
///
/// The fingerprint is XXH3 (128 bits) over what matters to a model, so neither the provenance nor
/// HDF5's own bytes: for each domain its name, users, items, the keys of users and of items,
/// users/new, items/new, items/cold; for train, valid, test, later: n, the users, the items and,
/// from version 3 and where there are any, the timestamps; the number of modalities and for each by
/// name: its name, width, present, value. Texts are their length and their bytes, lengths and
/// counts int64; numbers are little-endian.
///
/// A reader accepts every version up to its own. A version changes when a reader of the old one
/// would misread the file; unknown additional groups and attributes are ignored.
namespace micrec::dataset_format {

inline constexpr char kFormat[] = "micrec dataset";
inline constexpr std::int64_t kVersion = 3;
inline constexpr std::int64_t kVersionOfTimesInFingerprint = 3;
inline constexpr Split kSplits[] = {Split::train, Split::valid, Split::test, Split::later};

inline std::string domain_path(const std::string& domain) { return "/domains/" + domain; }
inline std::string users_path(const std::string& domain) { return domain_path(domain) + "/users"; }
inline std::string items_path(const std::string& domain) { return domain_path(domain) + "/items"; }
inline std::string split_path(const std::string& domain, Split split) {
  return domain_path(domain) + "/" + name_of(split);
}
inline std::string features_path(const std::string& domain) {
  return domain_path(domain) + "/features";
}
inline std::string modality_path(const std::string& domain, const std::string& modality) {
  return features_path(domain) + "/" + modality;
}
inline std::string person_path(const std::string& domain) { return "/people/" + domain; }
inline constexpr char kPeopleKeys[] = "/people/key";
inline constexpr char kExtends[] = "/extends";

/// Whether a domain or modality may be named so.
bool is_valid_name(const std::string& name);

}  // namespace micrec::dataset_format
