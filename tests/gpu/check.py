#!/usr/bin/env python3
"""What tests/gpu/check.sh does; see there. Needs Python 3.10 and torch, and nothing else."""

import argparse
import contextlib
import datetime
import gzip
import hashlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parent / "benchmarks" / "gpu"
sys.path.insert(0, str(BENCHMARKS))
from compare_runs import CLOSE, json_in, lines_of, losses_of, runs_apart  # noqa: E402
from record import write_record  # noqa: E402

MARK = "MICREC_CHECK"        # in the environment of all that a check starts, so that nothing outlives its step
FIRST_NCCL_THAT_SHARES = 23000
COMMON = ["--log_every=1", "--validate_every=0", "--patience=0", "--save_every_minutes=0", "--seed=2"]
MODELS = {
    "lightgcn": ["--model=lightgcn", "--l2=1e-4"],
    "inmo": ["--model=inmo", "--dropout=0.3"],
    "micrec": ["--model=micrec", "--dropout=0.1", "--share_templates=0.5", "--cold_simulation=0.2",
               "--contrastive_batch=0", "--l2=1e-4"],
}
# The kernels' cases that a sanitizer, which makes them a hundred times slower, can do in its time.
SHORT_CASES = ":".join("GpuKernels." + name for name in (
    "NeighbourSumReadsAnXThatBeginsAnywhere", "GathersAndScattersInTheOrderOfTheCpu", "AdamHasTheBitsOfTheCpu", "TheLossOfTriplesIsTheCpus",
    "CountsOfMixedScoresAreTheCpus", "AFitOfItemRegressionIsTheCpus", "ReducesOverRanksInTheirOrder"))

# The loss is read every 20 steps; nothing else makes the host wait.
MOST_WAITS = 0.2

# Of the contract: what waits for a deadline does so for a minute, and parts of a communicator are made in the whole's cases too.
QUICK_CASES = "*_whole-*deadline*"


class Skipped(Exception):
    """The step cannot be done here; says why."""


class Failed(Exception):
    """What was seen is not what must be."""


class Programs:
    """Where the programs are: in an unpacked bundle, or in a build folder."""

    def __init__(self, folder):
        self.root = folder
        self.is_bundle = (folder / "bin" / "micrec").exists() and (folder / "needs").exists()
        if not self.is_bundle and not (folder / "CMakeCache.txt").exists():
            sys.exit(f"check: {folder} is neither an unpacked bundle nor a build folder")

    def path(self, name):
        if self.is_bundle:
            return str(self.root / "bin" / name)
        if name == "mpirun":
            return next((line.partition("=")[2].strip() for line in open(self.root / "bundle.txt", encoding="utf-8")
                         if line.startswith("mpirun=")), name)
        folder = self.root if name == "micrec" else self.root / "tests"
        return str(folder / name)

    def file(self, name):
        return str(self.root / "libexec" / name) if self.is_bundle else self.path(name)

    def within(self):
        """What starts another program with the libraries of these."""
        return [self.path("run")] if self.is_bundle else []


