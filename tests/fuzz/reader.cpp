#include "tests/fuzz/reader.h"

#include <glog/logging.h>

#include <exception>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/text.h"
#include "tests/support/file_contents.h"
#include "tests/support/temporary_folder.h"

namespace micrec::fuzz {
namespace {

constexpr std::size_t kMostMessageBytes = 4096;

/// What is wrong with the way a reader refused a file, or "".
std::string complaint_of(const Error& error, const Reader& reader, const std::string& path) {
  const std::string message = error.what();
  const Cause cause = error.cause();
  const bool is_files = cause == Cause::data || cause == Cause::io || cause == Cause::checkpoint ||
                        (reader.is_usage && cause == Cause::usage);
  if (!is_files) return text("the cause is ", name_of(cause), ": ", message);
  if (message.size() > kMostMessageBytes)
    return text("a message of ", message.size(), " bytes: ", message.substr(0, 200));
  if (message.find(path) == std::string::npos)
    return text("the message does not name ", path, ": ", message);
  if (!is_printable(message)) return text("the message is no printable UTF-8: ", message);
  return "";
}

}  // namespace

std::string complaint(const Reader& reader, const std::uint8_t* bytes, std::size_t size) {
  static const TemporaryFolder folder;
  const std::string path = folder / reader.file_name;
  for (int variant = 0; variant < reader.variants; ++variant) {
    set_file_contents(path, {reinterpret_cast<const char*>(bytes), size});
    try {
      reader.read(path, variant);
    } catch (const Error& error) {
      const std::string wrong = complaint_of(error, reader, path);
      if (!wrong.empty()) return text(reader.name, ", variant ", variant, ": ", wrong);
    } catch (const std::exception& error) {
      return text(reader.name, ", variant ", variant, ": expected micrec::Error, got ",
                  error.what());
    }
  }
  return "";
}

}  // namespace micrec::fuzz
