#include "played_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/Functions.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <glog/logging.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cluster/exchange.h"
#include "emulated_block.h"
#include "emulated_warp.h"
#include "kernels/gpu.h"

namespace micrec {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr std::uintptr_t kElsewhere = std::uintptr_t{1} << 62;

// Of all threads.
struct Counts {
  std::mutex mutex;
  DeviceWork work;
};

Counts& counts() {
  static Counts one;
  return one;
}

void count_launch(const std::string& name) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++counts().work.launches;
  ++counts().work.by_operator[name];
}

void count_copy(std::int64_t DeviceWork::*which, bool waits) {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  ++(counts().work.*which);
  counts().work.waits += waits;
}

// Those after which CUDA's operators wait: how large the result is only the device knows.
bool has_size_of_its_own(const std::string& name) {
  return name == "aten::nonzero" || name == "aten::masked_select" || name == "aten::equal" ||
         name == "aten::_unique2" || name == "aten::unique_dim";
}

void* elsewhere(void* address) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) | kElsewhere);
}

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const own = std::malloc(bytes + 1);
    return {elsewhere(own), own, &std::free, played_device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(on_host(to), on_host(from), bytes);
  }
};

Memory& memory() {
  static Memory one;
  return one;
}

bool is_here(const at::Tensor& tensor) { return tensor.device().type() == kType; }