class Check:
    def __init__(self, options):
        self.options = options
        self.programs = Programs(options.bundle.resolve())
        self.out = options.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="micrec-check-"))
        self.log = open(self.out / "check.log", "w", encoding="utf-8")
        self.begun = time.monotonic()
        self.ends = self.begun
        self.rows = []           # (step, what came of it, seconds, sentence)
        self.machine = {"card": "no GPU"}
        self.measurements = []
        self.gpus = 0
        self.nccl = 0
        self.why_no_gpu = "the machine could not be looked at, see versions"
        self.device = "cpu" if options.rehearse else "cuda"
        self.small = options.rehearse

    # --- Commands ---

    def say(self, text):
        self.log.write(text.rstrip("\n") + "\n")
        self.log.flush()

    def environment(self, more=None):
        environment = {"PYTHON": sys.executable, **os.environ, MARK: str(os.getpid()), "OMPI_MCA_mpi_yield_when_idle": "1",
                       "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                       "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PYTHONUNBUFFERED": "1"}
        if self.options.rehearse:
            environment.setdefault("OMP_NUM_THREADS", "1")
        return {**environment, **(more or {})}

    def run(self, *words, expect=(0,), more=None, watch=None):
        """Runs a command until the step's time is over. Returns its exit code and what it printed; `expect` None: any code.
        `watch` is called while it runs."""
        words = [str(word) for word in words]
        self.say("$ " + " ".join(words))
        printed = self.work / "printed"
        with open(printed, "w", encoding="utf-8") as file:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       env=self.environment(more), cwd=self.work, start_new_session=True)
        late = False
        while process.poll() is None and not late:
            if watch:
                watch()
            late = time.monotonic() > self.ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=min(0.2, max(0.01, self.ends - time.monotonic())))
        end_all()
        process.wait()
        text = printed.read_text(encoding="utf-8", errors="replace")
        self.say(text)
        if late:
            raise Failed(f"out of time in {Path(words[0]).name}; it printed last: {last_line(text)}")
        self.say(f"(exit code {process.returncode})")
        if expect is not None and process.returncode not in expect:
            raise Failed(f"exit code {process.returncode}: {last_line(text)}")
        return process.returncode, text

    def micrec(self, *words, ranks=1, **options):
        launch = [] if ranks == 1 else [self.programs.path("mpirun"), *MPIRUN, ranks]
        return self.run(*launch, self.programs.path("micrec"), *words, **options)

    def train(self, name, dataset, *flags, device=None, ranks=1, **options):
        """A run in a folder of that name, which it returns."""
        run_dir = self.work / name
        self.micrec("train", f"--dataset={dataset}", f"--run_dir={run_dir}", f"--device={device or self.device}", *COMMON,
                    *flags, ranks=ranks, **options)
        return run_dir

    def runs_apart(self, run_dir, other_dir, steps):
        return runs_apart(run_dir, other_dir, steps, micrec=lambda *words: self.micrec(*words)[1],
                          compare_embeddings=lambda *files: self.run(self.programs.path("compare_embeddings"), *files)[1])

    # --- Steps ---

    def step(self, name, seconds, body, needs_gpu=True, can_rehearse=True):
        """Does one step, whatever comes of it, and adds its row to the table."""
        if self.options.rehearse:
            seconds *= 6  # Times are the GPU machine's; this one may be small and busy.
        started = time.monotonic()
        left = self.options.seconds - (started - self.begun)
        self.ends = started + min(seconds, max(left, 0))
        self.say(f"\n==== {name} ({datetime.datetime.now():%H:%M:%S}, at most {seconds} s) ====")
        try:
            if left <= 0:
                raise Skipped("no time is left")
            if needs_gpu and not self.gpus and not (self.options.rehearse and can_rehearse):
                raise Skipped(self.why_no_gpu)
            outcome, sentence = "ok", body()
        except Skipped as reason:
            outcome, sentence = "skipped", str(reason)
        except Failed as failure:
            outcome, sentence = "FAILED", str(failure)
        except Exception as error:  # A fault of this script must not hide the steps that follow.
            outcome, sentence = "FAILED", f"{type(error).__name__}: {error}"
        sentence = " ".join(sentence.split())
        self.rows.append((name, outcome, time.monotonic() - started, sentence))
        self.say(f"-- {outcome}: {sentence}")
        print(f"{outcome:8}{name}: {sentence}", file=sys.stderr, flush=True)
        (self.out / "table.txt").write_text(self.table(), encoding="utf-8")  # There also if somebody ends the check.

    def table(self):
        widest = max(len(row[0]) for row in self.rows)
        lines = [f"{name:{widest}}  {outcome:7}  {seconds:6.1f} s  {sentence}"
                 for name, outcome, seconds, sentence in self.rows]
        counts = {outcome: sum(row[1] == outcome for row in self.rows) for outcome in ("ok", "FAILED", "skipped")}
        lines.append(f"{counts['ok']} ok, {counts['FAILED']} failed, {counts['skipped']} skipped, in "
                     f"{time.monotonic() - self.begun:.0f} s" + (", rehearsed on the CPU" if self.options.rehearse else ""))
        return "\n".join(lines) + "\n"

    def measured(self, what, value):
        self.measurements.append((what, value))

    def versions(self):
        missing = self.run(*self.programs.within(), "ldd", self.programs.file("micrec"), expect=None)[1]
        missing = sorted(set(re.findall(r"(\S+) => not found", missing) + re.findall(r"version `(\S+)' not found", missing)))
        driver = Path("/proc/driver/nvidia/version")
        if shutil.which("nvidia-smi"):
            self.run("nvidia-smi", expect=None)
            found = self.run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", expect=None)
            self.machine["driver"] = found[1].splitlines()[0] if found[0] == 0 and found[1] else "not known"
        elif driver.exists():
            self.machine["driver"] = (re.findall(r"\b\d+\.\d+[.\d]*", driver.read_text()) or ["not known"])[0]
        else:
            self.machine["driver"] = "none"
        brought = self.programs.root / "lib" / "libnccl.so.2"  # Of a bundle to which somebody has given a newer one.
        if importlib.util.find_spec("torch") is None:
            raise Failed(f"{sys.executable} has no torch; set PYTHON to a python3 that has one")
        torch = json_in(self.run(sys.executable, "-c", ASK_TORCH, brought if brought.exists() else "libnccl.so.2")[1])
        self.gpus, self.nccl = len(torch["gpus"]), torch["nccl"]
        if torch["gpus"]:
            self.machine["card"] = torch["gpus"][0] + (f" (one of {self.gpus})" if self.gpus > 1 else "")
        else:
            self.why_no_gpu = f"no GPU ({torch['why_none']})" if torch["why_none"] else "no GPU"
        self.machine["torch"] = torch["torch"]
        self.machine["NCCL"] = f"{self.nccl // 10000}.{self.nccl // 100 % 100}.{self.nccl % 100}" if self.nccl else "none"
        self.machine["cores"] = str(len(os.sched_getaffinity(0)))
        if missing:
            raise Failed("the loader does not find " + ", ".join(missing))
        version = self.micrec("--version")[1]
        self.machine["micrec"] = ", ".join(" ".join(line.split()) for line in version.splitlines())
        return (f"{self.machine['card']}, driver {self.machine['driver']}, torch {self.machine['torch']}, "
                f"NCCL {self.machine['NCCL']}, {self.machine['cores']} cores; the loader finds all libraries")

    def kernels(self):
        code, text = self.run(self.programs.path("test_gpu_kernels"), expect=None)
        return told_by_gtest(code, text)

    def sanitize(self, tool):
        sanitizer = shutil.which("compute-sanitizer") or next(
            (str(path) for path in Path("/usr/local").glob("cuda*/**/bin/compute-sanitizer")), None)
        if not sanitizer:
            raise Skipped("no compute-sanitizer on this machine")
        # Libraries ask the driver for functions that it may lack, and go on without them: no error of a kernel's.
        words = ["--report-api-errors=no"] if tool == "memcheck" else []
        code, text = self.run(*self.programs.within(), sanitizer, f"--tool={tool}", *words, "--error-exitcode=9",
                              self.programs.file("test_gpu_kernels"), f"--gtest_filter={SHORT_CASES}", expect=None,
                              more={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})  # Each tensor ends where its memory ends.
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)
        if code == 9 or not summary or not re.match(r"0 (errors|hazards)", summary[-1]):
            raise Failed(f"{tool}: {summary[-1] if summary else last_line(text)}")
        return f"{told_by_gtest(code, text)}; {summary[-1]}"

    def world(self):
        """A dataset of two domains with people in both, made once."""
        path = self.work / "world.h5"
        if not path.exists():
            size = (["--users=300", "--items=200", "--interactions=6000"] if self.small else
                    ["--users=8000", "--items=4000", "--interactions=160000"])
            text = self.micrec("synth", f"--out={path}", *size, "--overlap=0.75", "--modalities=text:64,image:48", "--seed=5")[1]
            people = re.search(r"people in both .*?: ([\d,]+)", text)
            self.people = int(people.group(1).replace(",", "")) if people else 0
        return path

    def as_on_the_cpu(self, model):
        dataset = self.world()
        if self.people < (100 if self.small else 5000):
            raise Failed(f"the made-up dataset has only {self.people} people in both domains")
        flags = ["--dim=64", "--batch=1024", "--lr=0.01", "--max_steps=100", "--epochs=1000", *MODELS[model]]
        on_cpu = self.train(f"{model}-cpu", dataset, *flags, device="cpu")
        on_gpu = self.train(f"{model}-there", dataset, *flags)
        apart = self.runs_apart(on_cpu, on_gpu, 100)
        sentence = (f"losses differ from the CPU's by at most {apart.losses:.1e}, embeddings by {apart.rows:.1e} of the largest, "
                    f"after 100 steps with {self.people:,} people in both domains")
        if not apart.is_close:
            raise Failed(f"{sentence}; {CLOSE:.0e} is allowed")
        return sentence

    def resume(self):
        flags = ["--batch=1024", "--lr=0.01", "--epochs=1000", *MODELS["micrec"], "--save_every_steps=20",
                 "--save_every_epochs=0", "--keep_last=10"]
        whole = self.train("whole", self.world(), *flags, "--max_steps=40")
        run_dir = self.train("resumed", self.world(), *flags, "--max_steps=20")
        self.micrec("train", f"--run_dir={run_dir}", "--resume", "--max_steps=40", f"--device={self.device}")
        steps = [line["step"] for line in lines_of(run_dir, "step")]
        apart = self.runs_apart(whole, run_dir, 40)
        if losses_of(whole) != losses_of(run_dir) or steps != list(range(1, 41)) or not apart.same_bits:
            raise Failed(f"a run of 20 steps and 20 more after a resume differs from one of 40 by {apart.rows:.1e} of the largest "
                         f"in the embeddings; it logged steps {steps[:1]} to {steps[-1:]}")
        return "20 steps, and 20 more from the checkpoint, give every loss and bit of the embeddings of 40"

    def gowalla(self):
        """The folder with train.txt and the dataset made of it."""
        folder = self.work / "gowalla"
        if (folder / "gowalla.h5").exists():
            return folder
        folder.mkdir(exist_ok=True)
        given = self.options.gowalla
        for name in ("train.txt", "test.txt"):
            if given is None:
                break
            if (given / name).exists():
                shutil.copy(given / name, folder / name)
            elif (given / f"{name}.gz").exists():
                with gzip.open(given / f"{name}.gz") as packed, open(folder / name, "wb") as file:
                    shutil.copyfileobj(packed, file)
            else:
                raise Failed(f"{given} holds neither {name} nor {name}.gz")
        if given is None:
            make_up_interactions(folder, *((1200, 900, 24000) if self.small else (29858, 40981, 1027370)))
        self.micrec("prepare", "--split=files", f"--out={folder / 'gowalla.h5'}",
                    f"checkins={folder / 'train.txt'},{folder / 'test.txt'}")
        return folder

    def graph_name(self):
        return "gowalla" if self.options.gowalla else "a small made-up graph" if self.small else \
            "a made-up graph of gowalla's size"

    def epoch(self, model):
        dataset = self.gowalla() / "gowalla.h5"
        flags = ["--batch=2048", "--lr=1e-3", *MODELS[model], f"--log_every={1 if self.small else 20}"]
        run_dir = self.train(f"epoch-{model}", dataset, *flags, "--epochs=1")
        lines = lines_of(run_dir, "step")
        if len(lines) < 3 and not self.small:
            raise Failed(f"only {len(lines)} lines of steps in {run_dir}")
        # The first pays for memory and kernels seen for the first time, the last may cover fewer steps.
        counts = [lines[0]["step"]] + [b["step"] - a["step"] for a, b in zip(lines, lines[1:])]
        ms = 1e3 * statistics.median([line["seconds"] / count for line, count in zip(lines, counts)][1:-1] or
                                     [lines[0]["seconds"] / counts[0]])
        if lines[-1]["loss"] >= lines[0]["loss"]:
            raise Failed(f"the loss went from {lines[0]['loss']:.4f} to {lines[-1]['loss']:.4f} in an epoch")
        sentence = f"{ms:.2f} ms a step on {self.graph_name()}, an epoch of {lines[-1]['step']} steps in " \
                   f"{ms * lines[-1]['step'] / 1e3:.1f} s, loss {lines[0]['loss']:.4f} to {lines[-1]['loss']:.4f}"
        self.measured(f"{model}, a training step", f"{ms:.2f} ms on {self.graph_name()}")
        return f"{sentence}; {self.profile(model, dataset, flags)}"

    def profile(self, model, dataset, flags):
        steps = 4 if self.small else 50
        run_dir = self.train(f"profile-{model}", dataset, *flags, f"--max_steps={steps + 12}", f"--profile_steps={steps}")
        lines = lines_of(run_dir, "profile")
        if len(lines) != 1:
            raise Failed(f"{len(lines)} profile lines in {run_dir}/metrics.jsonl, expected 1")
        self.say(json.dumps(lines[0]))
        parts = ("planning", "forward", "exchange", "backward", "optimizer", "idle", "total")

        def told(times):
            return ", ".join(f"{part} {times[part]:.2f}" for part in parts if part in times)

        host, gpu = lines[0]["ms_per_step"], lines[0]["device_ms_per_step"]
        self.measured(f"{model}, ms a step by the host's clock", told(host))
        if gpu is None:
            note = lines[0].get("device_note")
            return f"host: {told(host)}" + (f"; no times of the GPU: {note}" if note else "")
        self.measured(f"{model}, ms a step on the GPU", told(gpu))
        counts = ", ".join(f"{lines[0][f'{what}_per_step']:.2f} {what}" for what in ("launches", "uploads", "downloads", "waits"))
        self.measured(f"{model}, a step asks the GPU for", counts)
        if lines[0]["waits_per_step"] > MOST_WAITS:
            raise Failed(f"the host waits for the GPU in every step: {counts} a step, at most {MOST_WAITS} waits are expected")
        return f"host: {told(host)}; GPU: {told(gpu)} ms; {counts} a step"

    def neighbour_sum(self):
        train = self.gowalla() / "train.txt"
        widths = "32,64" if self.small else "32,64,128,256"
        text = self.run(self.programs.path("benchmark_gpu"), self.device, train, widths)[1]
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        copy = next(line for line in lines if line["what"] == "copy")
        told = [f"a copy {copy['gb_per_s']:.0f} GB/s"]
        for width in widths.split(","):
            ours, torch = (next(line for line in lines if line["what"] == what and line["width"] == int(width))
                           for what in ("neighbour_sum", "torch CSR product"))
            told.append(f"{width} wide {ours['gb_per_s']:.0f} GB/s in {ours['ms']:.3f} ms "
                        f"(torch {torch['gb_per_s']:.0f}, {torch['ms'] / ours['ms']:.2f} times as long)")
            self.measured(f"neighbour_sum, {width} wide, {self.graph_name()}", told[-1].partition("wide ")[2])
        self.measured("copy of the device's memory", f"{copy['gb_per_s']:.0f} GB/s")
        return "; ".join(told)

    def peer(self):
        train = self.gowalla() / "train.txt"
        steps = 10 if self.small else 300
        text = self.run(sys.executable, BENCHMARKS / "lightgcn_peer.py", train, f"--device={self.device}",
                        f"--steps={steps}")[1]
        peer = json_in(text)
        if not peer["last_loss"] < peer["first_loss"]:
            raise Failed(f"the loop in torch does not learn: loss {peer['first_loss']:.4f} to {peer['last_loss']:.4f}")
        self.measured("LightGCN written in torch, a training step", f"{peer['ms_per_step']:.2f} ms on {self.graph_name()}")
        return f"{peer['ms_per_step']:.2f} ms a step on {self.graph_name()}, loss {peer['first_loss']:.4f} to " \
               f"{peer['last_loss']:.4f} in {steps} steps"

    def ranking(self):
        run_dir = self.work / "epoch-lightgcn"
        if not (run_dir / "checkpoints").exists():
            raise Skipped("there is no trained run, see the epoch of lightgcn")
        start = time.monotonic()
        metrics = self.work / "metrics.json"
        self.micrec("evaluate", f"--run_dir={run_dir}", "--checkpoint=newest", "--split=test", f"--device={self.device}",
                    f"--out={metrics}")
        seconds = time.monotonic() - start
        found = json.loads(metrics.read_text(encoding="utf-8"))
        self.measured("micrec evaluate, start to end", f"{seconds:.1f} s on {self.graph_name()}")
        return f"micrec evaluate takes {seconds:.1f} s from start to end on {self.graph_name()}; " \
               f"ndcg@20 {found['mean']['ndcg@20']:.4f}"

    def ranks_as_on_the_cpu(self):
        code, text = self.run(self.programs.path("benchmark_gpu_ranking"), expect=(0, 1))
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        told = []
        for line in lines:
            what = "with a linear term in" if line["linear"] else "by the product alone in"
            of_mixes = f", {line['mixes']} mixes at once" if line["mixes"] > 1 else ""
            told.append(f"{what} {line['ms']:.1f} ms{of_mixes} (the CPU takes {line['cpu_ms']:.0f})")
            self.measured(f"ranking 29,858 users of 40,981 items {told[-1].partition(' in ')[0]}{of_mixes}", f"{line['ms']:.1f} ms")
        sentence = f"29,858 users of 40,981 items, 64 columns: {'; '.join(told)}"
        if code != 0 or len(lines) != 3 or not all(line["equal"] for line in lines):
            raise Failed(f"counts differ from the CPU's: {sentence}; {last_line(text)}")
        return f"every count is the CPU's; {sentence}"

    def fits_as_on_the_cpu(self):
        """Item regression with the choice of its settings, by texts of 384 columns."""
        dataset = self.work / "texts.h5"
        size = (["--users=300", "--items=200", "--interactions=6000"] if self.small else
                ["--users=20000", "--items=10000", "--interactions=400000"])
        self.micrec("synth", f"--out={dataset}", *size, "--overlap=0.5", "--modalities=text:384", "--seed=6")
        digests, seconds = [], []
        for name, device in (("fit-cpu", "cpu"), ("fit-there", self.device)):
            run_dir = self.train(name, dataset, "--model=item_regression", device=device)
            digests.append(hashlib.sha256((run_dir / "item_regression.h5").read_bytes()).hexdigest())
            seconds.append(lines_of(run_dir, "fit")[-1]["seconds"])
        sentence = (f"item regression of a made-up data set with {size[1].split('=')[1]} items a domain and texts of 384 columns is fitted "
                    f"in {seconds[1]:.1f} s (the CPU takes {seconds[0]:.1f})")
        if digests[0] != digests[1]:
            raise Failed(f"item_regression.h5 has SHA-256 {digests[1]} there and {digests[0]} on the CPU; {sentence}")
        self.measured("fit of item regression with its settings", sentence.partition(" is fitted in ")[2])
        return f"the file has the CPU's SHA-256; {sentence}"

    def needs_ranks(self, ranks):
        if not self.options.rehearse and self.gpus < ranks and self.nccl < FIRST_NCCL_THAT_SHARES:
            raise Skipped(f"{self.gpus} GPUs, and NCCL {self.machine['NCCL']} does not let ranks share one (2.30 does)")

    def contract(self, ranks):
        self.needs_ranks(ranks)
        text = ""
        try:
            code, text = self.run(self.programs.path("mpirun"), *MPIRUN, ranks, self.programs.path("test_nccl_contract"),
                                  f"--gtest_filter={QUICK_CASES}", expect=None, more=SHARING)
        except Failed as late:
            done = (self.work / "printed").read_text(encoding="utf-8", errors="replace")
            failed = re.findall(r"\[  FAILED  \] (\S+)", done)
            raise Failed(f"{late}; until then {done.count('[       OK ]')} cases held and {len(set(failed))} did not")
        return f"{told_by_gtest(code, text)}; those that wait for a deadline were left out"

    def grids(self):
        flags = ["--batch=1024", "--lr=0.01", "--epochs=1000", "--max_steps=50", *MODELS["micrec"]]
        one, told = None, []
        for grid in ("1x1", "2x1", "1x2", "2x2"):
            ranks = int(grid[0]) * int(grid[2])
            if ranks > 1:
                self.needs_ranks(ranks)
            run_dir = self.train(f"grid-{grid}", self.world(), *flags, f"--grid={grid}", ranks=ranks, more=SHARING)
            one = one or run_dir
            if run_dir is one:
                continue
            apart = self.runs_apart(one, run_dir, 50)
            told.append(f"{grid} {apart.losses:.1e} and {apart.rows:.1e}")
            if not apart.is_close:
                raise Failed(f"losses and embeddings after 50 steps, apart from one rank's: {', '.join(told)}; "
                             f"{CLOSE:.0e} is allowed")
        return f"losses and embeddings after 50 steps, apart from one rank's: {', '.join(told)}"

    def killed_rank(self):
        self.needs_ranks(2)
        run_dir = self.work / "killed"
        kill = {}

        def watch():
            if kill or not (run_dir / "metrics.jsonl").exists() or len(lines_of(run_dir, "step")) < 3:
                return
            for pid in processes({MARK: str(os.getpid()), "OMPI_COMM_WORLD_RANK": "1"}, "micrec"):
                os.kill(pid, signal.SIGKILL)
                kill["at"] = time.monotonic()

        code, text = self.micrec("train", f"--dataset={self.world()}", f"--run_dir={run_dir}", f"--device={self.device}",
                                 *COMMON, "--max_steps=100000", "--epochs=100000", "--save_every_epochs=0", "--deadline=20",
                                 ranks=2, expect=None, more=SHARING, watch=watch)
        if not kill:
            raise Failed(f"the run ended with {code} before its rank was killed: {last_line(text)}")
        seconds = time.monotonic() - kill["at"]
        named = re.search(r"rank 1 of 2 was killed by signal 9[^;\n]*", text)
        if code != 5 or not named:
            raise Failed(f"exit code {code} after {seconds:.1f} s, expected 5 and 'rank 1 of 2 was killed by signal 9': "
                         f"{last_line(text)}")
        return f"exit code 5 after {seconds:.1f} s: {named.group(0)}"

    def all(self):
        self.step("versions", 240, self.versions, needs_gpu=False)
        self.step("kernels", 60, self.kernels, can_rehearse=False)
        for model in MODELS:
            self.step(f"{model} as on the CPU", 80, lambda model=model: self.as_on_the_cpu(model))
        self.step("resume", 60, self.resume)
        for model in ("lightgcn", "inmo"):
            self.step(f"epoch of {model}", 90, lambda model=model: self.epoch(model))
        self.step("neighbour_sum", 40, self.neighbour_sum)
        self.step("lightgcn in torch", 60, self.peer)
        self.step("ranking", 40, self.ranking)
        self.step("ranking as on the CPU", 60, self.ranks_as_on_the_cpu, can_rehearse=False)
        self.step("item regression as on the CPU", 60, self.fits_as_on_the_cpu)
        self.step("grids", 90, self.grids)
        self.step("killed rank", 60, self.killed_rank)
        for ranks in (2, 4):
            self.step(f"NCCL's contract, {ranks} ranks", 60, lambda ranks=ranks: self.contract(ranks), can_rehearse=False)
        for tool in ("memcheck", "racecheck"):
            self.step(tool, 90, lambda tool=tool: self.sanitize(tool), can_rehearse=False)
        if self.measurements:
            path = write_record(self.out, self.machine, self.measurements)
            self.say(path.read_text(encoding="utf-8"))

    def close(self):
        end_all()
        shutil.rmtree(self.work, ignore_errors=True)
        self.log.close()


