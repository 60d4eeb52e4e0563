#pragma once

namespace micrec {

/// Thrown on all ranks where one was asked to stop in the midst of long work: nothing has come of
/// the work, and whoever caught this may do it again.
struct Stopped {};

}  // namespace micrec
