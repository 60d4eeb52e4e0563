#!/usr/bin/env python3
"""Runs cluster/slurm/*.sbatch on a Slurm that this test starts and ends itself: munged, slurmctld and two slurmd on
the loopback interface, with a key, a configuration and ports of their own, in a temporary folder.

    slurm_test.py PROGRAM [TEST ...]

Exit code 77 where Slurm or munge is not installed. Environment: MICREC_KEEP=1 leaves the folder for a look.
"""

import getpass
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, embeddings_digest, run  # noqa: E402

PROGRAM = ""
SCRIPTS = Path(__file__).resolve().parents[2] / "cluster" / "slurm"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "mpirun")
SECONDS = 420  # no single wait of these may take longer
NODES = ("n1", "n2")
BEGAN = time.monotonic()

SYNTH = ["--users=160", "--items=90", "--interactions=2400", "--modalities=text:12,image:9", "--seed=5"]
TRAIN = ["--epochs=1000000", "--dim=16", "--batch=512", "--lr=0.01", "--log_every=1", "--validate_every=0",
         "--validate_every_steps=0", "--patience=0", "--save_every_minutes=0", "--threads=1", "--seed=2", "--dropout=0.1"]


def log(*words):
    print(f"{time.monotonic() - BEGAN:7.1f} s  ", *words, file=sys.stderr, flush=True)


def path_with_sbin():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    return [name for name in NEEDED if shutil.which(name, path=path_with_sbin()) is None]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(what, condition):
    """The first true value of `condition`."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"waited {SECONDS} s in vain until {what}")


class Cluster:
    """A Slurm of two nodes, both this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.environment = {**os.environ, "PATH": path_with_sbin(), "SLURM_CONF": str(folder / "slurm.conf")}
        for name in list(self.environment):
            if name.startswith(("SLURM_", "SBATCH_", "OMPI_", "PMIX_")) and name != "SLURM_CONF":
                del self.environment[name]

    def start(self):
        folder, host, user = self.folder, socket.gethostname(), getpass.getuser()
        os.chmod(folder, 0o755)  # munge insists on a path that no other user can write to
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        control, *node_ports = free_ports(1 + len(NODES))
        configuration = f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=60