MPIRUN = ["--oversubscribe", "--bind-to", "none", "-np"]  # Bound, two ranks would have two of the machine's cores.
SHARING = {"NCCL_MULTI_RANK_GPU_ENABLE": "1"}

ASK_TORCH = """
import ctypes, json, sys, torch
why_none, gpus = "", []
try:
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    if not gpus:
        torch.cuda.init()
except Exception as error:
    why_none = str(error).splitlines()[0].split(". ")[0]
version = ctypes.c_int(0)
try:
    ctypes.CDLL(sys.argv[1]).ncclGetVersion(ctypes.byref(version))
except (OSError, AttributeError):
    pass
print(json.dumps({"torch": torch.__version__, "nccl": version.value, "gpus": gpus, "why_none": why_none}))
"""


def last_line(text):
    """The line of an output that says most: the last that is not a launcher's epilogue."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"micrec|[Ee]rror|FAILED|what\(\)", line)
               and not re.match(r"frame #|mpirun", line)]
    return (telling or lines or ["nothing was printed"])[-1][:300]


def told_by_gtest(code, text):
    held, failed = text.count("[       OK ]"), sorted(set(re.findall(r"\[  FAILED  \] ([\w./]+)", text)))
    skipped = len(set(re.findall(r"\[  SKIPPED \] ([\w./]+) \(", text)))
    if code != 0 or failed:
        raise Failed(f"exit code {code}, {held} cases held, failed: {', '.join(failed) or last_line(text)}")
    if held == 0:
        raise Failed(f"no case ran: {last_line(text)}")
    return f"{held} cases held" + (f", {skipped} were skipped" if skipped else "")


def make_up_interactions(folder, users, items, interactions):
    """train.txt and test.txt with that many pairs, users and items as unequal as people and places are; a fifth is test."""
    draw = random.Random(1)
    per_user = interactions / users
    with open(folder / "train.txt", "w", encoding="ascii") as train, open(folder / "test.txt", "w", encoding="ascii") as test:
        for user in range(users):
            count = min(items // 2, max(5, int(per_user * draw.expovariate(1))))
            taste = draw.random()  # Near items are more likely, so that there is something to learn.
            chosen = {int(items * draw.random() ** 2) if draw.random() < 0.4 else int(items * ((taste + draw.gauss(0, 0.02)) % 1))
                      for _ in range(count)}
            chosen = draw.sample(sorted(chosen), len(chosen))
            kept = max(1, len(chosen) * 4 // 5)
            train.write(" ".join(map(str, [user, *sorted(chosen[:kept])])) + "\n")
            if chosen[kept:]:
                test.write(" ".join(map(str, [user, *sorted(chosen[kept:])])) + "\n")


def processes(variables, name=None):
    """Numbers of the processes that have these in their environment, and that name if one is given; never this one."""
    wanted = {f"{key}={value}".encode() for key, value in variables.items()}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # It has ended meanwhile, or is another user's.
            if not wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                continue
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            if name in (None, (entry / "comm").read_text().strip()):
                found.append(int(entry.name))
    return found


def end_all():
    """Ends what a command has left running: ranks have groups of their own, which outlive their mpirun's."""
    for _ in range(50):
        left = processes({MARK: str(os.getpid())})
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main():
    above = HERE.parent.parent
    parser = argparse.ArgumentParser(prog="check.sh", usage="check.sh [BUNDLE] [--out=FOLDER] [--gowalla=FOLDER] "
                                                           "[--seconds=480] [--rehearse]")
    parser.add_argument("bundle", nargs="?", type=Path, default=above if (above / "needs").exists() else above / "build")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--gowalla", type=lambda text: Path(text).resolve())
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    if options.rehearse:
        options.seconds = max(options.seconds, 1800)
    check = Check(options)
    try:
        check.all()
    finally:
        check.close()
    print(check.table(), end="")
    return int(any(row[1] == "FAILED" for row in check.rows))


if __name__ == "__main__":
    sys.exit(main())
