#!/usr/bin/env python3
"""Makes the bundle, unpacks it elsewhere and runs it where nothing of this system is in reach.

    bundle_test.py SOURCE_FOLDER BUILD_FOLDER TORCH_FOLDER

As root the programs run in a root folder of their own, with the C and C++ libraries, a shell and torch's libraries and
nothing else, seen through mounts of a name space that ends with the test. Elsewhere they run with an empty environment.
Then tests/gpu/check.sh runs from the bundle. Exit code 77, with the reason, where a tool to make a bundle is missing.
"""

import os
import platform
import re
import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from programs import call, folder_for, lines_of, run  # noqa: E402

MOST_BYTES = 40 << 20
LIBRARIES = ["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
             "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6"]  # the last two are torch's own needs
SYNTH = ["--users=160", "--items=90", "--interactions=2400", "--modalities=text:12", "--seed=5", "--threads=1"]
TRAIN = ["--dim=16", "--batch=512", "--lr=0.01", "--max_steps=5", "--log_every=1", "--validate_every=0", "--threads=1",
         "--device=cpu", "--seed=2"]

SOURCE, BUILD, TORCH = (Path(path).resolve() for path in sys.argv[1:4])


def library(name):
    """Where this system has it."""
    listed = run("ldconfig", "-p", env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}).stdout
    found = re.search(rf"^\s*{re.escape(name)} \(.*x86-64.*\) => (\S+)", listed, re.MULTILINE)
    return found and Path(found.group(1)).resolve()


