// One reader under libFuzzer, which feeds it what covers new code. MICREC_FUZZ_READER names it.
#include <glog/logging.h>

#include <cstdlib>
#include <iostream>

#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string wrong =
      micrec::fuzz::complaint(micrec::fuzz::MICREC_FUZZ_READER(), bytes, size);
  if (!wrong.empty()) {
    std::cerr << wrong << std::endl;
    std::abort();
  }
  return 0;
}
