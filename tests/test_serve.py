"""The service of `examples/serve.py`, called in this process without a network."""

import asyncio
import json
import os
import re
import threading
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from prometheus_client.parser import text_string_to_metric_families
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples import serve
from examples.serve import (
    Limits,
    ServedModel,
    TrialProcess,
    create_app,
    digest_of,
)
from sksngp import (
    SNGPClassifier,
    ood_pvalue,
    ood_score,
    predict_ood,
    predict_uncertainty,
)
from sksngp.persistence import FORMAT, load, save


@pytest.fixture(scope="module")
def saved(small, iris, tmp_path_factory):
    """Return the files of two models whose classes have different names."""
    folder, files = tmp_path_factory.mktemp("saved"), []
    for seed, names in enumerate((["a", "b", "ö"], ["x", "y", "z"])):
        clf = small(SNGPClassifier, random_state=seed)
        save(clf.fit(iris[0], np.array(names)[iris[1]]), folder / "model")
        files.append((folder / "model").read_bytes())
    return files


@pytest.fixture
def path(saved, tmp_path):
    """Return the path of a file with the first model."""
    (tmp_path / "model.sksngp").write_bytes(saved[0])
    return tmp_path / "model.sksngp"


@pytest.fixture
def gate(path, monkeypatch):
    """Delay predictions until the gate is set, and record their sizes."""
    gate, predict = threading.Event(), ServedModel.predict
    gate.sizes = []

    def wait(model, rows):
        if len(rows) > 1 or rows.any():  # excluding predictions that test a new model
            gate.sizes.append(len(rows))
            assert gate.wait(300)
        return predict(model, rows)

    monkeypatch.setattr(ServedModel, "predict", wait)
    return gate


def accept(path):
    """Stand in for the trial process, which takes seconds."""


@asynccontextmanager
async def serving(path, check=accept, **limits):
    app = create_app(path, limits=Limits(**limits), poll=0.01, check=check)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://here") as client,
    ):
        yield client


def predict(client, rows):
    return client.post("/predict", json={"rows": np.asarray(rows).tolist()})


def post(path, content, **limits):
    """Return the answer to a request."""

    async def run():
        async with serving(path, **limits) as client:
            return await client.post("/predict", content=content)

    return asyncio.run(run())


