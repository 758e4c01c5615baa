"""Serve a saved classifier over HTTP: labels, probabilities and OOD flags of rows.

``POST /predict`` accepts ``{"rows": [[5.1, 3.5, 1.4, 0.2], ...]}``. Models that were
fitted on dataframes also accept ``{"records": [{"age": 35, "job": "nurse"}, ...]}``,
with the names of the columns. Models with columns of text accept records only. The
answer contains one list for each of ``labels``, ``probabilities`` (in the order of
``classes``), ``epistemic``, ``ood`` and ``ood_pvalue``, and the ``model`` (the hash of
its file) that computed them. ``GET /health`` describes the model, ``GET /metrics``
provides counts for Prometheus, and ``GET /openapi.json`` describes the requests that
the model accepts.

A `DriftMonitor` receives the OOD scores of all predicted rows, in the order of the
answers. If the model has held-out scores, ``/metrics`` reports the monitor, with the
hash of the model as the label ``model``:

- ``sksngp_drift_log_martingale`` is the natural logarithm of the value of the monitor.
  It increases while rows are more unusual than the held-out rows and the earlier rows.
  It is ``+Inf`` beyond about 709.
- ``sksngp_drift_rows_total`` is the number of rows that the monitor has received.
- ``sksngp_drift_alarm`` is 1 once the value has reached 100, and 0 before. Without
  drift, at most one model in a hundred ever raises an alarm. This holds for separate
  observations: a client that repeats an unusual row causes an alarm.

A new model starts with a new monitor. An error of the monitor is logged and does not
affect the answers.

Requests that arrive during a prediction wait and are then predicted as one batch. A
batch contains either requests with ``rows`` or requests with ``records``, all for one
model: the model that validates a request also predicts it. If the file is replaced, the
new model is first loaded and tested in a process of its own, with limits of time and
memory. Meanwhile, the old model answers. If the new model is rejected, the old model
remains, and ``GET /health`` reports the reason. `Limits` bounds the cost of requests.
The service has no users and no encryption: in a network, run it behind a proxy that
provides them.

Run: ``python serve.py MODEL.sksngp [--port 8000]``, after ``pip install ".[serve]"`` in
a checkout.
"""

import argparse
import asyncio
import gc
import hashlib
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.feature_extraction.text import CountVectorizer
from starlette.requests import ClientDisconnect

from sksngp import DriftMonitor
from sksngp._data.projection import BLOCK_SIZES
from sksngp._pipelines import find
from sksngp._runtime.blas import one_thread
from sksngp._tensorflow import backend
from sksngp._uncertainty.conformal import pvalues
from sksngp.persistence import FORMAT, load

LARGEST = float(np.finfo(np.float32).max)
SCALABLE = 1e30  # for numbers of records, which a pipeline may scale
log = logging.getLogger("uvicorn.error")  # the log of uvicorn


@dataclass(frozen=True)
class Limits:
    """Bounds of the cost of requests, individually and in total."""

    body_bytes: int = 2**20
    body_seconds: float = 10.0  # time until a body has arrived
    rows: int = 1000  # of a request
    batch_rows: int = 1024  # a batch with this many rows is full
    waiting: int = 128  # requests; more are rejected
    connections: int = 512
    load_seconds: float = 120.0  # time to load and test a new model
    load_bytes: int = 2**31  # memory for this, plus four times the size of the file


Number = Annotated[
    float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)
]
Row = Annotated[list[Number], Field(fail_fast=True)]


