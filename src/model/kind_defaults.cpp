#include "model/kind_defaults.h"

#include "base/error.h"
#include "base/text.h"

namespace micrec {

std::optional<std::int64_t> epochs_of_solved(ModelKind kind) {
  constexpr std::int64_t kEpochsOfIals = 8;
  if (kind == ModelKind::ials) return kEpochsOfIals;
  if (kind == ModelKind::popularity || kind == ModelKind::item_regression) return 1;
  return std::nullopt;
}

void agree_on_item_regression(ModelConfig& model, bool is_kind_given, bool is_use_given) {
  using Use = ItemRegressionUse;
  const bool is_alone = model.kind == ModelKind::item_regression;
  if (!is_use_given) {
    if (is_alone) model.item_regression = Use::alone;
    if (!is_alone && model.kind != ModelKind::micrec) model.item_regression = Use::off;
    return;
  }
  if (model.item_regression == Use::automatic && is_alone) model.item_regression = Use::alone;
  if (model.item_regression == Use::alone && !is_kind_given) {
    model.kind = ModelKind::item_regression;
  }
  if ((model.item_regression == Use::alone) == (model.kind == ModelKind::item_regression)) return;
  throw Error(Cause::usage,
              text("--model=", name_of(model.kind),
                   " and --item_regression=", model.item_regression == Use::alone ? "alone" : "off",
                   " do not go together: for item regression alone give --model=item_regression "
                   "and nothing else, for another model beside it --item_regression=auto"));
}

}  // namespace micrec