async def until(condition):
    """Wait for what another task or thread does, but not for ever."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def has_begun(gate):
    return bool(gate.sizes)


async def is_waiting(client, requests):
    return await metric(client, "waiting") == requests


async def has_count(client, name, value):
    return await metric(client, name) == value


async def metric(client, name, **labels):
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"sksngp_{name}" and labels.items() <= sample.labels.items()
    )


def replace(path, data):
    scratch = path.with_suffix(".new")
    scratch.write_bytes(data)
    os.replace(scratch, path)


def assert_right(answer, clf, X):
    """All numbers of an answer are equal bit for bit to those of the model."""
    assert answer["classes"] == clf.classes_.tolist()
    assert answer["labels"] == clf.predict(X).tolist()
    assert_array_equal(answer["probabilities"], clf.predict_proba(X))
    assert_array_equal(
        answer["epistemic"], clf.predict_uncertainty(X, kind="epistemic")
    )
    assert answer["ood"] == clf.predict_ood(X).tolist()
    assert_array_equal(answer["ood_pvalue"], clf.ood_pvalue(X))


# Answers


def test_answers_equal_those_of_the_model(path, iris):
    X = np.concatenate([iris[0][::10], iris[0][:3] + 50])

    async def run():
        async with serving(path) as client:
            return await predict(client, X), await client.get("/health")

    response, health = asyncio.run(run())
    assert response.status_code == 200
    assert_right(response.json(), load(path), X)
    assert any(response.json()["ood"]) and not all(response.json()["ood"])
    about = {"model": digest_of(path), "classes": ["a", "b", "ö"]}
    assert about.items() <= response.json().items()
    assert health.json() == about | {
        "status": "ok",
        "classifier": "SNGPClassifier",
        "columns": 4,
        "format": FORMAT,
    }


def test_waiting_requests_form_one_batch(path, iris, gate):
    parts = np.split(iris[0], [1, 3, 7, 10, 20])

    async def run():
        async with serving(path) as client:
            tasks = [asyncio.create_task(predict(client, parts[0]))]
            await until(lambda: has_begun(gate))
            tasks += [asyncio.create_task(predict(client, rows)) for rows in parts[1:]]
            waiting = len(parts) - 1
            await until(lambda: is_waiting(client, waiting))
            gate.set()
            responses = await asyncio.gather(*tasks)
            return responses, await metric(client, "batch_rows_count")

    responses, batches = asyncio.run(run())
    assert gate.sizes == [1, 149] and batches == 2
    clf = load(path)
    for response, rows in zip(responses, parts, strict=True):
        assert_right(response.json(), clf, rows)


def test_a_batch_ends_when_it_is_full(path, iris, gate):
    async def run():
        async with serving(path, batch_rows=10) as client:
            tasks = [asyncio.create_task(predict(client, iris[0][:1]))]
            await until(lambda: has_begun(gate))
            tasks += [
                asyncio.create_task(predict(client, iris[0][:4])) for _ in range(4)
            ]
            await until(lambda: is_waiting(client, 4))
            gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    assert gate.sizes == [1, 12, 4]


@pytest.mark.parametrize("wrap", ["frame", "pipeline", "search"])
def test_pipelines_searches_and_named_columns(small, iris, tmp_path, wrap, recwarn):
    X, y = iris
    clf, frame = small(SNGPClassifier), pd.DataFrame(X, columns=list("abcd"))
    model = {
        "frame": clf,
        "pipeline": make_pipeline(StandardScaler(), clf),
        "search": GridSearchCV(
            make_pipeline(StandardScaler(), clf),
            {"sngpclassifier__epochs": [1]},
            cv=2,
        ),
    }[wrap].fit(frame, y)
    save(model, tmp_path / "model")
    recwarn.clear()
    answer = ServedModel(tmp_path / "model").predict(X)
    assert not any("feature names" in str(warning.message) for warning in recwarn)
    assert_array_equal(answer["probabilities"], model.predict_proba(frame))
    assert_array_equal(answer["labels"], model.predict(frame))
    epistemic = predict_uncertainty(model, frame, "epistemic")
    assert_array_equal(answer["epistemic"], epistemic)
    assert_array_equal(answer["ood"], predict_ood(model, frame))
    assert_array_equal(answer["ood_pvalue"], ood_pvalue(model, frame))
    assert_array_equal(answer["ood_score"], ood_score(model, frame))


def test_unsupported_models(small, iris, tmp_path):
    clf = FrozenEstimator(small(SNGPClassifier).fit(*iris))
    save(CalibratedClassifierCV(clf).fit(*iris), tmp_path / "model")
    with pytest.raises(ValueError, match="CalibratedClassifierCV; what can be served"):
        create_app(tmp_path / "model")


def test_labels_that_json_cannot_represent(small, iris, path, tmp_path):
    dates = np.array(["2026-01", "2026-02", "2026-03"], "datetime64[M]")
    clf = small(SNGPClassifier).fit(iris[0], dates[iris[1]])
    save(clf, tmp_path / "dated")
    with pytest.raises(ValueError, match="labels that JSON cannot hold"):
        create_app(tmp_path / "dated")

    async def run():
        async with serving(path) as client:
            replace(path, (tmp_path / "dated").read_bytes())
            await until(lambda: has_count(client, "models_refused_total", 1))
            return await predict(client, iris[0])

    assert asyncio.run(run()).json()["classes"] == ["a", "b", "ö"]


# Records


@pytest.fixture(scope="module")
def mixed(small, iris):
    """Return a pipeline with text columns, and its training data."""
    frame = pd.DataFrame(iris[0], columns=["sepal length", "b", "c", "d"])
    frame["kind"] = np.where(frame["b"] > 3, "wide", "narrow")
    frame["note"] = np.where(frame["c"] > 4, "a long leaf", "one short leaf")
    frame["place"] = np.where(frame["d"] > 1, "here", "there")
    columns = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(), StandardScaler()),
                ["sepal length", "b", "c", "d"],
            ),
            ("kind", OneHotEncoder(), ["kind"]),
            ("note", TfidfVectorizer(), "note"),
            ("place", OneHotEncoder(handle_unknown="ignore"), ["place"]),
        ],
        sparse_threshold=0,
    )
    model = make_pipeline(columns, small(SNGPClassifier, epochs=1))
    return model.fit(frame, iris[1]), frame


def post_records(path, records):
    return post(path, json.dumps({"records": records}).encode())


def test_records_are_answered_as_the_model_does(mixed, tmp_path):
    model, frame = mixed
    save(model, tmp_path / "model")
    records = frame[::10].to_dict("records")
    records[0] = {**records[0], "b": None, "place": "elsewhere"}
    response = post_records(tmp_path / "model", records)
    assert response.status_code == 200, response.text
    X = pd.DataFrame(records).fillna(np.nan)
    assert_array_equal(response.json()["probabilities"], model.predict_proba(X))
    assert response.json()["ood"] == predict_ood(model, X).tolist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"b": "3"}, r"records\[1\].b must be a number"),
        ({"note": 3}, r"records\[1\].note must be text"),
        ({"c": True}, r"records\[1\].c must not be true or false"),
        ({"note": None}, r"records\[1\].note must not be null"),
        ({"kind": "x"}, r"records\[1\].kind is a value that the model does not know"),
        ({"b": 1e39}, r"records\[1\].b must be a finite number"),
        ({"more": 1}, r"records\[1\] has columns of its own; .*'sepal length'"),
        ({"b": [1]}, r"records\[1\]b"),
    ],
    ids=str,
)
def test_invalid_records_are_reported(mixed, tmp_path, change, reason):
    model, frame = mixed
    save(model, tmp_path / "model")
    records = frame[:2].to_dict("records")
    records[1].update(change)
    response = post_records(tmp_path / "model", records)
    assert response.status_code == 422
    assert re.search(reason, response.json()["detail"])


def test_incomplete_records_and_rows_of_a_model_of_text(mixed, tmp_path):
    model, frame = mixed
    save(model, tmp_path / "model")
    record = frame[:1].to_dict("records")[0]
    del record["note"]
    response = post_records(tmp_path / "model", [record])
    assert response.status_code == 422 and "lacks 'note'" in response.json()["detail"]
    response = post(tmp_path / "model", b'{"rows": [[1, 2, 3, 4, 5, 6, 7]]}')
    assert response.status_code == 422 and "send records" in response.json()["detail"]


def test_texts_alone(small, iris, tmp_path):
    texts = np.where(iris[1] > 0, "a wide leaf", "one narrow leaf")
    model = make_pipeline(
        TfidfVectorizer(), TruncatedSVD(2), small(SNGPClassifier, epochs=1)
    ).fit(texts, iris[1])
    save(model, tmp_path / "model")
    response = post_records(tmp_path / "model", [{"text": text} for text in texts[:3]])
    assert_array_equal(response.json()["probabilities"], model.predict_proba(texts[:3]))


def test_named_columns_accept_rows_and_records(small, iris, path, tmp_path):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    save(small(SNGPClassifier, epochs=1).fit(frame, iris[1]), tmp_path / "named")
    records = post_records(tmp_path / "named", frame[:3].to_dict("records"))
    rows = post(tmp_path / "named", json.dumps({"rows": iris[0][:3].tolist()}).encode())
    assert records.status_code == 200 and records.json() == rows.json()
    null = post_records(tmp_path / "named", [dict.fromkeys("abcd")])
    assert null.status_code == 422 and "null" in null.json()["detail"]
    unnamed = post_records(path, frame[:3].to_dict("records"))
    assert unnamed.status_code == 422


def test_openapi_describes_the_requests_of_the_model(path, mixed, tmp_path):
    async def schema_of(file):
        async with serving(file) as client:
            schema = (await client.get("/openapi.json")).json()
        operation = schema["paths"]["/predict"]["post"]
        assert {"200", "400", "408", "413", "422", "503"} <= operation[
            "responses"
        ].keys()
        return operation["requestBody"]["content"]["application/json"]["schema"]

    rows = asyncio.run(schema_of(path))["properties"]["rows"]
    assert rows["maxItems"] == 1000
    assert rows["items"]["minItems"] == rows["items"]["maxItems"] == 4
    save(mixed[0], tmp_path / "mixed")
    record = asyncio.run(schema_of(tmp_path / "mixed"))["properties"]["records"][
        "items"
    ]
    assert record["properties"]["kind"] == {"enum": ["narrow", "wide"]}
    assert record["properties"]["note"] == {"type": "string"}
    assert {"type": "null"} in record["properties"]["b"]["anyOf"]
    assert record["required"] == list(mixed[1])


# Rejected requests


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("", 400, "Invalid JSON"),
        ('{"rows": [[1, 2', 400, "Invalid JSON"),
        ("[" * 900, 400, "Invalid JSON"),
        ("[" * 50_000, 413, "1000 rows of 4 numbers"),
        ('{"rows": [[' + "1, " * 5000, 413, "1000 rows of 4 numbers"),
        ('{"rows": [' + "[], " * 5000, 413, "1000 rows of 4 numbers"),
        ("[[1, 2, 3, 4]]", 422, "object"),
        ("{}", 422, "rows: Field required"),
        ('{"rows": []}', 422, "rows: .*at least 1"),
        ('{"rows": 1}', 422, "rows: .*array"),
        ('{"rows": [1]}', 422, r"rows\[0\]: .*array"),
        ('{"rows": [[1, 2, 3, 4]], "row": 1}', 422, "row: Extra"),
        ('{"rows": [[1, 2, 3, 4], []]}', 422, r"rows\[1\] has 0 numbers; .* 4 columns"),
        ('{"rows": [[1, 2, 3, 4, 5]]}', 422, r"rows\[0\] has 5 numbers; .* 4 columns"),
        ('{"rows": [[1, 2, 3, 4], [1, "2", 3, 4]]}', 422, r"rows\[1\]\[1\]: .*number"),
        ('{"rows": [[1, 2, true, 4]]}', 422, r"rows\[0\]\[2\]: .*number"),
        ('{"rows": [[1, 2, 3, null]]}', 422, r"rows\[0\]\[3\]: .*number"),
        ('{"rows": [[NaN, 2, 3, 4]]}', 422, r"rows\[0\]\[0\]: .*finite"),
        ('{"rows": [[1, -Infinity, 3, 4]]}', 422, r"rows\[0\]\[1\]: .*finite"),
        ('{"rows": [[1, 1e400, 3, 4]]}', 422, r"rows\[0\]\[1\]: .*finite"),
        ('{"rows": [[1, 1e39, 3, 4]]}', 422, r"rows\[0\]\[1\]: .*less than"),
        ('{"rows": [[1, -1e39, 3, 4]]}', 422, r"rows\[0\]\[1\]: .*greater than"),
        ('{"rows": [[1, 1' + "0" * 400 + ", 3, 4]]}", 422, r"rows\[0\]\[1\]: "),
        ('{"rows": [[1, 1' + "0" * 5000 + ", 3, 4]]}", 400, "Invalid JSON"),
        ("\xff", 400, "Invalid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_rows_are_reported(path, body, status, reason):
    response = post(path, body.encode("latin-1"))
    assert response.status_code == status
    assert response.json().keys() == {"detail"}
    assert re.search(reason, response.json()["detail"])


def test_integers_are_numbers(path):
    assert post(path, b'{"rows": [[1, 2, 3, 4]]}').status_code == 200


def test_too_many_rows(path, iris):
    body = json.dumps({"rows": iris[0][:5].tolist()}).encode()
    assert post(path, body, rows=5).status_code == 200
    response = post(path, body, rows=4)
    assert response.status_code == 413
    assert "may have 4 rows of 4 numbers" in response.json()["detail"]


async def forever(read, pause=0.0):
    while True:
        read.append(1)
        yield b" " * 100
        await asyncio.sleep(pause)


def test_body_size_is_bounded_with_and_without_a_length(path):
    response = post(path, b" " * 1001, body_bytes=1000)
    assert response.status_code == 413
    assert response.headers["connection"] == "close"
    assert "1000 bytes" in response.json()["detail"]
    chunks = []
    assert post(path, forever(chunks), body_bytes=1000).status_code == 413
    assert len(chunks) == 41  # a little beyond, so that the client reads the answer


def test_body_that_never_arrives(path):
    response = post(path, forever([], pause=0.05), body_seconds=0.2)
    assert response.status_code == 408
    assert "0.2 s" in response.json()["detail"]


def test_full_queue_rejects_new_requests(path, iris, gate):
    async def run():
        async with serving(path, waiting=2) as client:
            tasks = [asyncio.create_task(predict(client, iris[0][:1]))]
            await until(lambda: has_begun(gate))
            for _ in range(2):
                tasks.append(asyncio.create_task(predict(client, iris[0][:1])))
            await until(lambda: is_waiting(client, 2))
            refused = await predict(client, iris[0][:1])
            gate.set()
            return refused, await asyncio.gather(*tasks)

    refused, accepted = asyncio.run(run())
    assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
    assert [response.status_code for response in accepted] == [200] * 3


def test_accepted_requests_are_answered_before_shutdown(path, iris, gate):
    async def run():
        async with serving(path) as client:
            tasks = [asyncio.create_task(predict(client, iris[0]))]
            await until(lambda: has_begun(gate))
            tasks += [asyncio.create_task(predict(client, iris[0])) for _ in range(2)]
            await until(lambda: is_waiting(client, 2))
            gate.set()
        return await asyncio.gather(*tasks)

    assert [response.status_code for response in asyncio.run(run())] == [200] * 3


@pytest.mark.parametrize("place", ["predict", "answer"])
def test_internal_error_is_status_500_and_the_service_continues(
    path, iris, monkeypatch, place
):
    def fail(model, *_):
        raise RuntimeError("out of order")

    async def run():
        app = create_app(path)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://here") as client,
        ):
            with monkeypatch.context() as broken:
                broken.setattr(ServedModel, place, fail)
                failed = await predict(client, iris[0])
            answered = await predict(client, iris[0])
            return (
                failed,
                answered,
                await metric(client, "requests_total", status="500"),
            )

    failed, answered, counted = asyncio.run(run())
    assert failed.status_code == 500 and "out of order" not in failed.text
    assert answered.status_code == 200 and counted == 1


# New models


def test_only_valid_new_files_replace_the_model(path, saved, iris):
    X = iris[0][::10]

    async def run():
        async with serving(path) as client:
            first = await predict(client, X)
            replace(path, saved[1])
            await until(lambda: has_count(client, "models_replaced_total", 1))
            second = await predict(client, X)
            replace(path, saved[0][:-1])
            await until(lambda: has_count(client, "models_refused_total", 1))
            path.unlink()
            third = await predict(client, X)
            replace(path, saved[0])
            await until(lambda: has_count(client, "models_replaced_total", 2))
            fourth = await predict(client, X)
            refused = await metric(client, "models_refused_total")
            return first, second, third, fourth, refused

    *responses, refused = asyncio.run(run())
    first, second, third, fourth = (response.json() for response in responses)
    assert first["classes"] == ["a", "b", "ö"] and second["classes"] == ["x", "y", "z"]
    assert first["model"] != second["model"]
    assert third == second and fourth == first and refused == 1
    assert_right(fourth, load(path), X)


@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_a_file_that_cannot_be_read_for_a_while_is_tried_again(
    path, saved, iris, monkeypatch, error
):
    fails = [error("for a while")] * 3

    def load_at_last(file):
        if fails:
            raise fails.pop()
        return load(file)

    async def run():
        async with serving(path) as client:
            monkeypatch.setattr(serve, "load", load_at_last)
            replace(path, saved[1])
            await until(lambda: has_count(client, "models_replaced_total", 1))
            refused = await metric(client, "models_refused_total")
            return (await predict(client, iris[0])).json()["classes"], refused

    assert asyncio.run(run()) == (["x", "y", "z"], 0)
    assert not fails


def test_requests_are_answered_by_the_model_that_validated_them(
    path, small, iris, gate, tmp_path
):
    """The model is replaced by one with two features while requests with four wait."""
    narrow, X = tmp_path / "narrow", iris[0]
    save(small(SNGPClassifier).fit(X[:, :2], iris[1]), narrow)

    async def run():
        async with serving(path) as client:
            tasks = [asyncio.create_task(predict(client, X[:5]))]
            await until(lambda: has_begun(gate))
            for number, rows in enumerate((X[:2], X[2:4])):
                tasks.append(asyncio.create_task(predict(client, rows)))
                await until(lambda n=number: is_waiting(client, n + 1))
            replace(path, narrow.read_bytes())
            await until(lambda: has_count(client, "models_replaced_total", 1))
            for number, rows in enumerate((X[:3, :2], X[3:4, :2])):
                tasks.append(asyncio.create_task(predict(client, rows)))
                await until(lambda n=number: is_waiting(client, n + 3))
            gate.set()
            return await asyncio.gather(*tasks), await drift_metrics(client)

    before = load(path)
    responses, drift = asyncio.run(run())
    first, *others = (response.json() for response in responses)
    assert_right(first, before, X[:5])
    assert_right(others[0], before, X[:2])
    assert_right(others[1], before, X[2:4])
    assert_right(others[2], load(narrow), X[:3, :2])
    assert_right(others[3], load(narrow), X[3:4, :2])
    assert gate.sizes == [5, 4, 4]
    assert drift.keys() == {digest_of(narrow)}  # rows of the old model are not counted
    assert drift[digest_of(narrow)]["rows_total"] <= 4


def test_rows_and_records_are_different_batches(small, iris, tmp_path, gate):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    clf = small(SNGPClassifier, epochs=1).fit(frame, iris[1])
    save(clf, tmp_path / "named")
    bodies = {
        kind: json.dumps({kind: values}).encode()
        for kind, values in (
            ("rows", iris[0][:2].tolist()),
            ("records", frame[2:5].to_dict("records")),
        )
    }

    async def run():
        async with serving(tmp_path / "named", waiting=5) as client:
            tasks = [asyncio.create_task(predict(client, iris[0][:1]))]
            await until(lambda: has_begun(gate))
            for kind in ("rows", "rows", "records", "records", "rows"):
                post = client.post("/predict", content=bodies[kind])
                tasks.append(asyncio.create_task(post))
                waiting = len(tasks) - 1
                await until(lambda n=waiting: is_waiting(client, n))
            full = await predict(client, iris[0][:1])
            gate.set()
            return full, await asyncio.gather(*tasks)

    full, responses = asyncio.run(run())
    assert full.status_code == 503
    assert gate.sizes == [1, 4, 6, 2]
    for number in (1, 2, 5):
        assert_right(responses[number].json(), clf, frame[:2])
    for number in (3, 4):
        assert_right(responses[number].json(), clf, frame[2:5])


def test_error_of_one_request_does_not_affect_its_batch(path, iris, gate, monkeypatch):
    predict_rows, odd = ServedModel.predict, iris[0][:1] + 7.0

    def fail(model, rows):
        outputs = predict_rows(model, rows)
        if (rows == odd).all(axis=1).any():
            raise ValueError("odd")
        return outputs

    monkeypatch.setattr(ServedModel, "predict", fail)

    async def run():
        async with serving(path) as client:
            tasks = [asyncio.create_task(predict(client, iris[0][:1]))]
            await until(lambda: has_begun(gate))
            for rows in (iris[0][:2], odd, iris[0][:3]):
                tasks.append(asyncio.create_task(predict(client, rows)))
            await until(lambda: is_waiting(client, 3))
            gate.set()
            return await asyncio.gather(*tasks)

    responses = asyncio.run(run())
    assert [response.status_code for response in responses] == [200, 200, 422, 200]
    assert responses[2].json() == {"detail": "odd"}


def test_the_old_model_answers_while_a_new_one_is_tried(path, saved, iris):
    tried, result = threading.Event(), []

    def check(file):
        assert tried.wait(300)
        raise ValueError("no good")

    async def run():
        async with serving(path, check=check) as client:
            replace(path, saved[1])

            async def is_loading():
                health = (await client.get("/health")).json()
                return health.get("replacement") == {"status": "loading"}

            await until(is_loading)
            result.append((await predict(client, iris[0])).json()["classes"])
            tried.set()
            await until(lambda: has_count(client, "models_refused_total", 1))
            result.append((await client.get("/health")).json())

    asyncio.run(run())
    assert result[0] == ["a", "b", "ö"]
    assert result[1]["classes"] == ["a", "b", "ö"]
    assert result[1]["replacement"] == {"status": "refused", "reason": "no good"}


@pytest.mark.slow  # several processes that start TensorFlow
def test_a_trial_has_limits_of_time_and_memory(path, tmp_path, monkeypatch):
    TrialProcess(Limits(load_seconds=300))(path)  # a valid file
    # If memory is insufficient, different operations may fail.
    with pytest.raises(ValueError, match=r"memory|process|created|read"):
        TrialProcess(Limits(load_bytes=0))(path)
    with pytest.raises(ValueError, match=r"more than 0\.01 s to load"):
        TrialProcess(Limits(load_seconds=0.01))(path)
    crash = tmp_path / "crash.py"
    crash.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(serve, "__file__", str(crash))
    with pytest.raises(ValueError, match="by signal 11"):
        TrialProcess(Limits())(path)


@pytest.mark.slow
def test_trial_reports_why_a_file_is_rejected(tmp_path):
    (tmp_path / "model").write_bytes(b"sksngp model 3\n" + bytes(100))
    with pytest.raises(ValueError, match="corrupted"):
        TrialProcess(Limits())(tmp_path / "model")


def test_pipe_instead_of_a_file_is_rejected(path, iris):
    async def run():
        async with serving(path) as client:
            path.unlink()
            os.mkfifo(path)
            await until(lambda: has_count(client, "models_refused_total", 1))
            return await predict(client, iris[0])

    assert asyncio.run(run()).status_code == 200


# Metrics


def test_metrics_count_requests(path, iris):
    async def run():
        async with serving(path) as client:
            for rows in (iris[0], iris[0][:3], iris[0][:, :2], []):
                await predict(client, rows)
            return {
                "200": await metric(client, "requests_total", status="200"),
                "422": await metric(client, "requests_total", status="422"),
                "seconds": await metric(client, "request_seconds_count"),
                "rows": await metric(client, "batch_rows_sum"),
            }

    assert asyncio.run(run()) == {"200": 2, "422": 2, "seconds": 4, "rows": 153}


# Drift


async def drift_metrics(client):
    """Values of the drift metrics by the model's hash; {} without a monitor."""
    text = (await client.get("/metrics")).text
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("sksngp_drift_"):
                model = values.setdefault(sample.labels["model"], {})
                model[sample.name.removeprefix("sksngp_drift_")] = sample.value
    return values


