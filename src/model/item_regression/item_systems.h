#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "kernels/cholesky.h"
#include "kernels/item_systems_block.h"
#include "model/item_regression/item_hubs.h"

namespace micrec {

/// What decides the coefficients of a domain's items (docs/model.md, "Item regression").
struct ItemRegressionSettings {
  double lambda = 60;         ///< ridge
  double cross = 0.6;         ///< weight of the other domains' interactions; 0 leaves them out
  std::vector<double> alpha;  ///< [modality] weight of its features
};

/// lambda and the squares of the alphas, as systems have them. Errors: CHECK: an alpha for each
/// modality.
std::vector<float> solver_numbers(const ItemRegressionSettings& settings, std::size_t modalities);

/// What the system of one item is made of.
struct ItemSystem {
  std::vector<std::int32_t> hub;  // [neighbour] its number among the hubs, -1: it is none
  std::vector<std::span<const std::int32_t>> columns;  // [neighbour] who met it, as
                                                       // ItemHubs::place_of(); nobody where it is
                                                       // not ItemHubs::is_walked()
  std::vector<double> squared_length;   // [neighbour] of its column, in TrainingHistories::kUnit
  std::vector<float> together;          // [neighbour] product of its column with the item's
  std::vector<float> cross;             // [neighbour] 1, or the weight of other domains
  std::vector<std::int32_t> rows;       // [neighbour] its row of `features`
  const float* features = nullptr;      // (rows, width), null: there are none
  const float* own_features = nullptr;  // (width)
  std::uint32_t held = 0;               // a bit for each modality that the item has
};

/// The systems of up to 16 items, side by side: made once, solved for any settings.
///
///   (G + kDenoising diag(G) + lambda I) b = X_N'x_i + F_N f_i,   G = X_N'X_N + F_N F_N'
///
/// over the people's columns X and alpha times the features F, both times `cross` where a neighbour
/// is of another domain. What the item lacks is in neither F: nothing is known of its f_i there,
/// and a zero would say that the item is like no other. Only neighbours with a positive right side
/// stay; others have b = 0.
class ItemSystems {
 public:
  static constexpr std::int64_t kMostNeighbours = kMostUnknowns;

  /// `modality_columns`: of the feature rows. Both outlive this.
  ItemSystems(const ItemHubs& hubs, const std::vector<Range>& modality_columns);

  /// Shapes   items: at most kSystemLanes, each with at most kMostNeighbours neighbours.
  /// Cost     for each item the people of those neighbours that are no hubs, for each of them the
  ///          square of how many of the neighbours they met, and the hubs that all of them met or,
  ///          if that is less, the people of the neighbours that are hubs; neighbours^2 x width / 2
  ///          for the features.
  void make(const std::vector<ItemSystem>& items);

  /// Puts what make() takes of one item but for its features where a GPU goes on with it
  /// (DeviceItemSystems), as the i-th of those that have their place there. Makes nothing else.
  void pack(const ItemSystem& item, std::int64_t i, const PackedSystems& to);

  /// Cost     neighbours^3 / 6 multiply-adds an item.
  void solve(const ItemRegressionSettings& settings);
  /// Of the last solve().
  float coefficient(std::int64_t item, std::int64_t neighbour) const {
    return right_[neighbour * kSystemLanes + item];
  }

 private:
  /// Where element e of a lower triangle is put: at e * stride.
  struct Triangle {
    float* numbers;
    std::int64_t stride;
  };
  void choose_way(const ItemSystem& item);
  void meet(const ItemSystem& item);
  std::int32_t person_at(std::int32_t place) const;
  std::size_t find_met_hubs(const ItemSystem& item);
  std::size_t walk_hubs(const ItemSystem& item);
  void write_column_products(const ItemSystem& item, const Triangle& to);
  void look_up_hub_products(const ItemSystem& item, const Triangle& to);
  void add_feature_products(const ItemSystem& item, int lane);

  const ItemHubs& hubs_;
  const std::vector<Range>& modality_columns_;

  std::int64_t n_ = 0;                           // neighbours of the largest, padded
  std::vector<float> together_;                  // (n (n + 1) / 2, 16) products of columns
  std::vector<float> right_together_;            // (n, 16) products with the item's own
  std::vector<float> cross_;                     // (n, 16) 0 where there is no neighbour
  std::vector<std::vector<float>> alike_;        // [modality] as together_, of features
  std::vector<std::vector<float>> right_alike_;  // [modality] as right_together_

  // Work space: of make() ...
  struct Person {
    std::int32_t place;    // as ItemHubs::place_of()
    std::uint64_t met[2];  // a bit for each neighbour that is no hub
  };
  std::vector<Person> people_;         // who met such a neighbour
  std::vector<std::int32_t> several_;  // which of people_ met more than one
  struct Slot {
    std::int32_t place;   // of a person, -1: free
    std::int32_t person;  // in people_
  };
  std::vector<Slot> slots_;            // where to find whom, by a hash of the place
  std::vector<std::uint64_t> filter_;  // a bit for each value of a longer hash that somebody has
  int bits_ = 0;                       // of the hash
  bool walks_hubs_ = false;
  struct MetHub {
    std::int32_t person;     // in people_
    std::int32_t neighbour;  // a hub
  };
  std::vector<MetHub> met_hubs_;
  struct HubPair {
    std::int32_t a, b;
    std::int64_t to;  // in the triangle
    std::int64_t at;  // as ItemHubs::word_of(), then as place_of_product()
  };
  std::vector<HubPair> hub_pairs_;
  std::vector<std::uint8_t> after_hub_;  // (hubs) 1 + which neighbour it is, 0: it is none
  std::vector<double> products_;         // (kMostNeighbours, kMostNeighbours) in units
  // ... and of solve().
  std::vector<float> keep_;    // (n, 16) cross_, or 0 where the neighbour does not stay
  std::vector<float> matrix_;  // (n (n + 1) / 2, 16)
  std::vector<float> right_;   // (n, 16)
};

}  // namespace micrec
