#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "data/raw_domain.h"
#include "io/tables/interactions_reader.h"

namespace micrec {

/// A domain and the file of its interactions, or, for --split=files, those of training,
/// (validation) and test.
struct DomainFiles {
  std::string name;
  std::vector<std::string> paths;  // 1; with `is_split` 2 (train, test) or 3 (train, valid, test)
  bool is_split = false;
};

/// "food=food.csv.gz"; with `is_split` "checkins=train.txt,test.txt" or
/// "checkins=train.txt,valid.txt,test.txt". Double quotes around a path, as one with commas needs
/// them in a split, are not part of it; a quote in it is then written twice.
///
/// Errors   Error(usage), also where a file has no name.
DomainFiles parse_domain_files(const std::string& argument, bool is_split);

/// The files of every domain, an argument or a part of a list each. Errors: those of
/// parse_domain_files(); Error(usage) where a domain comes twice.
std::vector<DomainFiles> parse_domains(const std::vector<std::string>& arguments, bool is_split);

/// Reads a domain's files one after the other, each by several threads. Says on `report` what each
/// was taken for.
///
/// Errors   Those of for_each_interaction() and TimeCensus; Error(data) where one file has dates
///          and another positions; Error(io) where a file is missing, and says that several of them
///          need --split=files.
/// Cost     As many bits an interaction as the numbers of its user, item and time have
///          (PackedColumn), and the bytes of the distinct keys.
RawDomain read_domain(const DomainFiles& files, const InteractionsOptions& options,
                      std::ostream& report);

}  // namespace micrec