async def has_seen(client, rows):
    return [m["rows_total"] for m in (await drift_metrics(client)).values()] == [rows]


def test_drift_of_the_predicted_rows(path, iris):
    seen = {}

    async def run():
        async with serving(path) as client:
            seen["start"] = await drift_metrics(client)
            await predict(client, iris[0][::15])
            await until(lambda: has_seen(client, 10))
            seen["known"] = await drift_metrics(client)
            await predict(client, iris[0][:100] + 50)
            await until(lambda: has_seen(client, 110))
            seen["moved"] = await drift_metrics(client)
            return (await client.get("/health")).json()

    health = asyncio.run(run())
    assert not any("drift" in name for name in health)
    digest = digest_of(path)
    assert seen["start"] == {digest: {"log_martingale": 0, "rows_total": 0, "alarm": 0}}
    assert seen["known"][digest]["alarm"] == 0
    assert seen["known"][digest]["log_martingale"] < np.log(100)
    assert seen["moved"][digest]["alarm"] == 1
    assert seen["moved"][digest]["log_martingale"] > np.log(100)


def test_drift_monitor_gets_scores_in_the_order_of_the_answers(
    path, iris, gate, monkeypatch
):
    scores, X = [], iris[0]
    monkeypatch.setattr(
        serve.Drift, "update", lambda drift, batch: scores.extend(batch)
    )

    async def run():
        async with serving(path) as client:
            tasks = [asyncio.create_task(predict(client, X[:1]))]
            await until(lambda: has_begun(gate))
            for start in (1, 50, 100):
                rows = X[start : start + 10]
                tasks.append(asyncio.create_task(predict(client, rows)))
                waiting = len(tasks) - 1
                await until(lambda n=waiting: is_waiting(client, n))
            gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    order = [0, *range(1, 11), *range(50, 60), *range(100, 110)]
    assert_array_equal(scores, -load(path).score_samples(X[order]))


