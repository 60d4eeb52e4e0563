#pragma once

#include <iosfwd>
#include <string>

namespace micrec {

/// Tells of a dataset's file what made it, what its domains hold, and which people they share.
///
/// Errors   those of reading it; what was told until then stands.
void describe_dataset(const std::string& path, std::ostream& out);

}  // namespace micrec
