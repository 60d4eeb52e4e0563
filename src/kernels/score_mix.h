#pragma once

namespace micrec {

/// How the two terms of a domain's score are weighed: the product of embeddings and the sum of item
/// coefficients over a person's history (docs/model.md, "Item regression").
struct ScoreMix {
  bool embeddings = true;  ///< false: the sum of coefficients alone is the score
  float regression = 0;    ///< factor of that sum beside the product of embeddings

  /// The paper's score: the product of embeddings alone.
  bool is_product_alone() const { return embeddings && regression == 0; }
};

}  // namespace micrec
