#include "run/train.h"

#include <memory>

#include "launcher/commands.h"
#include "launcher/complete_run.h"
#include "launcher/run_flags.h"

namespace micrec {

Command train_command() {
  Command command;
  command.name = "train";
  command.summary = "train a model on a dataset, on one rank or many; resume a run";
  command.usage = "mpirun -np RANKS micrec train --dataset=FILE --run_dir=FOLDER [flags]";
  command.example = "mpirun -np 2 micrec train --dataset=fk.h5 --run_dir=runs/fk --max_steps=360";
  const auto config = std::make_shared<RunConfig>();
  command.flags = run_flags(*config);
  command.tells_idle_flags = true;
  command.run = [config, table = command](const Arguments& arguments) {
    complete(*config, table, arguments);
    return run_job(config->job, [&](Job& job) { return train(*config, job); });
  };
  return command;
}

}  // namespace micrec
