"""The load test of the service: detection of wrong answers, and a short run."""

from functools import partial

import numpy as np
import pytest

from benchmarks import service_load as load
from benchmarks.service_load import Expected, Tally
from examples.serve import digest_of
from sksngp import SNGPClassifier
from sksngp.persistence import save


@pytest.fixture(scope="module")
def expected_and_answer(small, iris, tmp_path_factory):
    """Return expected answers of a model, and the correct answer for rows 3 and 50."""
    path = tmp_path_factory.mktemp("load") / "model"
    clf, X = small(SNGPClassifier, epochs=2).fit(*iris), iris[0][[3, 50]]
    save(clf, path)
    answer = {
        "model": digest_of(path),
        "classes": [0, 1, 2],
        "labels": clf.predict(X).tolist(),
        "probabilities": clf.predict_proba(X).tolist(),
        "epistemic": clf.predict_uncertainty(X, kind="epistemic").tolist(),
        "ood": clf.predict_ood(X).tolist(),
        "ood_pvalue": clf.ood_pvalue(X).tolist(),
    }
    return Expected(iris[0], [path]), answer


def test_right_answer_is_accepted(expected_and_answer):
    expected, answer = expected_and_answer
    assert expected.holds(np.array([3, 50]), answer)


@pytest.mark.parametrize(
    "name",
    ["model", "classes", "labels", "probabilities", "epistemic", "ood", "ood_pvalue"],
)
def test_wrong_answer_is_detected(expected_and_answer, name):
    expected, answer = expected_and_answer
    wrong = "another" if name == "model" else answer[name][::-1]
    if wrong == answer[name]:
        wrong = [not value for value in wrong]
    assert not expected.holds(np.array([3, 50]), answer | {name: wrong})


def test_answer_to_another_request_is_detected(expected_and_answer):
    expected, answer = expected_and_answer
    for chosen in ([50, 3], [3], [3, 50, 50]):
        assert not expected.holds(np.array(chosen), answer)


def test_row_of_the_table():
    tally = Tally(seconds=2.0, latencies=[0.001, 0.002, 0.003, 0.1], rows=10)
    assert tally.cells() == ["2", "5", "2.5", "97.1", "0", "0"]


@pytest.mark.slow
def test_short_run_has_no_wrong_answer(monkeypatch, capsys):
    """The service runs in a process of its own, and predicts with small networks."""
    small = partial(SNGPClassifier, num_layers=1, num_hidden=16, cv=None)
    monkeypatch.setattr(load, "SNGPClassifier", small)
    monkeypatch.setattr("sys.argv", ["load.py", "--seconds", "0.1"])
    assert load.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Command:")
    assert any(line.split()[:1] == ["clients"] for line in lines)
    first, second, third, replaced = lines[-4:]
    assert [line.split()[0] for line in (first, second, third)] == ["1", "8", "64"]
    assert "model replaced" in replaced
    for line in (first, second, third, replaced):
        assert line.split()[-1] == "0"  # wrong
