"""Throughput, latency and correctness of the HTTP service under load.

Run ``python -m benchmarks.service_load`` (less than a minute; ``--seconds`` sets the
time of each of the four measurements). The service ``examples/serve.py`` runs in a
process of its own on a free port. 1, 8 and 64 clients send one request after the other
over persistent connections; each request has one to eight rows of digits. In the last
measurement, 8 clients send requests while two models replace each other in the file of
the service. Each model remains until it has answered a request.

Each answer contains the hash of a model. All of its values are compared with the
predictions of that model in this process. The exit status is 1 if any value differs or
if the service does not load a new model. The clients run on the same cores as the
service, so that the measured throughput is a lower bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from benchmarks._tools.printing import print_header, table
from benchmarks._tools.timing import ROOT
from examples.serve import ServedModel, digest_of
from sksngp import SNGPClassifier
from sksngp.persistence import save

CLIENTS = (1, 8, 64)
MAX_ROWS = 8  # of a request
TIMEOUT = 120.0  # seconds, sufficient on a busy machine
PER_ROW = ("labels", "probabilities", "epistemic", "ood", "ood_pvalue")


@dataclass
class Tally:
    """Counts and latencies of one measurement."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    rows: int = 0
    refused: int = 0
    wrong: int = 0
    replaced: int = 0
    models: Counter = field(default_factory=Counter)

    def cells(self) -> list[str]:
        """Format the row of the table."""
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1000
        rates = [len(self.latencies) / self.seconds, self.rows / self.seconds]
        return [
            *(f"{rate:.0f}" for rate in rates),
            *(f"{quantile:.1f}" for quantile in (p50, p99)),
            str(self.refused),
            str(self.wrong),
        ]


class Connection:
    """Minimal HTTP/1.1 client with a persistent connection."""

    def __init__(self, port: int):
        self.port = port

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self.port
        )
        return self

    async def __aexit__(self, *error):
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        answer = await self._reader.readexactly(int(length[1]))
        return int(head.split(b" ", 2)[1]), answer


class Expected:
    """Predictions of the models for all rows that clients may send."""

    def __init__(self, X: np.ndarray, paths: list[Path]):
        self.X, self._answers = X.tolist(), {}
        for path in paths:
            model = ServedModel(path)
            outputs = {key: out.tolist() for key, out in model.predict(X).items()}
            self._answers[model.digest] = outputs, model.about()["classes"]

    def holds(self, chosen: np.ndarray, answer: dict) -> bool:
        """Return whether an answer equals, bit for bit, that of the model it names."""
        if answer["model"] not in self._answers:
            return False
        outputs, classes = self._answers[answer["model"]]
        return answer["classes"] == classes and all(
            answer[key] == [outputs[key][row] for row in chosen] for key in PER_ROW
        )


async def client(
    port: int, seed: int, expected: Expected, tally: Tally, stop: asyncio.Event
) -> None:
    """Send requests and check the answers until `stop` is set."""
    rng = np.random.default_rng(seed)
    async with Connection(port) as connection:
        while not stop.is_set():
            chosen = rng.integers(len(expected.X), size=rng.integers(1, MAX_ROWS + 1))
            rows = [expected.X[row] for row in chosen]
            question = json.dumps({"rows": rows}).encode()
            start = time.perf_counter()
            status, body = await connection.post("/predict", question)
            elapsed = time.perf_counter() - start
            if status == 503:
                tally.refused += 1
                await asyncio.sleep(0.01)
                continue
            if status != 200:
                raise RuntimeError(f"status {status}: {body.decode()}")
            answer = json.loads(body)
            tally.latencies.append(elapsed)
            tally.rows += len(chosen)
            tally.models[answer["model"]] += 1
            tally.wrong += not expected.holds(chosen, answer)


async def load(
    port: int,
    clients: int,
    expected: Expected,
    meanwhile: Callable[[Tally], Coroutine],
) -> Tally:
    """Send requests from several clients until `meanwhile` ends."""
    tally, stop, start = Tally(), asyncio.Event(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for seed in range(clients):
            group.create_task(client(port, seed, expected, tally, stop))
        await meanwhile(tally)
        stop.set()
    tally.seconds = time.perf_counter() - start
    return tally


def for_seconds(seconds: float) -> Callable[[Tally], Coroutine]:
    """Return a coroutine that waits for a time, and for at least one answer."""

    async def wait(tally):
        await asyncio.sleep(seconds)
        await _until(lambda: tally.latencies)

    return wait


def replacing(
    path: Path, others: list[Path], seconds: float, every: float
) -> Callable[[Tally], Coroutine]:
    """Return a coroutine that atomically replaces a file by others in turn."""

    async def replace(tally):
        end = time.perf_counter() + seconds
        for other in cycle(others):
            scratch = path.with_suffix(".new")
            shutil.copyfile(other, scratch)
            os.replace(scratch, path)
            tally.replaced += 1
            digest = digest_of(other)
            before = tally.models[digest]
            await asyncio.sleep(every)
            await _until(lambda: tally.models[digest] > before)  # noqa: B023
            if time.perf_counter() > end and tally.replaced > 1:
                return

    return replace


async def _until(condition, seconds=TIMEOUT):
    """Wait until a condition holds; raise TimeoutError if it takes too long."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@contextmanager
def service(path: Path, log: Path, poll: float = 0.05) -> Iterator[int]:
    """Run the service in a process of its own; yield its port.

    Raises
    ------
    RuntimeError
        If the service does not start or ends with an error. The message contains its
        output.
    """
    command = [sys.executable, ROOT / "examples" / "serve.py", path]
    command += ["--port", "0", "--poll", str(poll)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment
        )
    try:
        yield _port(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
    if process.returncode not in (0, -signal.SIGTERM):
        raise RuntimeError(log.read_text())


def _port(process, log):
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"The service did not start:\n{log.read_text()}")


def measure(folder: Path, seconds: float) -> dict[str, Tally]:
    """Fit two models on digits and serve them; return a tally per measurement."""
    X, y = load_digits(return_X_y=True)
    files = [folder / "first.sksngp", folder / "second.sksngp"]
    for seed, path in enumerate(files):
        clf = SNGPClassifier(epochs=5, num_inducing=256, random_state=seed)
        save(clf.fit(X[:1000], y[:1000]), path)
    served = folder / "served.sksngp"
    shutil.copyfile(files[0], served)
    expected = Expected(X[1000:], files)
    with service(served, folder / "log") as port:

        def line(clients, meanwhile):
            return asyncio.run(load(port, clients, expected, meanwhile))

        line(8, for_seconds(min(1.0, seconds)))  # warm-up
        lines = {str(n): line(n, for_seconds(seconds)) for n in CLIENTS}
        every = min(0.5, seconds / 4)
        tally = line(8, replacing(served, files[::-1], seconds, every))
    return lines | {f"8, model replaced {tally.replaced} times": tally}


def main() -> int:
    """Print the table; return 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of each measurement"
    )
    options = parser.parse_args()
    if not options.seconds > 0:
        parser.error(f"--seconds must be above 0, got {options.seconds:g}")
    print_header()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), options.seconds)
    header = ["clients", "requests/s", "rows/s", "p50 ms", "p99 ms", "refused", "wrong"]
    print(table(header, [[name, *tally.cells()] for name, tally in lines.items()]))
    return int(any(tally.wrong for tally in lines.values()))


if __name__ == "__main__":
    sys.exit(main())