class Rows(BaseModel):
    """Body of a request with rows; validation ends at the first error."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[Row], Field(fail_fast=True, min_length=1)]


Cell = Annotated[float | str | bool | None, Field(union_mode="left_to_right")]


class Records(BaseModel):
    """Body of a request with records."""

    model_config = ConfigDict(extra="forbid", strict=True)
    records: Annotated[list[dict[str, Cell]], Field(fail_fast=True, min_length=1)]


class Answer(BaseModel):
    """Predictions of all rows of a request."""

    model: str
    classes: list[Any]
    labels: list[Any]
    probabilities: list[list[float]]
    epistemic: list[float]
    ood: list[bool]
    ood_pvalue: list[float]


class Refusal(BaseModel):
    """Reason why a request is rejected."""

    detail: str


@dataclass
class Column:
    """Values that a column of a model accepts.

    `values` contains the categories of an encoder that rejects all others.
    """

    name: str | None
    example: Any = 0.0
    values: list[Any] | None = None
    nullable: bool = False

    @property
    def is_text(self):
        return isinstance(self.example, str)

    def fault(self, value):
        """Return why a value is invalid, or None if it is valid."""
        if value is None:
            return None if self.nullable else "must not be null"
        if self.values is not None:
            known = value in self.values and isinstance(
                value, str | bool
            ) == isinstance(self.example, str | bool)
            return None if known else "is a value that the model does not know"
        if isinstance(value, bool):
            return "must not be true or false"
        if self.is_text != isinstance(value, str):
            return f"must be {'text' if self.is_text else 'a number'}"
        if not self.is_text and not -SCALABLE <= value <= SCALABLE:
            return f"must be a finite number within {SCALABLE:g} of 0"
        return None

    def schema(self):
        """Return the OpenAPI schema of the values."""
        if self.values is not None:
            return {"enum": self.values + [None] * self.nullable}
        kind = {"type": "string"} if self.is_text else number_schema(SCALABLE)
        return {"anyOf": [kind, {"type": "null"}]} if self.nullable else kind


def number_schema(largest):
    return {"type": "number", "minimum": -largest, "maximum": largest}


def columns_of(model):
    """Return the columns that a model was fitted on, as described by transformers."""
    steps = [step for _, step in getattr(model, "steps", [])]
    if not hasattr(model, "n_features_in_"):
        if steps and isinstance(steps[0], CountVectorizer):
            return [Column("text", "")]
        raise ValueError("its number of columns is unknown")
    names = getattr(model, "feature_names_in_", [None] * model.n_features_in_)
    columns = [Column(None if name is None else str(name)) for name in names]
    encoded = [(steps[:-1], range(len(columns)))]
    for step in steps[:1]:
        for name, transformer, _ in getattr(step, "transformers_", []):
            indices = step._transformer_to_input_indices[name]
            encoded.append(([transformer], list(indices)))
    for transformers, indices in encoded:
        describe([columns[index] for index in indices], transformers)
    return columns


def describe(columns, transformers):
    """Derive the values of columns from their first transformers."""
    for transformer in transformers:
        if hasattr(transformer, "steps"):
            return describe(columns, [step for _, step in transformer.steps])
        if isinstance(transformer, CountVectorizer):
            columns[0].example = ""
            return None
        if hasattr(transformer, "categories_"):
            strict = getattr(transformer, "handle_unknown", "error") == "error"
            for column, known in zip(columns, transformer.categories_, strict=True):
                known = [value for value in known.tolist() if value == value]
                known = [value for value in known if value is not None]
                column.example = known[0] if known else 0.0
                column.values = known if strict else None
            return None
        if not hasattr(transformer, "statistics_"):  # of an imputer
            return None
    return None


class Drift:
    """Monitor of the out-of-distribution scores of the rows that a model predicts.

    The monitor exists only if the classifier has held-out scores.

    Parameters
    ----------
    ood_scores : ndarray of shape (n,)
        Scores of the held-out samples of the classifier.
    """

    def __init__(self, ood_scores):
        self.monitor, self.state = None, None
        if len(ood_scores):
            self.monitor = DriftMonitor(ood_scores, max_history=1)
            self._note()

    def update(self, scores):
        """Pass the scores of a batch to the monitor, and log errors."""
        if self.monitor is None:
            return
        try:
            self.monitor.update(scores)
            self._note()
        except Exception as error:  # answers must not depend on the monitor
            log.error("Drift monitor left out %d rows: %s", len(scores), error)

    def _note(self):
        """Replace the state atomically, because ``/metrics`` may read it."""
        monitor = self.monitor
        self.state = np.log(monitor.value_), monitor.n_seen_, monitor.alarm_


class DriftCollector:
    """Metrics of the drift monitor of the current model."""

    def __init__(self, file):
        self.file = file

    def collect(self):
        """Yield a metric for each part of the state, if there is a monitor."""
        model = self.file.current
        if model.drift.state is None:
            return
        families = (
            GaugeMetricFamily(
                "sksngp_drift_log_martingale",
                "Logarithm of the value of the drift monitor",
                labels=["model"],
            ),
            CounterMetricFamily(
                "sksngp_drift_rows", "Rows seen by the drift monitor", labels=["model"]
            ),
            GaugeMetricFamily(
                "sksngp_drift_alarm",
                "1 if the drift monitor has raised an alarm",
                labels=["model"],
            ),
        )
        for family, value in zip(families, model.drift.state, strict=True):
            family.add_metric([model.digest], float(value))
            yield family


class ServedModel:
    """A classifier or a pipeline that ends with one, and the hash of its file."""

    def __init__(self, path):
        if not Path(path).is_file():
            raise FileNotFoundError(f"No such file: {path}")
        with tempfile.TemporaryDirectory() as folder:
            # A copy, because the file may be replaced.
            copy = shutil.copyfile(path, Path(folder, "model"))
            model, self.digest = load(copy), digest_of(copy)
        model = getattr(model, "best_estimator_", model)  # if it is a search
        last = model[-1] if hasattr(model, "steps") else model
        if not hasattr(last, "ood_scores_"):
            raise ValueError(
                f"{path} holds a {type(model).__name__}; what can be served is a "
                "classifier of sksngp, alone or as the last step of a pipeline."
            )
        (self.found,) = find(model, "ood_pvalue")
        self.classifier = self.found.classifier
        try:
            self.details = columns_of(model)
            self.columns = len(self.details)
            self.is_text_alone = not hasattr(model, "n_features_in_")
            self.named = self.details[0].name is not None
            outputs = self.predict(self.example())  # starts TensorFlow
            self.prepare()
            self.drift = Drift(self.classifier.ood_scores_)
        except Exception as error:
            raise ValueError(f"{path} cannot predict an example: {error}") from error
        try:
            JSONResponse(self.answer(outputs, slice(None)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} has labels that JSON cannot hold: {error}"
            ) from None

    @property
    def has_text(self):
        return any(column.is_text for column in self.details)

    def example(self):
        """Return an example of a row, as an array or a dataframe."""
        if not self.has_text:
            return np.array([[float(column.example) for column in self.details]])
        return pd.DataFrame([{c.name: c.example for c in self.details}])

    def prepare(self):
        """Compile predictions of all sizes, and find columns that may be missing."""
        for size in BLOCK_SIZES[:-1]:
            X = self.features(self.example())
            is_frame = hasattr(X, "iloc")
            X = pd.concat([X] * (size + 1)) if is_frame else X.repeat(size + 1, 0)
            self.classifier.predict_proba(X)
        for column in self.details if self.named and self.found.transformers else ():
            record = pd.DataFrame([{c.name: c.example for c in self.details}])
            record[column.name] = np.nan
            try:
                self.classifier.predict_proba(self.features(record))
                column.nullable = True
            except Exception as error:  # a transformer may raise any error
                log.debug("%s must not be missing: %s", column.name, error)

    def features(self, rows):
        """Transform rows into the input of the classifier."""
        X = rows
        if self.named and not hasattr(rows, "iloc"):
            X = pd.DataFrame(rows, columns=[column.name for column in self.details])
        if self.is_text_alone:
            X = X["text"]
        return self.found.transform(X)

    @one_thread  # several would wait for each other while requests use the cores
    def predict(self, rows):
        """Compute the content of an answer for each row, and the OOD scores.

        The values are those of `sksngp.predict_ood`, `sksngp.ood_pvalue` and so on for
        the whole model. These functions would transform the rows and evaluate the
        network again for each value, which takes about twice as long.
        """
        X = self.features(rows)
        proba = self.classifier.predict_proba(X)
        score = -self.classifier.score_samples(X)
        return {
            "labels": self.classifier.classes_[proba.argmax(axis=1)],
            "probabilities": proba,
            "epistemic": self.classifier.predict_uncertainty(X, kind="epistemic"),
            "ood": score > self.classifier.ood_threshold_,
            "ood_pvalue": pvalues(score, self.classifier.ood_scores_),
            "ood_score": score,
        }

    def answer(self, outputs, part):
        """Return the answer for some rows of a batch."""
        lists = {
            name: values[part].tolist()
            for name, values in outputs.items()
            if name in Answer.model_fields
        }
        return lists | self.about()

    def answers(self, requests):
        """Return the answers of all requests, and the OOD scores of all rows.

        The requests must all contain rows or all contain records.
        """
        if isinstance(requests[0], np.ndarray):
            outputs = self.predict(np.concatenate(requests))
        else:
            outputs = self.predict(pd.concat(requests, ignore_index=True))
        ends = np.cumsum([len(rows) for rows in requests])
        answers = [
            self.answer(outputs, slice(end - len(rows), end))
            for rows, end in zip(requests, ends, strict=True)
        ]
        return answers, outputs["ood_score"]

    def about(self):
        return {"model": self.digest, "classes": self.classifier.classes_.tolist()}


class ModelFile:
    """The model in a file; it is replaced if the file is replaced."""

    def __init__(self, path, metrics, limits=Limits(), check=None):
        self.path, self.metrics, self.limits = Path(path), metrics, limits
        self.check = check or TrialProcess(limits)
        self.replacement = None  # status of a new file
        self._tried = stamp_of(path)
        self.current = ServedModel(self.path)

    def refresh(self):
        """Load a new file; keep the old model if the new one is rejected."""
        stamp = stamp_of(self.path)
        if stamp in (None, self._tried):
            return
        self.replacement = {"status": "loading"}
        try:
            self.current = self._load_next()
        except (OSError, MemoryError) as error:  # try again later
            self.replacement = {"status": "unreadable", "reason": str(error)}
            log.error(
                "New model not readable, %s remains: %s", self.current.digest, error
            )
            return
        except Exception as error:  # the service continues after any error
            self.metrics.refused.inc()
            self.replacement = {"status": "refused", "reason": str(error)}
            log.error("New model rejected, %s remains: %s", self.current.digest, error)
        else:
            self.metrics.replaced.inc()
            self.replacement = None
            log.info("Model replaced by %s", self.current.digest)
        self._tried = stamp

    def _load_next(self):
        if not self.path.is_file():
            raise ValueError(f"{self.path} is not a regular file")
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copyfile(self.path, Path(folder, self.path.name))
            self.check(copy)
            return ServedModel(copy)  # the file that was tested

    async def watch(self, every):
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.refresh)

    def close(self):
        """End a test that is running."""
        getattr(self.check, "close", lambda: None)()


class TrialProcess:
    """Test of a model file in a process of its own.

    The size or the content of the file and errors in compiled code therefore do not
    affect the service.
    """

    def __init__(self, limits):
        self.limits, self.process = limits, None

    def __call__(self, path):
        """Raise an error with the reason if the file is rejected."""
        memory = self.limits.load_bytes + 4 * Path(path).stat().st_size
        command = [sys.executable, __file__, str(path), "--try-within", str(memory)]
        paths = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        try:
            reason, _ = self.process.communicate(timeout=self.limits.load_seconds)
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"The model took more than {self.limits.load_seconds:g} s to load."
            ) from None
        finally:
            self.close()
        if self.process.returncode < 0:
            raise ValueError(
                f"The test process was ended by signal {-self.process.returncode}."
            )
        if self.process.returncode:
            raise ValueError(reason.strip() or "The test process failed.")

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def try_within(path, memory):
    """Test a model with a limit of memory in addition to that of TensorFlow."""
    backend.start()  # reserves more addresses than it uses
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        ServedModel(path)
    except ValueError as error:  # such as ModelFileError
        print(error)
        return 1
    except Exception as error:  # without memory, libraries raise any error
        print(f"The test failed with {memory} bytes of memory: {error!r}")
        return 1
    return 0


def stamp_of(path):
    """Return values that change with the file, or None if there is no file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def digest_of(path):
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()