OverTimeLimit=0
"""
        for node, port in zip(NODES, node_ports):
            configuration += (f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 "
                              "State=UNKNOWN\n")
        nodes = ",".join(NODES)
        configuration += (f"PartitionName=usual Nodes={nodes} Default=YES PriorityTier=1 GraceTime=120 State=UP\n"
                          f"PartitionName=urgent Nodes={nodes} PriorityTier=10 PreemptMode=OFF State=UP\n")
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(configuration)
        self.launch("munged", "--foreground", f"--key-file={key}", f"--socket={folder}/munge.socket",
                    f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                    f"--seed-file={folder}/munged.seed", "--num-threads=2")
        wait_until("munged listens", (folder / "munge.socket").exists)
        self.launch("slurmctld", "-D", "-c", "-f", folder / "slurm.conf")
        for node in NODES:
            # Nodes that share a machine need folders of their own for PMIx.
            own = folder / node
            (own / "pmix").mkdir(parents=True)
            (folder / f"spool.{node}").mkdir()
            (own / "slurm.conf").write_text(configuration)
            (own / "mpi.conf").write_text(f"PMIxCliTmpDirBase={own}/pmix\n")
            self.launch("slurmd", "-D", "-N", node, "-f", own / "slurm.conf", SLURM_CONF=str(own / "slurm.conf"))
        wait_until("both nodes are idle", lambda: self.ask("sinfo", "-h", "-p", "usual", "-o", "%T %D").split()
                   == ["idle", str(len(NODES))])

    def launch(self, *words, **more):
        with open(self.folder / f"{words[0]}.out", "a", encoding="utf-8") as output:
            self.processes.append(subprocess.Popen(words, env={**self.environment, **more}, stdout=output,
                                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL))

    def stop(self):
        if self.processes:
            subprocess.run(["scancel", "--signal=KILL", "--full", "--user", getpass.getuser()], env=self.environment,
                           check=False, capture_output=True)
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *words):
        return call(*words, env=self.environment).stdout

    def tell(self, *words):
        log("$", *map(str, words))
        subprocess.run([str(word) for word in words], env=self.environment, check=True)

    def submit(self, *words, **more):
        """Calls sbatch and returns the number of the job."""
        log("$ sbatch", *(str(word).removeprefix(str(self.folder) + "/") for word in words))
        return run("sbatch", "--parsable", *words, env={**self.environment, **more}).stdout.strip()

    def job(self, number):
        """What scontrol shows of a job."""
        shown = self.ask("scontrol", "show", "job", "-o", str(number)).split()
        return dict(word.split("=", 1) for word in shown if "=" in word)


def lines_of(run_dir, kind):
    try:
        with open(run_dir / "metrics.jsonl", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [line for line in lines if line["kind"] == kind]


def steps_of(job):
    """The processes of Slurm that look after the steps of a job."""
    steps = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"slurmstepd: [{job}.".encode() in (process / "cmdline").read_bytes():
                steps.append(int(process.name))
        except OSError:
            continue
    return steps


def newest_step(run_dir):
    return max((int(path.name[5:]) for path in (run_dir / "checkpoints").glob("step-*") if path.name[5:].isdigit()),
               default=0)


class SlurmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="micrec-slurm-"))
        cls.cluster = Cluster(cls.folder)
        cls.addClassCleanup(cls.clean)
        cls.cluster.start()
        log("Slurm is up:", cls.cluster.ask("sinfo", "--version").strip(), "with PMIx:",
            "pmix" in run("srun", "--mpi=list", env=cls.cluster.environment, stderr=subprocess.STDOUT).stdout)
        cls.dataset = cls.folder / "sample.h5"
        run(PROGRAM, "synth", f"--out={cls.dataset}", *SYNTH)

    @classmethod
    def clean(cls):
        cls.cluster.stop()
        if os.environ.get("MICREC_KEEP"):
            log("left for a look:", cls.folder)
        else:
            shutil.rmtree(cls.folder, ignore_errors=True)

    def setUp(self):
        self.run_dir = self.folder / self._testMethodName
        # Slurm's limits are whole minutes, so a run here has no end until the test gives it one.
        self.flagfile = self.folder / f"{self._testMethodName}.flags"
        self.end_at(1_000_000)
        self.output = self.folder / f"{self._testMethodName}.log"

    def tearDown(self):
        log("  queue:", *self.cluster.ask("squeue", "-h", "-o", "%i %T %r %S").split("\n"))
        log("  nodes:", *self.cluster.ask("sinfo", "-h", "-o", "%n %T %E").split("\n"))
        if self.output.exists():
            for line in self.output.read_text(errors="replace").splitlines():
                if "micrec" in line or "sbatch" in line or "slurmstepd" in line or "srun" in line:
                    log("  |", line)

    def end_at(self, step):
        self.flagfile.write_text(f"--max_steps={step}\n")

    def submit(self, *options, **more):
        return self.cluster.submit(f"--output={self.output}", "--cpus-per-task=1", *options, SCRIPTS / "train.sbatch",
                                   f"--dataset={self.dataset}", f"--run_dir={self.run_dir}", *TRAIN,
                                   f"--flagfile={self.flagfile}", MICREC=PROGRAM, OMP_NUM_THREADS="1",
                                   OMPI_MCA_mpi_yield_when_idle="1", **more)

    def takes_steps(self, beyond=0):
        """Waits until the run has taken a step after this one."""
        return wait_until(f"the run has taken a step after {beyond}",
                          lambda: max((line["step"] for line in lines_of(self.run_dir, "step")), default=0) > beyond)

    def is_state(self, job, *states):
        return wait_until(f"job {job} is {' or '.join(states)}",
                          lambda: self.cluster.job(job).get("JobState") in states and self.cluster.job(job))

    def ends(self, job):
        """The job in its last state. One that has just been requeued is shown as failed for a moment, by the exit code
        of the start before."""
        bad_since = None

        def last_state():
            nonlocal bad_since
            now = self.cluster.job(job)
            if now.get("JobState") == "COMPLETED":
                return now
            if now.get("JobState") not in ("FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                bad_since = None
                return None
            bad_since = bad_since or time.monotonic()
            return now if time.monotonic() - bad_since > 10 else None

        return wait_until(f"job {job} has ended", last_state)

    def starts_again(self, job):
        """Slurm holds a requeued job back for two minutes; the test does not wait for that. It must wait a little: a
        node tells the starts of a job apart by their second, and one in the second in which the start before was
        ended is refused ("job credential revoked")."""
        self.is_state(job, "PENDING")
        wait_until("nothing is left of the start before",
                   lambda: not (list(self.folder.glob(f"n*/pmix/spmix_appdir_*_{job}.*")) or steps_of(job)))
        self.cluster.tell("scontrol", "update", f"JobId={job}", "StartTime=now+3")

    def digest(self, run_dir, name):
        path = self.folder / f"{name}.h5"
        run(PROGRAM, "export", f"--run_dir={run_dir}", "--checkpoint=newest", f"--out={path}")
        return embeddings_digest(path)

    def finishes_as_uninterrupted(self, job, starts):
        """The job, which waits in the queue, gets an end a little after where it is, runs to it, and has the result of
        a run that nothing stopped."""
        reached = newest_step(self.run_dir)
        self.assertGreater(reached, 0)
        last = reached + 20
        self.end_at(last)
        self.starts_again(job)
        ended = self.ends(job)
        self.assertEqual((ended["JobState"], ended["Restarts"]), ("COMPLETED", str(starts - 1)),
                         self.output.read_text())
        self.assertEqual(lines_of(self.run_dir, "end")[-1]["reason"], "finished")
        self.assertEqual([line["step"] for line in lines_of(self.run_dir, "step")], list(range(1, last + 1)))

        whole = self.folder / f"{self._testMethodName}_whole"
        run("mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", PROGRAM, "train",
            f"--dataset={self.dataset}", f"--run_dir={whole}", *TRAIN, f"--max_steps={last}",
            env={**self.cluster.environment, "OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1"})
        interrupted = self.digest(self.run_dir, f"{self._testMethodName}_interrupted")
        uninterrupted = self.digest(whole, f"{self._testMethodName}_uninterrupted")
        log(f"{starts} starts, {last} steps: SHA-256 {interrupted}")
        log(f"never stopped, {last} steps: SHA-256 {uninterrupted}")
        self.assertEqual(interrupted, uninterrupted)

    def saved_and_stopped(self):
        """The step at which the run says that it saved and ended; it is the newest checkpoint."""
        end = lines_of(self.run_dir, "end")[-1]
        self.assertEqual(end["reason"], "interrupted")
        self.assertEqual(end["step"], newest_step(self.run_dir))
        log(f"saved at step {end['step']}")
        return end["step"]

    # --- What Slurm does to a job ---

    def test_a_job_that_runs_out_of_time_twice_goes_on_to_the_same_result(self):
        # The warning comes 70 s before the limit, or up to half a minute later, when Slurm looks.
        job = self.submit("--nodes=2", "--ntasks-per-node=1", "--time=2", "--signal=B:USR1@70")
        self.takes_steps()
        self.is_state(job, "PENDING")
        first = self.saved_and_stopped()
        self.starts_again(job)
        self.takes_steps(first)
        self.is_state(job, "PENDING")
        self.assertGreater(self.saved_and_stopped(), first)
        self.cluster.tell("scontrol", "update", f"JobId={job}", "TimeLimit=60")
        self.finishes_as_uninterrupted(job, starts=3)

    def test_scancel_saves_and_does_not_requeue(self):
        job = self.submit("--nodes=1", "--ntasks-per-node=2")
        self.takes_steps()
        self.cluster.tell("scancel", job)
        wait_until("the job is gone", lambda: self.cluster.ask("squeue", "-h", "-j", job) == "")
        self.assertEqual(self.cluster.job(job)["JobState"], "CANCELLED")
        self.assertEqual(self.cluster.job(job)["Restarts"], "0")
        self.saved_and_stopped()

    def test_scontrol_requeue_saves_and_goes_on(self):
        job = self.submit("--nodes=1", "--ntasks-per-node=2")
        self.takes_steps()
        self.cluster.tell("scontrol", "requeue", job)
        self.is_state(job, "PENDING")
        wait_until("the run has said its end", lambda: lines_of(self.run_dir, "end"))
        self.saved_and_stopped()
        self.finishes_as_uninterrupted(job, starts=2)

    def test_preemption_saves_and_goes_on(self):
        job = self.submit("--nodes=2", "--ntasks-per-node=1", "--exclusive")
        self.takes_steps()
        urgent = self.cluster.submit("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null",
                                     "--wrap=true")
        self.is_state(urgent, "COMPLETED")
        self.is_state(job, "PENDING")
        self.saved_and_stopped()
        self.finishes_as_uninterrupted(job, starts=2)

    # --- The other launcher, and arrays ---

    def test_mpirun_hands_the_warning_to_its_ranks(self):
        job = self.submit("--nodes=1", "--ntasks-per-node=2", MICREC_LAUNCHER="mpirun",
                          MICREC_MPIRUN="--allow-run-as-root --oversubscribe")
        self.takes_steps()
        self.cluster.tell("scancel", "--batch", "--signal=USR1", job)  # as --signal=B:USR1@300 does
        self.is_state(job, "PENDING")
        self.saved_and_stopped()
        self.finishes_as_uninterrupted(job, starts=2)

    def test_a_sweep_runs_every_line(self):
        flags = self.folder / "sweep.txt"
        flags.write_text("--lr=0.01\n--lr=0.02 --dim=8\n")
        self.run_dir.mkdir()
        job = self.cluster.submit("--array=1-2", f"--output={self.output}", "--nodes=1", "--ntasks-per-node=1",
                                  "--cpus-per-task=1", SCRIPTS / "sweep.sbatch", flags, self.run_dir,
                                  f"--dataset={self.dataset}", *TRAIN, "--max_steps=5", MICREC=PROGRAM,
                                  MICREC_SLURM=str(SCRIPTS))
        wait_until("the sweep is gone", lambda: self.cluster.ask("squeue", "-h", "-j", job) == "")
        for number, flag in (("1", "--lr=0.01"), ("2", "--dim=8")):
            self.assertEqual(lines_of(self.run_dir / number, "end")[-1]["reason"], "finished", self.output.read_text())
            self.assertIn(flag, (self.run_dir / number / "config.txt").read_text())

    # --- A rank that dies ---

    def test_a_killed_rank_is_named_and_the_job_goes_on_where_it_saved(self):
        job = self.submit("--nodes=2", "--ntasks-per-node=1")
        self.takes_steps(beyond=20)
        ranks = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
                 if self.is_rank(path)]
        self.assertEqual(len(ranks), 2)
        os.kill(ranks[1], signal.SIGKILL)
        self.is_state(job, "PENDING")
        self.finishes_as_uninterrupted(job, starts=2)
        self.assertRegex(self.output.read_text(),
                         r"rank [01] of 2 was killed by signal 9 \(SIGKILL\)[\s\S]*requeued after step-\d+ "
                         r"\(exit code 5\)[\s\S]*going on from step-\d+[\s\S]*finished after step")

    def is_rank(self, cmdline):
        """A process of this test's run that is no watchdog of one."""
        try:
            return (str(self.run_dir) in cmdline.read_text() and
                    cmdline.with_name("comm").read_text().strip() == Path(PROGRAM).name)
        except OSError:
            return False


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv[1]).resolve())
    if missing():
        print(f"not installed: {', '.join(missing())} (Debian's slurm-wlm and munge)")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
