#include "launcher/commands.h"
#include "launcher/program.h"

int main(int argc, char** argv) {
  micrec::start_logging(argv[0]);
  return micrec::run_program({argv + 1, argv + argc}, micrec::all_commands());
}