@dataclass
class Question:
    """Rows that wait for a prediction, and the model that validated them."""

    model: ServedModel
    rows: np.ndarray | pd.DataFrame
    answer: asyncio.Future

    def joins(self, other):
        """Return whether both can be in one batch.

        Both must have the same model. Arrays of rows and dataframes of records are not
        joined, because the columns of a common table would have other types.
        """
        return self.model is other.model and type(self.rows) is type(other.rows)


class Batcher:
    """Predictions of waiting questions in batches, one after the other, in a thread."""

    def __init__(self, limits, metrics):
        self.limits, self.metrics = limits, metrics
        self.queue = asyncio.Queue()
        self.next = None  # taken from the queue for the next batch
        metrics.waiting.set_function(self.waiting)

    def waiting(self):
        """Return the number of questions that wait."""
        return self.queue.qsize() + (self.next is not None)

    async def predict(self, model, rows):
        """Return the answer; raise `asyncio.QueueFull` if too many questions wait."""
        if self.waiting() >= self.limits.waiting:
            raise asyncio.QueueFull
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait(Question(model, rows, answer))
        return await answer

    async def run(self):
        while True:
            batch = await self._next_batch()
            self.metrics.batch_rows.observe(sum(len(asked.rows) for asked in batch))
            await self._answer(batch)
            for _ in batch:
                self.queue.task_done()

    async def _next_batch(self):
        """Take questions in their order until one does not fit into the batch."""
        first, self.next = self.next or await self.queue.get(), None
        batch, rows = [first], len(first.rows)
        while rows < self.limits.batch_rows and not self.queue.empty():
            asked = self.queue.get_nowait()
            if not asked.joins(first):
                self.next = asked
                break
            batch.append(asked)
            rows += len(asked.rows)
        return batch

    async def _answer(self, batch):
        model = batch[0].model
        try:
            answers, scores = await asyncio.to_thread(
                model.answers, [asked.rows for asked in batch]
            )
        except Exception as error:
            if len(batch) > 1:  # find the question that causes the error
                for asked in batch:
                    await self._answer([asked])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.done():  # unless the client has disconnected
                asked.answer.set_result(answer)
        # Answers are sent meanwhile. The next batch waits, which preserves the order.
        await asyncio.to_thread(model.drift.update, scores)


