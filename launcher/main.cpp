#include <csignal>

#include "cluster/logging.h"
#include "launcher/commands.h"
#include "launcher/program.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // A file-size limit is an error of the write that meets it.
  micrec::start_logging(argv[0]);
  return micrec::run_program({argv + 1, argv + argc}, micrec::all_commands());
}