def test_new_model_starts_with_a_new_drift_monitor(path, saved, iris):
    async def run():
        async with serving(path) as client:
            await predict(client, iris[0])
            await until(lambda: has_seen(client, 150))
            replace(path, saved[1])
            await until(lambda: has_count(client, "models_replaced_total", 1))
            return await drift_metrics(client)

    new = asyncio.run(run())
    assert new == {digest_of(path): {"log_martingale": 0, "rows_total": 0, "alarm": 0}}


def test_error_of_the_drift_monitor_does_not_prevent_answers(
    path, iris, monkeypatch, caplog
):
    def fail(monitor, scores):
        raise RuntimeError("out of order")

    async def has_failed_twice():
        return caplog.text.count("left out") == 2

    async def run():
        async with serving(path) as client:
            with monkeypatch.context() as broken:
                broken.setattr(serve.DriftMonitor, "update", fail)
                first = await predict(client, iris[0])
                second = await predict(client, iris[0][:3])
                await until(has_failed_twice)
            third = await predict(client, iris[0][:5])
            await until(lambda: has_seen(client, 5))
            return first, second, third

    assert [r.status_code for r in asyncio.run(run())] == [200] * 3
    assert "left out 150 rows: out of order" in caplog.text


@pytest.mark.filterwarnings("ignore:predict_ood will not flag any sample")
def test_no_drift_metrics_without_held_out_scores(small, iris, tmp_path):
    clf = small(SNGPClassifier, epochs=1, validation_fraction=0.0)
    save(clf.fit(*iris), tmp_path / "model")
    assert len(load(tmp_path / "model").ood_scores_) == 0

    async def run():
        async with serving(tmp_path / "model") as client:
            response = await predict(client, iris[0])
            return response.status_code, await drift_metrics(client)

    assert asyncio.run(run()) == (200, {})


