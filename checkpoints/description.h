#pragma once

#include <iosfwd>
#include <string>

#include "checkpoints/checkpoint.h"

namespace micrec {

// What a checkpoint holds, told to people. Ranks: local.

/// How far the run had come.
void describe_progress(const CheckpointInfo& info, std::ostream& out);

/// The settings of a flagfile, a paragraph for each of its groups, and how they were changed.
void describe_settings(const std::string& flagfile, std::ostream& out);

/// What the head of a run's file of coefficients says, or all of it, every byte verified.
/// Errors: as look_at_coefficients() and summarise_coefficients().
void describe_item_regression(const std::string& path, Verify verify, std::ostream& out);

/// All of a run's file of coefficients. Errors: those of summarise_coefficients(), before anything
/// is told.
void describe_coefficient_file(const std::string& path, std::ostream& out);

/// Everything of a checkpoint: progress, dataset, settings, tensors; every byte of it, and of the
/// coefficients beside it, is verified before.
/// Errors: those of Checkpoint::open() and verify_item_regression().
void describe_checkpoint(const std::string& path, std::ostream& out);

/// A line for each checkpoint of a directory; what cannot be used is told with the reason.
void describe_checkpoints(const std::string& directory, std::ostream& out);

}  // namespace micrec