class Metrics:
    """Metrics for Prometheus."""

    def __init__(self):
        self.registry = CollectorRegistry()
        to = {"namespace": "sksngp", "registry": self.registry}
        self.requests = Counter("requests", "Requests, by status", ["status"], **to)
        self.seconds = Histogram("request_seconds", "From request to answer", **to)
        sizes = [4**power for power in range(7)]
        self.batch_rows = Histogram("batch_rows", "Rows at once", buckets=sizes, **to)
        self.waiting = Gauge("waiting", "Requests that wait", **to)
        self.replaced = Counter("models_replaced", "New models that were loaded", **to)
        self.refused = Counter("models_refused", "New models that were rejected", **to)


async def read_body(request, limits):
    """Read a body up to the maximum size, regardless of its header."""
    body, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body_bytes:
                    body.append(chunk)
                elif size > 4 * limits.body_bytes:
                    break  # discarded until here, so that the client reads the answer
    except TimeoutError:
        raise refusal(
            408, f"The body must arrive within {limits.body_seconds:g} s."
        ) from None
    except ClientDisconnect:
        raise refusal(400, "The body ended early.") from None
    if size > limits.body_bytes:
        raise refusal(413, f"A body may have at most {limits.body_bytes} bytes.")
    return b"".join(body)


def read_rows(body, model, limits):
    """Return the rows of a request; errors name the invalid number."""
    if model.named and b'"records"' in body:
        return read_records(body, model, limits)
    columns = model.columns
    # Count before parsing, because parsing many lists takes long.
    if body.count(b"[") > limits.rows + 1 or body.count(b",") > limits.rows * columns:
        bound = f"A request may have {limits.rows} rows of {columns} numbers."
        raise HTTPException(413, bound)
    rows = parsed(Rows, body).rows
    if model.has_text:
        raise HTTPException(422, "The model has columns of text; send records.")
    for number, row in enumerate(rows):
        if len(row) != columns:
            has = f"rows[{number}] has {len(row)} numbers"
            raise HTTPException(422, f"{has}; the model has {columns} columns.")
    return np.array(rows)


