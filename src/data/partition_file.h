#pragma once

#include <string>

#include "data/dataset_file.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

namespace micrec {

// A partition file says which part every user and item of a data set is in, so that an assignment
// can be made once, or by another program: --partition=file:PATH reads it, micrec plan
// --write_partition=PATH writes it. It is CSV in UTF-8, plain or gzip, with this header, in any
// order of the columns, and a line a node in any order:
//
//     domain,kind,key,part
//     food,user,A1GQ0ZMD1S,0
//     food,item,B000CQBZPG,3
//
//   domain  name of the domain
//   kind    user or item
//   key     as in the raw file and in /domains/<name>/{users,items}/key of the data set
//   part    from 0; as many parts as the process grid has row parts
//
// Every user and item of every domain has exactly one line, and a person's users in several domains
// are in one part. In Python, for owners in the order of the data set file:
//
//     data = h5py.File("fk.h5")
//     with open("parts.csv", "w", newline="") as file:
//         out = csv.writer(file)
//         out.writerow(["domain", "kind", "key", "part"])
//         for domain in data["domains"]:
//             for kind in "user", "item":
//                 keys = data[f"domains/{domain}/{kind}s/key"].asstr()[:]
//                 for key, part in zip(keys, parts[domain, kind]):
//                     out.writerow([domain, kind, key, part])

/// Reads and checks an assignment to `parts` parts.
///
/// Errors   Error(Cause::data) with file and line: another header, a part that is no number from 0
///          to parts - 1, an unknown domain, kind or key, a node twice; and with the file: a node
///          that is missing, a person in two parts, fewer parts than asked for. Error(Cause::io)
///          where it cannot be read.
/// Cost     one pass; the keys of the data set in memory.
Ownership read_partition_file(const std::string& path, const DatasetFile& dataset,
                              const NodeSpace& space, const People& people, int parts);

/// How many parts a partition file has: one more than the largest part in it.
/// Errors   those of the header and of parts that are no numbers from 0, as above.
int count_parts(const std::string& path);

/// Writes what read_partition_file() reads. Errors: Error(Cause::io).
void write_partition_file(const std::string& path, const DatasetFile& dataset,
                          const NodeSpace& space, const Ownership& ownership);

}  // namespace micrec