# Security


@pytest.mark.slow
def test_nothing_is_unpickled(path, iris, run_python):
    """From the first import to the answer, and after a model is replaced."""
    done = run_python(
        """
        import pickle, _pickle, sys

        def refuse(*arguments, **keywords):
            raise AssertionError("unpickled")

        class Unpickler:
            __init__ = refuse

        for module in (pickle, _pickle):
            module.load = module.loads = refuse
            module.Unpickler = Unpickler
        pickle._load = pickle._loads = pickle._Unpickler.__init__ = refuse
        classes = []  # that an unpickler out of reach asks for
        sys.addaudithook(
            lambda event, arguments: event == "pickle.find_class"
            and classes.append(arguments)
        )

        import asyncio, httpx, json, shutil
        from examples.serve import create_app

        async def main(path):
            app = create_app(path, poll=0.01)
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://x") as client,
            ):
                shutil.copyfile(path, path + "2")
                shutil.move(path + "2", path)
                while "replaced_total 1.0" not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0.01)
                response = await client.post(
                    "/predict", json={"rows": [[5.1, 3.5, 1.4, 0.2]]}
                )
                print(json.dumps([response.status_code, response.json(), classes]))

        asyncio.run(main(sys.argv[1]))
        """,
        path,
    )
    assert done.returncode == 0, done.stderr
    status, answer, classes = json.loads(done.stdout)
    assert status == 200 and classes == []
    assert_right(answer, load(path), iris[0][:1])


# The command


@pytest.mark.parametrize("name", ["other", "absent"])
def test_invalid_model_file_ends_the_command_with_a_reason(
    tmp_path, monkeypatch, capsys, name
):
    (tmp_path / "other").write_bytes(b"PK")
    monkeypatch.setattr("sys.argv", ["serve.py", str(tmp_path / name)])
    with pytest.raises(SystemExit) as end:
        serve.main()
    assert end.value.code == 1
    reason = {"other": "not a model", "absent": "No such file"}[name]
    assert reason in capsys.readouterr().err
