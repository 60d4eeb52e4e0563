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
  LinearNode(const char* name, const at::Tensor& y)
      : name_(name), shape_(y.sizes().vec()), options_(y.options()) {}

  void add_input(LinearInput& input) {
    add_next_edge(torch::autograd::impl::gradient_edge(input.x));
    transposes_.push_back(std::move(input.transpose));
  }

  std::string name() const override { return name_; }

  void release_variables() override {
    for (auto& transpose : transposes_) transpose = nullptr;
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    CHECK(!at::GradMode::is_enabled()) << name_ << " has no gradient of its gradient";
    const at::Tensor gradient =
        gradients[0].defined() ? gradients[0].contiguous() : at::zeros(shape_, options_);
    torch::autograd::variable_list results(transposes_.size());
    for (std::size_t i = 0; i < transposes_.size(); ++i) {
      if (!task_should_compute_output(i)) continue;
      CHECK(transposes_[i]) << "backward through " << name_ << " a second time; its graph is gone";
      results[i] = transposes_[i](gradient);
    }
    return results;
  }

 private:
  const char* name_;
  std::vector<std::int64_t> shape_;
  at::TensorOptions options_;
  std::vector<std::function<at::Tensor(const at::Tensor&)>> transposes_;
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

at::Tensor with_transposes(const char* name, at::Tensor y, std::vector<LinearInput> inputs) {
  bool differentiable = false;
  for (const LinearInput& input : inputs) differentiable |= input.x.requires_grad();
  if (!differentiable || !at::GradMode::is_enabled()) return y;
  const std::shared_ptr<LinearNode> node(new LinearNode(name, y), torch::autograd::deleteNode);
  for (LinearInput& input : inputs) node->add_input(input);
  torch::autograd::set_history(y, node);
  return y;
}

}  // namespace micrec
