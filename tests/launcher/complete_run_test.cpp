#include "launcher/complete_run.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "tests/support/expect_error.h"

namespace micrec {
namespace {

using Use = ItemRegressionUse;

ModelConfig agreed(ModelKind kind, Use use, bool is_kind_given, bool is_use_given) {
  ModelConfig model;
  model.kind = kind;
  model.item_regression = use;
  Arguments arguments;
  if (is_kind_given) arguments.given.insert("model");
  if (is_use_given) arguments.given.insert("item_regression");
  complete_item_regression(model, arguments);
  return model;
}

TEST(ItemRegressionOfAModel, IsWhatItsKindSaysWhereItIsNotAskedFor) {
  EXPECT_EQ(agreed(ModelKind::micrec, Use::automatic, true, false).item_regression, Use::automatic);
  EXPECT_EQ(agreed(ModelKind::mf, Use::automatic, true, false).item_regression, Use::off);
  EXPECT_EQ(agreed(ModelKind::item_regression, Use::automatic, true, false).item_regression,
            Use::alone);
}

TEST(ItemRegressionOfAModel, IsAKindWhereItIsAskedForAlone) {
  EXPECT_EQ(agreed(ModelKind::micrec, Use::alone, false, true).kind, ModelKind::item_regression);
  EXPECT_EQ(agreed(ModelKind::mf, Use::automatic, true, true).item_regression, Use::automatic);
  EXPECT_EQ(agreed(ModelKind::item_regression, Use::automatic, true, true).item_regression,
            Use::alone);
}

TEST(ItemRegressionOfAModel, IsRefusedWhereTheKindSaysOtherwise) {
  for (const auto& [kind, use] :
       {std::pair{ModelKind::mf, Use::alone}, std::pair{ModelKind::item_regression, Use::off}}) {
    expect_error(Cause::usage, {name_of(kind)},
                 [kind = kind, use = use] { agreed(kind, use, true, true); });
  }
}

TEST(EpochsOfSolved, AreFewAndOfNoOtherKind) {
  EXPECT_EQ(epochs_of_solved(ModelKind::ials), 8);
  EXPECT_EQ(epochs_of_solved(ModelKind::popularity), 1);
  EXPECT_EQ(epochs_of_solved(ModelKind::item_regression), 1);
  for (const ModelKind kind : {ModelKind::mf, ModelKind::lightgcn, ModelKind::micrec}) {
    EXPECT_FALSE(epochs_of_solved(kind)) << name_of(kind);
  }
}

}  // namespace
}  // namespace micrec
