"""Serve a saved classifier over HTTP: labels, probabilities and flags for rows.

``POST /predict`` takes ``{"rows": [[5.1, 3.5, 1.4, 0.2], ...]}`` and answers with a
list for each of ``labels``, ``probabilities`` (in the order of ``classes``),
``epistemic``, ``ood`` and ``ood_pvalue``, and with the ``model`` (a hash of its file)
that gave them all. ``GET /health`` says what is served; ``GET /metrics`` counts, for
Prometheus.

Requests that arrive while others are predicted are predicted next, as one batch. A new
model saved to the same file is taken up within a second, between two batches; a damaged
one is refused, and the old one goes on. What a request can cost is bounded by `Limits`.
There are no users and no encryption: on a network, put it behind a proxy that has them.

Run: ``python serve.py MODEL.sksngp [--port 8000]`` (``pip install "sksngp[serve]"``)
"""

import argparse
import asyncio
import hashlib
import logging
import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from sksngp.ood import pvalues
from sksngp.persistence import FORMAT, load

LARGEST = float(np.finfo(np.float32).max)
log = logging.getLogger("uvicorn.error")  # where uvicorn says what it does


@dataclass(frozen=True)
class Limits:
    """Bounds on what requests can cost, together and each."""

    body_bytes: int = 2**20
    body_seconds: float = 10.0  # until a body has arrived
    rows: int = 1000  # of one request
    batch_rows: int = 1024  # a batch is full with so many
    waiting: int = 128  # requests; further ones are sent away
    connections: int = 512


Number = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)
]
Row = Annotated[list[Number], Field(fail_fast=True)]


class Question(BaseModel):
    """Body of a request; the first fault found ends the check."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[Row], Field(fail_fast=True, min_length=1)]


class ServedModel:
    """A classifier, alone or behind a pipeline's steps, and the hash of its file."""

    def __init__(self, path):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(path, Path(folder, "model"))  # it may be replaced
            model, self.digest = load(copy), digest_of(copy)
        model = getattr(model, "best_estimator_", model)  # of a search
        self.steps, self.classifier = None, model
        if hasattr(model, "steps"):
            self.steps, self.classifier = model[:-1], model[-1]
        if not hasattr(self.classifier, "ood_scores_"):
            raise ValueError(
                f"{path} holds a {type(model).__name__}; what can be served is a "
                "classifier of sksngp, alone or as the last step of a pipeline."
            )
        self.columns = model.n_features_in_
        self.names = getattr(model, "feature_names_in_", None)
        outputs = self.predict(np.zeros((1, self.columns)))  # TensorFlow is ready then
        try:
            JSONResponse(self.answer(outputs, slice(None)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} has labels that JSON cannot hold: {error}"
            ) from None

    def predict(self, rows):
        """All that an answer says of each row, as arrays."""
        X = rows if self.names is None else pd.DataFrame(rows, columns=self.names)
        X = self.steps.transform(X) if self.steps else X
        proba = self.classifier.predict_proba(X)
        score = -self.classifier.score_samples(X)
        return {
            "labels": self.classifier.classes_[proba.argmax(axis=1)],
            "probabilities": proba,
            "epistemic": self.classifier.predict_uncertainty(X, kind="epistemic"),
            "ood": score > self.classifier.ood_threshold_,
            "ood_pvalue": pvalues(score, self.classifier.ood_scores_),
        }

    def answer(self, outputs, part):
        """What some rows of a batch are answered with."""
        lists = {name: values[part].tolist() for name, values in outputs.items()}
        return lists | self.about()

    def answers(self, requests):
        """An answer for the rows of each request."""
        outputs = self.predict(np.concatenate(requests))
        ends = np.cumsum([len(rows) for rows in requests])
        return [
            self.answer(outputs, slice(end - len(rows), end))
            for rows, end in zip(requests, ends, strict=True)
        ]

    def about(self):
        return {"model": self.digest, "classes": self.classifier.classes_.tolist()}


class ModelFile:
    """The model in a file, and the next one when the file is replaced."""

    def __init__(self, path, metrics):
        self.path, self.metrics = Path(path), metrics
        self._tried = stamp_of(path)
        self.current = ServedModel(self.path)

    def refresh(self):
        """Take up a new file; keep the old model if the new one is no good."""
        stamp = stamp_of(self.path)
        if stamp in (None, self._tried):
            return
        try:
            self.current = ServedModel(self.path)
        except (OSError, MemoryError) as error:  # may pass: the next look tries again
            log.error("New model not read, %s goes on: %s", self.current.digest, error)
            return
        except Exception as error:  # whatever is wrong with it, the service goes on
            self.metrics.refused.inc()
            log.error("New model refused, %s goes on: %s", self.current.digest, error)
        else:
            self.metrics.replaced.inc()
            log.info("Model replaced by %s", self.current.digest)
        self._tried = stamp

    async def watch(self, every):
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.refresh)