// A tensor of the CPU over the same memory.
at::Tensor host_view(const at::Tensor& tensor) {
  const auto bytes = static_cast<std::int64_t>(tensor.storage().nbytes());
  void* const begin = on_host(tensor.storage().mutable_data());
  const auto elements = bytes / static_cast<std::int64_t>(tensor.element_size());
  const at::Tensor all = at::from_blob(begin, {elements}, tensor.scalar_type());
  return all.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout> /*layout*/, std::optional<at::Device> /*device*/,
                 std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  CHECK(!pin.value_or(false));
  return at::detail::empty_generic(size, &memory(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                         std::optional<at::ScalarType> dtype, std::optional<at::Layout> /*layout*/,
                         std::optional<at::Device> /*device*/, std::optional<bool> /*pin*/) {
  return at::detail::empty_strided_generic(size, stride, &memory(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

at::Tensor moved_here(const at::Tensor& host) {
  at::Tensor moved = at::detail::empty_strided_generic(
      host.sizes(), host.strides(), &memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      host.scalar_type());
  host_view(moved).copy_(host);
  return moved;
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& from, bool non_blocking) {
  if (is_here(self) && is_here(from)) count_launch("aten::copy_");
  if (is_here(self) && !is_here(from)) count_copy(&DeviceWork::uploads, !non_blocking);
  if (!is_here(self) && is_here(from)) count_copy(&DeviceWork::downloads, !non_blocking);
  at::Tensor to = is_here(self) ? host_view(self) : self;
  to.copy_(is_here(from) ? host_view(from) : from);
  return self;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  at::Tensor target = to;
  return copy(target, from, non_blocking);
}

at::Scalar local_scalar(const at::Tensor& self) {
  count_copy(&DeviceWork::downloads, /*waits=*/true);
  return host_view(self).item();
}

// Every other operator: the CPU's on the same memory.
void by_the_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  count_launch(schema.name());
  if (has_size_of_its_own(schema.name())) {
    const std::lock_guard<std::mutex> lock(counts().mutex);
    ++counts().work.waits;
  }
  const std::size_t count = schema.arguments().size();
  const std::size_t first = stack->size() - count;
  std::vector<c10::IValue> given(stack->begin() + static_cast<std::ptrdiff_t>(first), stack->end());
  const auto moved = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    TORCH_CHECK(is_here(tensor) || tensor.dim() == 0,
                "Expected all tensors to be on the same device, but ", schema.name(),
                " got one on ", tensor.device());
    return is_here(tensor) ? host_view(tensor) : tensor;
  };
  std::vector<std::pair<at::Tensor, at::Tensor>> resizable;  // of the host, of the device
  for (std::size_t i = 0; i < count; ++i) {
    c10::IValue& argument = (*stack)[first + i];
    const auto* const alias = schema.arguments()[i].alias_info();
    if (argument.isTensor() && alias != nullptr && alias->isWrite() &&
        argument.toTensor().numel() == 0) {
      resizable.emplace_back(
          at::empty(argument.toTensor().sizes(), argument.toTensor().scalar_type()),
          argument.toTensor());
      argument = resizable.back().first;
    } else if (argument.isTensor()) {
      argument = moved(argument.toTensor());
    } else if (argument.isTensorList()) {
      std::vector<at::Tensor> tensors;
      for (const at::Tensor& tensor : argument.toTensorVector()) tensors.push_back(moved(tensor));
      argument = c10::IValue(tensors);
    } else if (argument.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> tensors;
      for (const std::optional<at::Tensor>& tensor : argument.toOptionalTensorVector()) {
        tensors.push_back(tensor ? std::optional(moved(*tensor)) : tensor);
      }
      argument = c10::IValue(tensors);
    } else if (argument.isDevice()) {
      argument = c10::Device(c10::kCPU);
    }
  }
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (const auto& [host, here] : resizable) {
    const at::Tensor made = moved_here(host);
    here.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
    here.unsafeGetTensorImpl()->set_sizes_and_strides(made.sizes(), made.strides());
  }
  // A result that is an argument is that argument; any other is new.
  const std::size_t results = schema.returns().size();
  for (std::size_t r = 0; r < results; ++r) {
    c10::IValue& result = (*stack)[stack->size() - results + r];
    const auto* const alias = schema.returns()[r].alias_info();
    if (alias != nullptr && alias->isWrite()) {
      for (std::size_t i = 0; i < count; ++i) {
        const auto* const of_argument = schema.arguments()[i].alias_info();
        if (of_argument != nullptr && *of_argument == *alias) result = given[i];
      }
    } else if (result.isTensor() && result.toTensor().defined()) {
      result = moved_here(result.toTensor());
    } else if (result.isTensorList()) {
      std::vector<at::Tensor> tensors;
      for (const at::Tensor& tensor : result.toTensorVector())
        tensors.push_back(moved_here(tensor));
      result = c10::IValue(tensors);
    }
  }
}

class PlayedCommunicator final : public Communicator {
 public:
  explicit PlayedCommunicator(Communicator& host) : host_(&host) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  int rank_in_run(int rank) const override { return host_->rank_in_run(rank); }
  int ranks_in_run() const override { return host_->ranks_in_run(); }
  std::unique_ptr<Communicator> split(const char* name, int color) override {
    std::unique_ptr<Communicator> part = host_->split(name, color);
    auto result = std::make_unique<PlayedCommunicator>(*part);
    result->own_host_ = std::move(part);
    return result;
  }
  void barrier(const char* name) override { host_->barrier(name); }
  at::Tensor all_gather(const char* name, const at::Tensor& local,
                        const std::vector<std::int64_t>& rows) override {
    return back(local, host_->all_gather(name, there(local), rows));
  }
  at::Tensor all_to_all(const char* name, const at::Tensor& send,
                        const std::vector<std::int64_t>& send_rows,
                        const std::vector<std::int64_t>& receive_rows) override {
    return back(send, host_->all_to_all(name, there(send), send_rows, receive_rows));
  }
  // Has it done when it returns.
  std::unique_ptr<PendingTensor> start_all_to_all_into(
      const char* name, const at::Tensor& send, const std::vector<std::int64_t>& send_rows,
      const std::vector<std::int64_t>& receive_rows, const at::Tensor& into,
      const std::vector<std::int64_t>& first_rows) override {
    host_
        ->start_all_to_all_into(name, there(send), send_rows, receive_rows, there(into), first_rows)
        ->wait();
    return finished(into);
  }
  void all_reduce(const char* name, at::Tensor& values, Reduction reduction) override {
    at::Tensor host = there(values);
    host_->all_reduce(name, host, reduction);
  }
  void broadcast(const char* name, at::Tensor& values, int root) override {
    at::Tensor host = there(values);
    host_->broadcast(name, host, root);
  }
  void poll(const char* name) override { host_->poll(name); }
  Ledger& ledger() override { return host_->ledger(); }
  void abort(const std::string& why) noexcept override { host_->abort(why); }

 private:
  static at::Tensor there(const at::Tensor& tensor) {
    CHECK(tensor.is_contiguous());
    return is_here(tensor) ? host_view(tensor) : tensor;
  }
  static at::Tensor back(const at::Tensor& given, const at::Tensor& result) {
    return is_here(given) ? moved_here(result) : result;
  }

  Communicator* host_;
  std::unique_ptr<Communicator> own_host_;
};

template <typename T>
void translate(T*& address) {
  if (address != nullptr) address = on_host(address);
}

}  // namespace

c10::Device played_device() { return {kType, 0}; }

DeviceWork DeviceWork::operator-(const DeviceWork& before) const {
  DeviceWork since = {launches - before.launches, uploads - before.uploads,
                      downloads - before.downloads, waits - before.waits, by_operator};
  for (const auto& [name, count] : before.by_operator) since.by_operator[name] -= count;
  std::erase_if(since.by_operator, [](const auto& one) { return one.second == 0; });
  return since;
}

DeviceWork device_work() {
  const std::lock_guard<std::mutex> lock(counts().mutex);
  return counts().work;
}

std::unique_ptr<Communicator> over_played_device(Communicator& host) {
  return std::make_unique<PlayedCommunicator>(host);
}

// In the place of those that need CUDA.
void neighbour_sum_on_gpu(const SumCall& prepared, c10::Device /*device*/) {
  SumCall call = prepared;
  translate(call.offsets);
  translate(call.columns);
  translate(call.x);
  translate(call.out);
  translate(call.rows);
  translate(call.order);
  translate(call.row_scale);
  translate(call.column_scale);
  translate(call.edge_weights);
  translate(call.active_columns);
  translate(call.global_numbers);
  translate(call.addend);
  translate(call.addend_scale);
  translate(call.addend_rows);
  translate(call.addend_of);
  translate(call.hubs.pieces);
  translate(call.hubs.hubs);
  translate(call.hubs.partials);
  CHECK(call.x_type == Stored::float32);
  count_launch("neighbour_sum");
  if (call.hubs.hub_count > 0) count_launch("neighbour_sum of hubs");
  emulate<float, 1>(call);
}

void adam_on_gpu(const AdamCall& call, c10::Device /*device*/) {
  count_launch("adam");
  AdamCall here = call;
  translate(here.taken);
  for (int tensor = 0; tensor < call.tensors; ++tensor) {
    AdamNumbers& of = here.of[tensor];
    translate(of.gradient);
    translate(of.value);
    translate(of.m);
    translate(of.v);
  }
  constexpr int kThreads = 3;  // any number does the same
  for (std::int64_t chunk = 0; chunk < here.chunks; ++chunk) {
    for (int thread = 0; thread < kThreads; ++thread) adam_of_thread(here, chunk, thread, kThreads);
  }
}

void block_dots_on_gpu(const BlockDotsCall& call, c10::Device /*device*/) {
  if (call.n == 0) return;
  count_launch("block_dots");
  BlockDotsCall here = call;
  translate(here.x);
  translate(here.dots);
  for (std::int64_t t = here.n - 1; t >= 0; --t) block_dots_of_row(EmulatedWarp(), here, t);
}

void block_slopes_on_gpu(const BlockSlopesCall& call, c10::Device /*device*/) {
  if (call.n == 0) return;
  count_launch("block_slopes");
  BlockSlopesCall here = call;
  translate(here.x);
  translate(here.slopes);
  translate(here.out);
  for (std::int64_t i = here.blocks * here.n * here.width - 1; i >= 0; --i) block_slope(here, i);
}

void triple_loss_on_gpu(const TripleCall& call, c10::Device /*device*/) {
  count_launch("triple_loss");
  if (triple_chunks(call.n) > 1) count_launch("triple_loss of chunks");
  TripleCall here = call;
  translate(here.dots);
  translate(here.weight);
  translate(here.slopes);
  translate(here.partial);
  translate(here.sums);
  emulate(here);
}

void keep_loss_on_gpu(const KeepLossCall& call, c10::Device /*device*/) {
  count_launch("keep_loss");
  KeepLossCall here = call;
  translate(here.values);
  translate(here.kept);
  keep_loss(here);
}

namespace {

RankCall call_on_host(RankCall call) {
  translate(call.items);
  translate(call.numbers);
  translate(call.group_begin);
  translate(call.source_offsets);
  translate(call.source_positions);
  translate(call.source_values);
  translate(call.history_offsets);
  translate(call.history_items);
  translate(call.history_weights);
  translate(call.history_of);
  translate(call.users);
  translate(call.masked_offsets);
  translate(call.masked_positions);
  translate(call.positive_offsets);
  translate(call.positive_items);
  translate(call.positive_user);
  translate(call.mixes);
  translate(call.thresholds);
  translate(call.turns);
  translate(call.ahead);
  translate(call.sums);
  return call;
}

ItemSystemsCall call_on_host(ItemSystemsCall call) {
  translate(call.of.first_neighbour);
  translate(call.of.first_product);
  translate(call.of.together);
  translate(call.of.right_together);
  translate(call.of.cross);
  translate(call.of.rows);
  translate(call.of.held);
  translate(call.columns);
  translate(call.features);
  translate(call.own_features);
  translate(call.settings);
  translate(call.alike);
  translate(call.right_alike);
  translate(call.solution);
  return call;
}

}  // namespace

void alike_on_gpu(const ItemSystemsCall& call, c10::Device /*device*/) {
  count_launch("alike");
  emulate_alike(call_on_host(call));
}

void item_systems_on_gpu(const ItemSystemsCall& call, c10::Device /*device*/) {
  count_launch("item_systems");
  emulate_systems(call_on_host(call));
}

void unit_rows_on_gpu(const UnitRowsCall& call, c10::Device /*device*/) {
  if (call.people == 0) return;
  count_launch("unit_rows");
  UnitRowsCall here = call;
  for (const float*& side : here.sides) translate(side);
  translate(here.unit);
  translate(here.divisors);
  for (std::int64_t n = 2 * here.people - 1; n >= 0; --n) unit_row(EmulatedWarp(), here, n);
}

void softmax_tile_on_gpu(const SoftmaxTileCall& call, c10::Device /*device*/) {
  count_launch("softmax_tile");
  SoftmaxTileCall here = call;
  translate(here.cosines);
  translate(here.largest);
  translate(here.sums);
  for (std::int64_t n = here.rows - 1; n >= 0; --n) add_to_softmax(EmulatedWarp(), here, n);
}

void person_losses_on_gpu(const PersonLossCall& call, c10::Device /*device*/) {
  if (call.people == 0) return;
  count_launch("person_losses");
  PersonLossCall here = call;
  translate(here.unit);
  translate(here.largest);
  translate(here.sums);
  translate(here.told);
  for (std::int64_t n = here.people - 1; n >= 0; --n) loss_of_person(EmulatedWarp(), here, n);
}

void attractions_on_gpu(const AttractionCall& call, c10::Device /*device*/) {
  count_launch("attractions");
  AttractionCall here = call;
  translate(here.cosines);
  translate(here.told);
  for (std::int64_t i = here.rows * here.columns - 1; i >= 0; --i) attract(here, i);
}

void unit_gradients_on_gpu(const UnitGradientCall& call, c10::Device /*device*/) {
  if (call.people == 0) return;
  count_launch("unit_gradients");
  UnitGradientCall here = call;
  translate(here.unit);
  translate(here.divisors);
  translate(here.upstream);
  translate(here.gradient);
  for (std::int64_t n = here.people - 1; n >= 0; --n) through_unit_row(EmulatedWarp(), here, n);
}

namespace {

MixedRows call_on_host(MixedRows call) {
  translate(call.x);
  translate(call.index);
  for (const float*& table : call.tables) translate(table);
  translate(call.squares);
  translate(call.y);
  return call;
}

MixedRowsGradient call_on_host(MixedRowsGradient call) {
  call.of = call_on_host(call.of);
  translate(call.gradient);
  translate(call.along);
  translate(call.of_x);
  translate(call.of_tables);
  return call;
}

ModalityTables call_on_host(ModalityTables call) {
  translate(call.logits);
  translate(call.gains);
  translate(call.tables);
  return call;
}

}  // namespace

void mixed_rows_on_gpu(const MixedRows& call, c10::Device /*device*/) {
  if (call.rows == 0) return;
  count_launch("mixed_rows");
  const MixedRows here = call_on_host(call);
  for (std::int64_t row = here.rows - 1; row >= 0; --row) mix_row(EmulatedWarp(), here, row);
}

void along_on_gpu(const MixedRowsGradient& call, c10::Device /*device*/) {
  if (call.of.rows == 0) return;
  count_launch("mixed_rows along");
  const MixedRowsGradient here = call_on_host(call);
  for (std::int64_t n = here.of.sorts * here.of.rows - 1; n >= 0; --n) {
    along_of_row(EmulatedWarp(), here, n);
  }
}

void of_mixed_on_gpu(const MixedRowsGradient& call, c10::Device /*device*/) {
  if (call.of.rows == 0) return;
  count_launch("of_mixed");
  const MixedRowsGradient here = call_on_host(call);
  for (std::int64_t n = here.of.sorts * here.of.rows - 1; n >= 0; --n) {
    gradient_of_mixed(EmulatedWarp(), here, n);
  }
}

void of_tables_on_gpu(const MixedRowsGradient& call, c10::Device /*device*/) {
  count_launch("of_tables");
  emulate_of_tables(call_on_host(call));
}

void modality_tables_on_gpu(const ModalityTables& call, c10::Device /*device*/) {
  count_launch("modality_tables");
  const ModalityTables here = call_on_host(call);
  for (std::int64_t i = here.entries() - 1; i >= 0; --i) fill_tables(here, i);
}

void of_modality_tables_on_gpu(const ModalityTablesGradient& call, c10::Device /*device*/) {
  count_launch("of_modality_tables");
  ModalityTablesGradient here = call;
  here.of = call_on_host(here.of);
  for (const float*& slopes : here.slopes) translate(slopes);
  translate(here.of_logits);
  translate(here.of_gains);
  const std::int64_t gains = here.of_gains == nullptr ? 0 : here.of.groups;
  for (std::int64_t i = here.of.sorts + gains - 1; i >= 0; --i) gradient_of_tables(here, i);
}

void place_positives_on_gpu(const RankCall& call, c10::Device /*device*/) {
  count_launch("place_positives");
  emulate_places(call_on_host(call));
}

void sum_histories_on_gpu(const RankCall& call, c10::Device /*device*/) {
  count_launch("sum_histories");
  emulate_sums(call_on_host(call));
}

void count_ahead_on_gpu(const RankCall& call, c10::Device /*device*/) {
  count_launch("count_ahead");
  emulate_counts(call_on_host(call));
}

}  // namespace micrec

namespace {

struct PlayedGuard final : c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = c10::DeviceType::PrivateUse1;
  explicit PlayedGuard(c10::DeviceType /*type*/) {}
  PlayedGuard() = default;
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device /*device*/) const override { return getDevice(); }
  c10::Device getDevice() const override { return micrec::played_device(); }
  void setDevice(c10::Device /*device*/) const override {}
  void uncheckedSetDevice(c10::Device /*device*/) const noexcept override {}
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** /*event*/, const c10::Stream& /*stream*/, const c10::DeviceIndex /*device*/,
              const c10::EventFlag /*flag*/) const override {}
  void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
  bool queryEvent(void* /*event*/) const override { return true; }
  void destroyEvent(void* /*event*/, const c10::DeviceIndex /*device*/) const noexcept override {}
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  bool queryStream(const c10::Stream& /*stream*/) const override { return true; }
  void synchronizeStream(const c10::Stream& /*stream*/) const override {}
  void synchronizeEvent(void* /*event*/) const override {}
  void synchronizeDevice(const c10::DeviceIndex /*device*/) const override {}
};

struct PlayedHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex /*device*/) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(c10::DeviceIndex /*device*/) const override {}
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex /*device*/) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex /*device*/) const override { return 0; }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, PlayedGuard)

// Else LibTorch takes CUDA for the machine's accelerator and asks its driver for streams.
[[maybe_unused]] const bool is_accelerator = [] {
  c10::register_privateuse1_backend("played");
  at::RegisterPrivateUse1HooksInterface(new PlayedHooks);  // for the rest of the program
  return true;
}();

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&micrec::by_the_host>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &micrec::empty);
  library.impl("empty_strided", &micrec::empty_strided);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view",
               static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("copy_", &micrec::copy);
  library.impl("_copy_from", &micrec::copy_from);
  library.impl("_local_scalar_dense", &micrec::local_scalar);
}

}  // namespace
