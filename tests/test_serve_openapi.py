"""Agreement of the service of `examples/serve.py` with its OpenAPI document."""

import asyncio
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from examples.serve import Limits, create_app
from sksngp import SNGPClassifier
from sksngp.persistence import save

#: Number of requests of each kind to each operation.
NUM_EXAMPLES = 60


@pytest.fixture(params=["rows", "rows and records", "records"])
def path(request, small, iris, tmp_path):
    """Return a model file for each kind of requests."""
    frame = pd.DataFrame(iris[0], columns=["a b", "b", "ß", "d"])
    model, X = small(SNGPClassifier, epochs=1), frame
    if request.param == "rows":
        X = iris[0]
    if request.param == "records":
        X = frame.assign(
            kind=np.where(frame["b"] > 3, "wide", "narrow"),
            note=np.where(frame["d"] > 1, "a long leaf", "one short leaf"),
        )
        columns = [
            ("numbers", SimpleImputer(), list(frame)),
            ("kind", OneHotEncoder(), ["kind"]),
            ("note", TfidfVectorizer(), "note"),
        ]
        model = make_pipeline(ColumnTransformer(columns, sparse_threshold=0), model)
    save(model.fit(X, iris[1]), tmp_path / "model")
    return tmp_path / "model"


@contextmanager
def event_loop():
    """Run an event loop in a thread, which requests and batches share."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda todo: asyncio.run_coroutine_threadsafe(todo, loop).result(300)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def serving(path):
    """Return a function like `requests.request` that calls the service."""
    app = create_app(path, limits=Limits(rows=5), poll=60, check=lambda file: None)
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://here")

    def prepare(method, url, **parts):
        data = parts.pop("data", None)
        known = {key: value for key, value in parts.items() if value is not None}
        return client.build_request(method, url, content=data, **known)

    with event_loop() as wait:
        lifespan = app.router.lifespan_context(app)
        wait(lifespan.__aenter__())
        try:
            yield lambda **parts: wait(client.send(prepare(**parts)))
        finally:
            wait(client.aclose())
            wait(lifespan.__aexit__(None, None, None))


def check(send, schema, route, method, mode):
    """Send generated requests to an operation: statuses of the answers."""
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import negative_data_rejection

    expected, seen = {400, 413, 422}, set()
    if mode == GenerationMode.POSITIVE:
        expected = {200}

    @settings(
        max_examples=NUM_EXAMPLES,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(schema[route][method].as_strategy(generation_mode=mode))
    def check_case(case):
        response = send(**case.as_transport_kwargs("http://here"))
        seen.add(response.status_code)
        # Its list of statuses that reject a request lacks 413.
        case.validate_response(response, excluded_checks=[negative_data_rejection])
        assert response.status_code in expected, response.text

    check_case()
    return seen


@pytest.mark.slow  # hundreds of requests
def test_answers_conform_to_the_openapi_document(path):
    """Valid requests are answered and invalid ones rejected as documented."""
    from schemathesis import GenerationMode, openapi

    valid, invalid = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    with serving(path) as send:
        schema = openapi.from_dict(send(method="GET", url="/openapi.json").json())
        assert check(send, schema, "/predict", "POST", valid) == {200}
        assert 422 in check(send, schema, "/predict", "POST", invalid)
        assert check(send, schema, "/health", "GET", valid) == {200}
        assert check(send, schema, "/metrics", "GET", valid) == {200}
