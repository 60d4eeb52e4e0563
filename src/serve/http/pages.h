#pragma once

#include <string_view>

namespace micrec {

/// The files of these names in this folder, as they were when the program was built.
extern const std::string_view kPageHtml;
extern const std::string_view kOpenApiJson;

}  // namespace micrec
