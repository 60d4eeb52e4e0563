#pragma once

#include <string>
#include <vector>

#include "serve/observations.h"
#include "serve/trained_run.h"

namespace micrec {

/// What reads these files, joined by what a server was `told` since: one graph, whatever the order
/// in which all of it came. Of what was told, items that the data set has are left out, features
/// that a file has of the item or that the data set has no place for, and, where the model cannot
/// place a cold item, items that nobody met. Null where there are neither.
///
/// Errors   of the reader: besides those of refuse_foreign() and make_additions() Error(usage)
///          where a list cannot be read.
AdditionsReader additions_reader(const LaterFiles& files, const ToldReader& told = nullptr);

/// The paths among them. Errors: Error(usage) where a list cannot be read.
std::vector<std::string> files_of(const LaterFiles& files);

}  // namespace micrec
