#pragma once

#include <string>
#include <string_view>

namespace micrec {

/// Throws Error(Cause::io) where a file of this name cannot be written, before long work for it
/// begins.
void refuse_unwritable(const std::string& path);

/// The name under which a result is written until it is complete, so that a file under its own name
/// is never half a file. A device or a pipe is written as it is: a rename would take its place.
///
/// Errors   Error(Cause::io) as refuse_unwritable, and where the file cannot get its name.
class UnfinishedFile {
 public:
  explicit UnfinishedFile(const std::string& path);
  UnfinishedFile(const UnfinishedFile&) = delete;
  UnfinishedFile& operator=(const UnfinishedFile&) = delete;
  /// Removes what was not finished.
  ~UnfinishedFile();

  const std::string& path() const { return path_; }
  const std::string& name() const { return name_; }
  /// Puts the contents on the disk. Of several files that belong together each is put there before
  /// the first gets its name.
  void sync();
  /// Gives the file its own name, once its contents are on the disk.
  void finish();

 private:
  std::string path_;
  std::string name_;
};

/// Writes a result that is in memory under the name until it is complete. Errors: Error(Cause::io).
void write_contents(const UnfinishedFile& file, std::string_view contents);

/// Writes a result that is in memory under its own name, whole or not at all. Errors: as above.
void write_whole_file(const std::string& path, std::string_view contents);

}  // namespace micrec