class Bare:
    """A root folder with the bundle in /opt/bundle, the torch in /opt/torch, and what a system cannot be without."""

    def __init__(self, folder, bundle):
        self.root = folder / "root"
        for name in ("bin", "dev", "etc", "lib64", "proc", "sys", "tmp", "opt/packages/torch", "opt/packages/nvidia", "lib"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc" / "passwd").write_text("root:x:0:0::/tmp:/bin/sh\n", encoding="ascii")
        (self.root / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
        shutil.copytree(bundle, self.root / "opt" / "bundle", symlinks=True)
        shutil.copy(Path("/bin/sh").resolve(), self.root / "bin" / "sh")
        for name in LIBRARIES:
            if found := library(name):
                shutil.copy(found, self.root / ("lib64" if name.startswith("ld-") else "lib") / name)
        mounts = [("/dev", "dev", "--rbind"), ("/proc", "proc", "--rbind"), ("/sys", "sys", "--rbind"),
                  (TORCH, "opt/packages/torch", "--bind"), (TORCH.parent / "nvidia", "opt/packages/nvidia", "--bind")]
        self.mounts = [f"mount {how} '{what}' '{self.root / where}'" for what, where, how in mounts if Path(what).exists()]

    def run(self, *words, expect=0):
        inside = " ".join(f"'{word}'" for word in ("/opt/bundle/bin/" + str(words[0]), *map(str, words[1:])))
        script = " && ".join([*self.mounts, f"exec chroot '{self.root}' /bin/sh -c \"cd /tmp && exec {inside}\""])
        return run("unshare", "--mount", "--propagation=private", "sh", "-c", script, expect=expect, env={
            "PATH": os.environ["PATH"], "HOME": "/tmp", "MICREC_TORCH": "/opt/packages/torch", "OMP_NUM_THREADS": "1",
            "LD_LIBRARY_PATH": "/lib", **MPI})

    def path(self, name):
        return self.root / "tmp" / name


class EmptyEnvironment:
    def __init__(self, folder, bundle):
        self.folder, self.bundle = folder, bundle

    def run(self, *words, expect=0):
        return run(self.bundle / "bin" / words[0], *(str(word).replace("/opt/bundle/", f"{self.bundle}/") for word in words[1:]),
                   expect=expect, cwd=self.folder, env={"MICREC_TORCH": str(TORCH), "OMP_NUM_THREADS": "1", **MPI})

    def path(self, name):
        return self.folder / name


MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
       "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


class BundleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = folder_for(cls, "bundle")
        cls.packed = cls.folder / "bundle.tar.zst"
        run(SOURCE / "launcher" / "bundle.sh", cls.packed, f"--build={BUILD}")
        elsewhere = cls.folder / "some where else"
        elsewhere.mkdir()
        run("tar", "--use-compress-program=zstd", "-xf", cls.packed, "-C", elsewhere)
        cls.bundle = elsewhere / "bundle"
        can_mount = os.geteuid() == 0 and call("unshare", "--mount", "true").returncode == 0
        cls.place = Bare(cls.folder, cls.bundle) if can_mount else EmptyEnvironment(cls.folder, cls.bundle)
        print("in a root folder of its own" if can_mount else "with an empty environment: no right to mount and chroot")

    def losses(self, run_dir):
        return [line["loss"] for line in lines_of(self.place.path(run_dir), "step")]

    def test_it_is_small_and_looks_for_its_libraries_in_itself_alone(self):
        self.assertLess(self.packed.stat().st_size, MOST_BYTES)
        files = [file for file in self.bundle.rglob("*") if file.is_file() and (file.parent.name == "libexec" or ".so" in file.name)]
        self.assertGreater(len(files), 50)
        described = run("readelf", "-d", *files).stdout
        self.assertEqual(described.count("(RPATH)"), len(files))
        self.assertNotIn("(RUNPATH)", described)
        self.assertEqual(set(re.findall(r"Library rpath: \[(.*)\]", described)),
                         {"$ORIGIN/../lib", "$ORIGIN", "$ORIGIN/.."})

    def test_it_tells_its_version(self):
        self.assertIn("Open MPI", self.place.run("micrec", "--version").stdout)

    def test_it_trains_on_one_rank_and_under_its_own_mpirun_on_two(self):
        self.place.run("micrec", "synth", "--out=world.h5", *SYNTH)
        self.place.run("micrec", "train", "--dataset=world.h5", "--run_dir=one", *TRAIN)
        said = self.place.run("mpirun", "--oversubscribe", "-np", "2", "/opt/bundle/bin/micrec", "train", "--dataset=world.h5",
                              "--run_dir=two", *TRAIN).stderr
        self.assertRegex(said, r"(?m)^ranks +2 ")
        one, two = self.losses("one"), self.losses("two")
        self.assertEqual(len(one), 5)
        for a, b in zip(one, two, strict=True):
            self.assertAlmostEqual(b / a, 1, delta=1e-5)

    def test_it_refuses_another_torch_and_an_old_c_library_in_a_sentence(self):
        environment = {**os.environ, "MICREC_TORCH": str(self.folder / "torch")}
        (self.folder / "torch" / "lib").mkdir(parents=True, exist_ok=True)
        (self.folder / "torch" / "lib" / "libtorch_cpu.so").touch()
        (self.folder / "torch" / "version.py").write_text("__version__ = '2.4.1+cpu'\n", encoding="ascii")
        self.assertRegex(run(self.bundle / "bin" / "micrec", "--version", expect=5, env=environment).stderr,
                         r"^micrec: this bundle was built for torch \S+ and .* is torch 2\.4\.1\+cpu; .*\n$")
        environment["MICREC_TORCH"] = str(self.folder / "nothing")
        self.assertRegex(run(self.bundle / "bin" / "micrec", "--version", expect=2, env=environment).stderr,
                         r"^micrec: MICREC_TORCH=\S+ holds no torch .*\n$")
        newer = self.folder / "newer"
        shutil.copytree(self.bundle, newer, symlinks=True)
        needs = (newer / "needs").read_text(encoding="ascii")
        (newer / "needs").write_text(re.sub(r"glibc=.*", "glibc=2.999", needs), encoding="ascii")
        environment["MICREC_TORCH"] = str(TORCH)
        self.assertRegex(run(newer / "bin" / "micrec", "--version", expect=5, env=environment).stderr,
                         r"^micrec: this bundle needs glibc 2\.999 or newer and this machine has .*\n$")

    def test_it_may_be_called_through_a_link(self):
        (self.folder / "links").mkdir()
        for name in ("micrec", "mpirun"):
            link = self.folder / "links" / name
            link.symlink_to(self.bundle / "bin" / name)
            self.assertIn(name, run(link, "--version", env={**os.environ, "MICREC_TORCH": str(TORCH)}).stdout)

    def test_it_brings_the_check_of_a_gpu_machine(self):
        out = self.folder / "check"
        environment = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
        table = run(self.bundle / "tests" / "gpu" / "check.sh", f"--out={out}", env=environment).stdout
        self.assertEqual(table, (out / "table.txt").read_text(encoding="utf-8"))
        self.assertRegex(table, r"(?m)^versions +ok .* the loader finds all libraries$")
        self.assertRegex(table, r"(?m)^kernels +skipped .* no GPU")
        self.assertRegex(table, r"(?m)^1 ok, 0 failed, \d\d skipped, in \d+ s$")
        self.assertIn("$ ", (out / "check.log").read_text(encoding="utf-8"))


if __name__ == "__main__":
    if platform.machine() != "x86_64":
        print("Skipped: bundles are for x86-64")
        sys.exit(77)
    for tool in ("patchelf", "zstd"):
        if not shutil.which(tool):
            print(f"Skipped: there is no {tool} (launcher/setup.sh installs it)")
            sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
