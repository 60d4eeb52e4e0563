#pragma once

#include <string>

namespace micrec {

/// The name under which a result is written until it is complete, so that a file under its own name
/// is never half a file. A device or a pipe is written as it is: a rename would take its place.
///
/// Errors   Error(Cause::io) where the folder is missing or the file cannot get its name.
class UnfinishedFile {
 public:
  explicit UnfinishedFile(const std::string& path);
  UnfinishedFile(const UnfinishedFile&) = delete;
  UnfinishedFile& operator=(const UnfinishedFile&) = delete;
  /// Removes what was not finished.
  ~UnfinishedFile();

  const std::string& name() const { return name_; }
  /// Gives the file its own name, once its contents are on the disk.
  void finish();

 private:
  std::string path_;
  std::string name_;
};

}  // namespace micrec
