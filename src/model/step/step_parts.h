#pragma once

namespace micrec {

/// What a step of training is made of, in this order.
enum class StepPart : int {
  planning,   ///< the batch is drawn, who needs which rows is found out and told
  forward,    ///< the loss
  backward,   ///< its gradients, summed over ranks
  optimizer,  ///< a step of Adam
};
inline constexpr int kStepParts = 4;

/// The word for a part in logs and profiles.
constexpr const char* name_of(StepPart part) {
  constexpr const char* kNames[kStepParts] = {"planning", "forward", "backward", "optimizer"};
  return kNames[static_cast<int>(part)];
}

/// Is told where a step is.
class StepParts {
 public:
  virtual ~StepParts() = default;
  /// The part that was going on ends and this one begins.
  virtual void begin(StepPart part) = 0;
};

}  // namespace micrec
