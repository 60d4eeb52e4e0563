#include "serve/export/product_index.h"

#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_io.h>
#include <glog/logging.h>

#include <memory>

#include "base/error.h"
#include "base/text.h"

namespace micrec {

bool has_faiss() { return true; }

void require_faiss() {}

void write_product_index(const UnfinishedFile& file, std::span<const float> rows,
                         std::int64_t dim) {
  faiss::IndexFlatIP index(dim);
  index.add(static_cast<std::int64_t>(rows.size()) / dim, rows.data());
  try {
    faiss::write_index(&index, file.name().c_str());
  } catch (const faiss::FaissException& error) {
    throw Error(Cause::io, "cannot write ", file.path(), ": ", error.what());
  }
}

std::vector<std::int64_t> search_product_index(const std::string& path,
                                               std::span<const float> queries, std::int64_t k) {
  try {
    const std::unique_ptr<faiss::Index> index(faiss::read_index(path.c_str()));
    CHECK_EQ(index->metric_type, faiss::METRIC_INNER_PRODUCT);
    const std::int64_t count = static_cast<std::int64_t>(queries.size()) / index->d;
    std::vector<float> products(count * k);
    std::vector<std::int64_t> found(count * k);
    index->search(count, queries.data(), k, products.data(), found.data());
    return found;
  } catch (const faiss::FaissException& error) {
    throw Error(Cause::io, "cannot read ", path, ": ", error.what());
  }
}

}  // namespace micrec
