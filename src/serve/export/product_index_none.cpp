#include "base/error.h"
#include "serve/export/product_index.h"

// For a build without FAISS.
namespace micrec {

bool has_faiss() { return false; }

void require_faiss() {
  throw Error(Cause::usage,
              "this program was built without FAISS, so it cannot write its indexes; give "
              "--format=npy, or install libfaiss-dev, configure again and build");
}

void write_product_index(const UnfinishedFile& /*file*/, std::span<const float> /*rows*/,
                         std::int64_t /*dim*/) {
  require_faiss();
}

std::vector<std::int64_t> search_product_index(const std::string& /*path*/,
                                               std::span<const float> /*queries*/,
                                               std::int64_t /*k*/) {
  require_faiss();
  return {};
}

}  // namespace micrec
