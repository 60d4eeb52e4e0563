#include "launcher/outputs.h"

#include "io/unfinished_file.h"

namespace micrec {

void check_output(const std::string& flag, const std::string& path, const Arguments& arguments,
                  const std::vector<std::string>& inputs) {
  if (path.empty()) return;
  refuse_unwritable(path);
  refuse_output_over_inputs(flag, path, inputs);
  refuse_output_over_inputs(flag, path, arguments.flagfiles);
  refuse_file_of_run(flag, path);
}

}  // namespace micrec
