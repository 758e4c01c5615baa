"""Throughput, latency and wrong answers of ``examples/serve.py`` under load.

Run ``python -m benchmarks.load`` (under a minute; ``--seconds`` for each of the four
lines). The service runs in a process of its own on a free port of this machine, and
1, 8 and 64 clients each send request after request of one to eight rows of digits, over
connections that they keep. Then 8 clients do so while two models replace each other in
the service's file; each stays until it has answered.

Every answer is compared, number by number, with what the model whose hash it carries
predicts here for the same rows. The exit status is 1 if one differs or if a new model
isn't taken up. The clients compute on the same cores as the service, so the figures are
lower bounds.
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

from benchmarks.report import table
from benchmarks.timing import ROOT
from examples.serve import ServedModel, digest_of
from sksngp import SNGPClassifier
from sksngp.persistence import save

CLIENTS = (1, 8, 64)
LARGEST = 8  # rows of a request
PATIENCE = 120.0  # seconds for what takes one, but on a busy machine
PER_ROW = ("labels", "probabilities", "epistemic", "ood", "ood_pvalue")


@dataclass
class Tally:
    """What the clients of one line saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    rows: int = 0
    refused: int = 0
    wrong: int = 0
    replaced: int = 0
    models: Counter = field(default_factory=Counter)

    def cells(self) -> list[str]:
        """The line of the table."""
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1000
        rates = [len(self.latencies) / self.seconds, self.rows / self.seconds]
        return [
            *(f"{rate:.0f}" for rate in rates),
            *(f"{quantile:.1f}" for quantile in (p50, p99)),
            str(self.refused),
            str(self.wrong),
        ]


class Connection:
    """One kept HTTP/1.1 connection; as little of a client as the service needs."""

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
        """Status and body of the answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        answer = await self._reader.readexactly(int(length[1]))
        return int(head.split(b" ", 2)[1]), answer


class Expected:
    """What the models predict for the rows that clients choose from."""

    def __init__(self, X: np.ndarray, paths: list[Path]):
        self.X, self._answers = X.tolist(), {}
        for path in paths:
            model = ServedModel(path)
            outputs = {key: out.tolist() for key, out in model.predict(X).items()}
            self._answers[model.digest] = outputs, model.about()["classes"]

    def holds(self, chosen: np.ndarray, answer: dict) -> bool:
        """Whether an answer is, to the last bit, that of the model it names."""
        if answer["model"] not in self._answers:
            return False
        outputs, classes = self._answers[answer["model"]]
        return answer["classes"] == classes and all(
            answer[key] == [outputs[key][row] for row in chosen] for key in PER_ROW
        )


async def client(
    port: int, seed: int, expected: Expected, tally: Tally, stop: asyncio.Event
) -> None:
    """Send request after request and check the answers, until it is told to stop."""
    rng = np.random.default_rng(seed)
    async with Connection(port) as connection:
        while not stop.is_set():
            chosen = rng.integers(len(expected.X), size=rng.integers(1, LARGEST + 1))
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
    """Drive the service with some clients for as long as something else goes on."""
    tally, stop, start = Tally(), asyncio.Event(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for seed in range(clients):
            group.create_task(client(port, seed, expected, tally, stop))
        await meanwhile(tally)
        stop.set()
    tally.seconds = time.perf_counter() - start
    return tally


def for_seconds(seconds: float) -> Callable[[Tally], Coroutine]:
    """Nothing else goes on for some seconds, and longer if no answer has come."""

    async def wait(tally):
        await asyncio.sleep(seconds)
        await _until(lambda: tally.latencies)

    return wait


def replacing(
    path: Path, others: list[Path], seconds: float, every: float
) -> Callable[[Tally], Coroutine]:
    """Put copies of other files in a file's place in turn, each as a whole."""

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


async def _until(condition, patience=PATIENCE):
    """Wait for what a busy machine may delay, but not for ever."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.02)


@contextmanager
def service(path: Path, log: Path, poll: float = 0.05) -> Iterator[int]:
    """Run the service in a process of its own; the port that it listens at.

    Raises
    ------
    RuntimeError
        If it does not start, or does not end well: with what it said.
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
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"The service did not start:\n{log.read_text()}")


def measure(folder: Path, seconds: float) -> dict[str, Tally]:
    """Fit two models on digits, serve them and drive the service: a tally a line."""
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

        line(8, for_seconds(min(1.0, seconds)))  # off the clock
        lines = {str(n): line(n, for_seconds(seconds)) for n in CLIENTS}
        every = min(0.5, seconds / 4)
        tally = line(8, replacing(served, files[::-1], seconds, every))
    return lines | {f"8, model replaced {tally.replaced} times": tally}


def main() -> int:
    """Print the table; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description="Drive the service with clients.")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line")
    options = parser.parse_args()
    if not options.seconds > 0:
        parser.error(f"--seconds must be above 0, got {options.seconds:g}")
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), options.seconds)
    header = ["clients", "requests/s", "rows/s", "p50 ms", "p99 ms", "refused", "wrong"]
    print(table(header, [[name, *tally.cells()] for name, tally in lines.items()]))
    return int(any(tally.wrong for tally in lines.values()))


if __name__ == "__main__":
    sys.exit(main())
