#include "graph/linear_operator.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/AutogradState.h>
#include <glog/logging.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <memory>
#include <string>

namespace micrec {
namespace {

class LinearNode : public torch::autograd::Node {
 public:
  LinearNode(const char* name, const std::vector<at::Tensor>& results) : name_(name) {
    for (const at::Tensor& y : results) results_.push_back({y.sizes().vec(), y.options()});
  }

  void add_input(JointInput& input) {
    add_next_edge(torch::autograd::impl::gradient_edge(input.x));
    transposes_.push_back(std::move(input.transpose));
  }

  std::string name() const override { return name_; }

  void release_variables() override {
    for (auto& transpose : transposes_) transpose = nullptr;
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    CHECK(!at::GradMode::is_enabled()) << name_ << " has no gradient of its gradient";
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      at::Tensor& gradient = gradients[i];
      gradient = gradient.defined() ? gradient.contiguous()
                                    : at::zeros(results_[i].shape, results_[i].options);
    }
    torch::autograd::variable_list results(transposes_.size());
    for (std::size_t i = 0; i < transposes_.size(); ++i) {
      if (!task_should_compute_output(i)) continue;
      CHECK(transposes_[i]) << "backward through " << name_ << " a second time; its graph is gone";
      results[i] = transposes_[i](gradients);
    }
    return results;
  }

 private:
  struct Result {
    std::vector<std::int64_t> shape;
    at::TensorOptions options;
  };
  const char* name_;
  std::vector<Result> results_;
  std::vector<std::function<at::Tensor(const std::vector<at::Tensor>&)>> transposes_;
};

// While it lives, autograd's nodes of every device run on this thread.
class OneThread {
 public:
  OneThread() : before_(state().get_multithreading_enabled()) {
    state().set_multithreading_enabled(false);
  }
  ~OneThread() { state().set_multithreading_enabled(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  static c10::AutogradState& state() { return c10::AutogradState::get_tls_state(); }
  bool before_;
};

}  // namespace

void run_backward(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& gradients) {
  const OneThread one_thread;
  torch::autograd::backward(roots, gradients);
}

std::vector<at::Tensor> with_joint_transposes(const char* name, std::vector<at::Tensor> results,
                                              std::vector<JointInput> inputs) {
  bool differentiable = false;
  for (const JointInput& input : inputs) differentiable |= input.x.requires_grad();
  if (!differentiable || !at::GradMode::is_enabled()) return results;
  const std::shared_ptr<LinearNode> node(new LinearNode(name, results),
                                         torch::autograd::deleteNode);
  for (JointInput& input : inputs) node->add_input(input);
  for (at::Tensor& y : results) torch::autograd::set_history(y, node);
  return results;
}

at::Tensor with_transposes(const char* name, at::Tensor y, std::vector<LinearInput> inputs) {
  std::vector<JointInput> joint;
  for (LinearInput& input : inputs) {
    joint.push_back({std::move(input.x), [transpose = std::move(input.transpose)](
                                             const std::vector<at::Tensor>& gradients) {
                       return transpose(gradients.front());
                     }});
  }
  return with_joint_transposes(name, {std::move(y)}, std::move(joint)).front();
}

}  // namespace micrec