def read_records(body, model, limits):
    """Return the records of a request as a dataframe; errors name the invalid value."""
    records = parsed(Records, body).records
    if len(records) > limits.rows:
        raise HTTPException(413, f"A request may have {limits.rows} records.")
    names = [column.name for column in model.details]
    for number, record in enumerate(records):
        if record.keys() != set(names):
            missing = [name for name in names if name not in record]
            odd = f"lacks {missing[0]!r}" if missing else "has columns of its own"
            raise HTTPException(
                422, f"records[{number}] {odd}; the model has the columns {names}."
            )
        for column in model.details:
            if fault := column.fault(record[column.name]):
                raise HTTPException(422, f"records[{number}].{column.name} {fault}.")
    return pd.DataFrame(records, columns=names).fillna(np.nan)


def parsed(kind, body):
    """Validate a body; errors name the invalid part."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as faults:
        fault = faults.errors(include_url=False, include_input=False)[0]
        status = 400 if fault["type"] == "json_invalid" else 422
        raise HTTPException(status, place(fault["loc"]) + fault["msg"]) from None


def body_schema(model, limits):
    """Return the OpenAPI schema of a request."""
    kinds = []
    if not model.has_text:
        row = {"type": "array", "items": number_schema(LARGEST)}
        row |= {"minItems": model.columns, "maxItems": model.columns}
        kinds.append(("rows", row))
    if model.named:
        columns = {column.name: column.schema() for column in model.details}
        record = {"type": "object", "properties": columns, "required": list(columns)}
        kinds.append(("records", record | {"additionalProperties": False}))
    schemas = [
        {
            "type": "object",
            "properties": {
                name: {
                    "type": "array",
                    "items": items,
                    "minItems": 1,
                    "maxItems": limits.rows,
                }
            },
            "required": [name],
            "additionalProperties": False,
        }
        for name, items in kinds
    ]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def refusal(status, reason):
    """Create an error that also closes the connection, whose body is not read."""
    return HTTPException(status, reason, {"Connection": "close"})


def place(location):
    """Format a location: ('rows', 2, 1) becomes "rows[2][1]: "."""
    text = "".join(f"[{p}]" if isinstance(p, int) else str(p) for p in location)
    return f"{text}: " if text else ""


def create_app(path, *, limits=Limits(), poll=1.0, check=None):
    """Create the application, which checks the file for changes every `poll` seconds.

    `check` is called with the path of a new file and raises an error if the file is to
    be rejected. By default, it tests the file in a process of its own.
    """
    metrics = Metrics()
    file = ModelFile(path, metrics, limits, check)
    metrics.registry.register(DriftCollector(file))
    batcher = Batcher(limits, metrics)

    @asynccontextmanager
    async def lifespan(app):
        tasks = [asyncio.create_task(batcher.run())]
        tasks.append(asyncio.create_task(file.watch(poll)))
        yield
        await batcher.queue.join()  # answer accepted requests
        for task in tasks:
            task.cancel()
        file.close()

    app = FastAPI(title="sksngp", lifespan=lifespan)
    refusals = {status: {"model": Refusal} for status in (400, 408, 413, 422, 503)}

    async def answer(request):
        body = await read_body(request, limits)
        model = file.current  # validates and predicts, even if it is replaced
        rows = read_rows(body, model, limits)
        try:
            return await batcher.predict(model, rows)
        except asyncio.QueueFull:
            reason = f"{limits.waiting} requests are waiting. Try again later."
            raise HTTPException(503, reason, {"Retry-After": "1"}) from None
        except (TypeError, ValueError) as error:  # errors that only the model detects
            raise HTTPException(422, str(error)) from None

    @app.post("/predict", response_model=Answer, responses=refusals)
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
        state = {"replacement": file.replacement} if file.replacement else {}
        return {"status": "ok", **about, **model.about(), **state}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def counts() -> Response:
        text = exposition.generate_latest(metrics.registry)
        return Response(text, media_type=exposition.CONTENT_TYPE_LATEST)

    app.openapi = partial(describe_api, app, file, limits)
    return app


def describe_api(app, file, limits):
    """Return the OpenAPI document, with the requests that the model accepts."""
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    body = {"application/json": {"schema": body_schema(file.current, limits)}}
    request = {"required": True, "content": body}
    schema["paths"]["/predict"]["post"]["requestBody"] = request
    return schema


def main():
    parser = argparse.ArgumentParser(description="Serve a saved model over HTTP.")
    parser.add_argument("model", help="file written by sksngp.persistence.save")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 selects a free port")
    parser.add_argument(
        "--poll", type=float, default=1.0, help="seconds between checks of the file"
    )
    parser.add_argument(
        "--try-within",
        type=int,
        metavar="BYTES",
        help="test the model with this limit of additional memory, and exit",
    )
    options = parser.parse_args()
    if options.try_within is not None:
        sys.exit(try_within(options.model, options.try_within))
    try:
        app = create_app(options.model, poll=options.poll)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    # A collection of all objects, most of which are TensorFlow's, would delay all
    # waiting requests by half a second.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        access_log=False,
        limit_concurrency=Limits.connections,
        timeout_graceful_shutdown=30,  # seconds to answer accepted requests
    )


if __name__ == "__main__":
    main()
