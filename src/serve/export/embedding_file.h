#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>

#include "cluster/communicator.h"
#include "data/dataset_file.h"
#include "evaluate/evaluator.h"
#include "io/hdf5.h"
#include "kernels/score_mix.h"
#include "partition/node_space.h"
#include "partition/ownership.h"

/// The file of exported embeddings, versions 1 and 2. HDF5; everything can be read with h5ls and
/// h5py, without this program. Items are recommended by falling score. The score of a user and an
/// item of the same domain is the dot product of their rows; where there is item regression, it is
///
///   embeddings * (dot product) + regression * (sum of the item's coefficients over all items that
///   the user's person interacted with, in any domain: in `train` and `later` of the dataset file)
///
///   /                              attributes
///     format               text    "micrec embeddings"
///     format_version       int64   1; 2 where there is /item_regression/history
///     model                text    "micrec", "lightgcn", ...
///     checkpoint           text    name of the checkpoint they were computed from
///     dataset_fingerprint  text    of the dataset file they were computed on
///     dim                  int64   columns of every embedding
///
///   /domains/<name>/users and /domains/<name>/items
///     key        (n)       text     as in the dataset file, in the same order
///     embedding  (n, dim)  float32
///
/// With item regression there is besides (no such group means that the dot product is the score)
///
///   /item_regression               how the items of all domains are numbered together
///     domain     (domains)      text    names of the domains, in this order
///     offset     (domains + 1)  int64   item i of domain d has the number offset[d] + i
///
///   /domains/<name>/item_regression    a matrix by rows as scipy.sparse.csr_matrix takes it: a row
///                                      for each item of the domain that is scored, a column for
///                                      each item of all domains that somebody interacted with
///     embeddings   int64    attribute: 1 where the dot product is part of the score, else 0
///     regression   float64  attribute: the factor of the sum of coefficients
///     data         (coefficients)  float32
///     indices      (coefficients)  int32   columns, rising in each row
///     indptr       (items + 1)     int64   where each row begins
///     shape        (2)             int64   items of the domain, items of all domains
///
/// and, with recency, where what somebody did counts the less the more came after it: a coefficient
/// times 2^-min(newer / half_life, 30), rounded to float32 (half_life 0: times 1)
///
///   /domains/<name>/item_regression, attribute half_life: float64, of scores in that domain
///   /item_regression/history       what people interacted with, a matrix by rows as above: a row
///                                  for each person, a column for each item of all domains
///     person       (people)        text    keys
///     newer        (interactions)  int32   how many interactions of the person in the domain of
///                                          the item are later
///     indices      (interactions)  int32
///     indptr       (people + 1)    int64
namespace micrec {

inline constexpr char kEmbeddingsFormat[] = "micrec embeddings";
inline constexpr std::int64_t kEmbeddingsVersion = 2;
inline constexpr std::int64_t kEmbeddingsWithoutRecency = 1;

/// Where embeddings come from, for the file's attributes.
struct EmbeddingOrigin {
  std::string model;
  std::string checkpoint;
};

/// Writes what scores are made from, of all nodes; the file appears under its name only when it is
/// complete. Item regression is written where there are coefficients.
///
/// Shapes   terms: as for Evaluator; mixes: (domains), or none without coefficients.
/// Ranks    collective; rank 0 receives the rows in pieces of `block_bytes` and writes.
/// Errors   Error(Cause::io) on rank 0 where the file cannot be written.
void export_embeddings(const DatasetFile& dataset, const NodeSpace& space,
                       const Ownership& ownership, const ScoreTerms& terms,
                       std::span<const ScoreMix> mixes, const EmbeddingOrigin& origin,
                       const std::string& path, Communicator& communicator,
                       std::int64_t block_bytes = std::int64_t{64} << 20);

/// Tells of such a file where it comes from, how many rows it has and how terms are mixed.
///
/// Errors   Error(Cause::data) where a domain is not as above; what was told until then stands.
void describe_embeddings(const std::string& path, std::ostream& out);

}  // namespace micrec
