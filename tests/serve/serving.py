"""What the tests of the server share: a small trained run, and the server as a process."""

import http.client
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import programs  # noqa: E402
from programs import SECONDS, environment  # noqa: E402

SYNTH = ["--users=120", "--items=80", "--interactions=2400", "--modalities=text:6", "--seed=5", "--threads=1"]
TRAIN = ["--dim=8", "--layers=2", "--batch=256", "--lr=0.01", "--validate_every=0", "--threads=1", "--seed=2",
         "--patience=0", "--semantic_neighbors=3", "--max_steps=12"]


def run(program, *words):
    """Runs a command to its end and returns what it printed; its failure is the test's."""
    return programs.run(program, *words).stdout


class World:
    """A folder with a data set and a run trained on it. `with World(program) as world` removes it."""

    def __init__(self, program):
        self.program = str(Path(program).resolve())
        self.folder = Path(tempfile.mkdtemp(prefix="micrec-serve-"))
        self.dataset = self.folder / "sample.h5"
        self.run_dir = self.folder / "run"

    def __enter__(self):
        run(self.program, "synth", f"--out={self.dataset}", *SYNTH)
        run(self.program, "train", f"--dataset={self.dataset}", f"--run_dir={self.run_dir}", *TRAIN)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def domains(self):
        """Their names, and the keys of users and items of each."""
        import h5py
        with h5py.File(self.dataset) as file:
            return {name: {side: [key.decode() for key in group[side]["key"][:]] for side in ("users", "items")}
                    for name, group in file["domains"].items()}


class Server:
    """micrec serve on a free port. `with` ends it by SIGKILL if nothing else did."""

    def __init__(self, world, *words, token=None, run_dir=None, file_bytes=None):
        self.token = token

        def limit_files():
            if file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        self.process = subprocess.Popen(
            [world.program, "serve", f"--run_dir={run_dir or world.run_dir}", "--port=0", "--threads=2", *words],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment(), preexec_fn=limit_files)
        self.said = []
        self.port = None
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"listening on http://[^ ]*:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            self.process.wait(timeout=SECONDS)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)

    def __enter__(self):
        assert self.port, "".join(self.said)
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=SECONDS)
        self.reader.join(timeout=SECONDS)

    def end(self):
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=SECONDS)

    def client(self):
        return Client(self.port, self.token)

    def ask(self, path, body=None, **more):
        """Status and JSON of one request, on a connection of its own."""
        client = self.client()
        try:
            return client.ask(path, body, **more)
        finally:
            client.close()


class Client:
    """One connection that stays open."""

    def __init__(self, port, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def close(self):
        self.connection.close()

    def ask(self, path, body=None, method=None, headers=None):
        sent = dict(self.headers)
        if body is not None:
            sent["Content-Type"] = "application/json"
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method or ("GET" if body is None else "POST"), path, body, {**sent, **(headers or {})})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.getheader("Content-Type") == "application/json" and text:
            return answer.status, json.loads(text)
        return answer.status, text.decode()