def stamp_of(path):
    """What changes when a file is replaced or written to; None without a file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def digest_of(path):
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()


class Batcher:
    """Predicts all that waits at once, one batch after the other, in a thread."""

    def __init__(self, file, limits, metrics):
        self.file, self.limits, self.metrics = file, limits, metrics
        self.queue = asyncio.Queue(limits.waiting)
        metrics.waiting.set_function(self.queue.qsize)

    async def predict(self, rows):
        """Answer for rows, from one model; `asyncio.QueueFull` if too many wait."""
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((rows, answer))
        return await answer

    async def run(self):
        while True:
            batch = [await self.queue.get()]
            rows = len(batch[0][0])
            while rows < self.limits.batch_rows and not self.queue.empty():
                batch.append(self.queue.get_nowait())
                rows += len(batch[-1][0])
            self.metrics.batch_rows.observe(rows)
            await self._answer(batch)
            for _ in batch:
                self.queue.task_done()

    async def _answer(self, batch):
        model = self.file.current  # for all of the batch, whatever comes meanwhile
        try:
            answers = await asyncio.to_thread(
                model.answers, [rows for rows, _ in batch]
            )
        except Exception as error:
            if len(batch) > 1:  # whose fault is it?
                for request in batch:
                    await self._answer([request])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():  # its client may have left
                waiting.set_result(answer)


class Metrics:
    """Counts for Prometheus."""

    def __init__(self):
        self.registry = CollectorRegistry()
        to = {"namespace": "sksngp", "registry": self.registry}
        self.requests = Counter("requests", "Requests, by status", ["status"], **to)
        self.seconds = Histogram("request_seconds", "From request to answer", **to)
        sizes = [4**power for power in range(7)]
        self.batch_rows = Histogram("batch_rows", "Rows at once", buckets=sizes, **to)
        self.waiting = Gauge("waiting", "Requests that wait", **to)
        self.replaced = Counter("models_replaced", "New models taken up", **to)
        self.refused = Counter("models_refused", "New models that are no good", **to)


async def read_body(request, limits):
    """Read a body, and no more than it may hold, whatever its header says."""
    body, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body_bytes:
                    body.append(chunk)
                elif size > 4 * limits.body_bytes:
                    break  # till here it is thrown away: who still sends reads nothing
    except TimeoutError:
        raise refusal(408, f"A body has {limits.body_seconds:g} s to arrive.") from None
    except ClientDisconnect:
        raise refusal(400, "The body ended early.") from None
    if size > limits.body_bytes:
        raise refusal(413, f"A body may have {limits.body_bytes} bytes.")
    return b"".join(body)


def read_rows(body, columns, limits):
    """Rows of a request, or a refusal that says which number is wrong."""
    # Before it is parsed, which takes long for as many lists as a body can hold.
    if body.count(b"[") > limits.rows + 1 or body.count(b",") > limits.rows * columns:
        bound = f"A request may have {limits.rows} rows of {columns} numbers."
        raise HTTPException(413, bound)
    try:
        rows = Question.model_validate_json(body).rows
    except ValidationError as faults:
        fault = faults.errors(include_url=False, include_input=False)[0]
        status = 400 if fault["type"] == "json_invalid" else 422
        raise HTTPException(status, place(fault["loc"]) + fault["msg"]) from None
    for number, row in enumerate(rows):
        if len(row) != columns:
            has = f"rows[{number}] has {len(row)} numbers"
            raise HTTPException(422, f"{has}; the model has {columns} columns.")
    return np.array(rows)


def refusal(status, reason):
    """Refuse the rest of a body too: the connection is closed."""
    return HTTPException(status, reason, {"Connection": "close"})


def place(location):
    """('rows', 2, 1) as "rows[2][1]: "."""
    text = "".join(f"[{p}]" if isinstance(p, int) else str(p) for p in location)
    return f"{text}: " if text else ""


def create_app(path, *, limits=Limits(), poll=1.0):
    """Application that serves the model in a file, looked at every `poll` seconds."""
    metrics = Metrics()
    file = ModelFile(path, metrics)
    batcher = Batcher(file, limits, metrics)

    @asynccontextmanager
    async def lifespan(app):
        tasks = [asyncio.create_task(batcher.run())]
        tasks.append(asyncio.create_task(file.watch(poll)))
        yield
        await batcher.queue.join()  # what was accepted is answered
        for task in tasks:
            task.cancel()

    app = FastAPI(title="sksngp", lifespan=lifespan)

    async def answer(request):
        rows = read_rows(await read_body(request, limits), file.current.columns, limits)
        try:
            return await batcher.predict(rows)
        except asyncio.QueueFull:
            reason = f"{limits.waiting} requests wait already; try again."
            raise HTTPException(503, reason, {"Retry-After": "1"}) from None
        except ValueError as error:  # what only the model can see
            raise HTTPException(422, str(error)) from None

    body = {"content": {"application/json": {"schema": Question.model_json_schema()}}}

    @app.post("/predict", openapi_extra={"requestBody": body})
    async def predict(request: Request) -> Response:
        status = 500
        try:
            with metrics.seconds.time():
                response = JSONResponse(await answer(request))
            status = 200
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            metrics.requests.labels(status).inc()
        return response

    @app.get("/health")
    async def health() -> dict:
        model = file.current
        kind = type(model.classifier).__name__
        about = {"classifier": kind, "columns": model.columns, "format": FORMAT}
        return {"status": "ok", **about, **model.about()}

    @app.get("/metrics")
    async def counts() -> Response:
        text = exposition.generate_latest(metrics.registry)
        return Response(text, media_type=exposition.CONTENT_TYPE_LATEST)

    return app


def main():
    parser = argparse.ArgumentParser(description="Serve a saved model over HTTP.")
    parser.add_argument("model", help="file written by sksngp.persistence.save")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between looks")
    options = parser.parse_args()
    try:
        app = create_app(options.model, poll=options.poll)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        access_log=False,
        limit_concurrency=Limits.connections,
        timeout_graceful_shutdown=30,  # seconds for what was accepted
    )


if __name__ == "__main__":
    main()
