"""The declared lower bounds of dependencies are the tested versions."""

import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: Needed by the library, its model files, collections and the service.
TESTED = [
    *PROJECT["dependencies"],
    *EXTRAS["dask"],
    *EXTRAS["onnx"],
    *EXTRAS["parquet"],
    *EXTRAS["persistence"],
    *EXTRAS["serve"],
]


def lower_bound(requirement):
    (bound,) = (s for s in requirement.specifier if s.operator in {">=", "=="})
    return Version(bound.version)


ALL = {*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values())}


@pytest.mark.parametrize("line", sorted(ALL))
def test_each_requirement_has_one_lower_bound(line):
    requirement = Requirement(line)
    if requirement.name == PROJECT["name"]:  # another extra of this package
        assert requirement.extras <= set(EXTRAS)
    else:
        assert lower_bound(requirement) > Version("0")


def test_lower_bounds_are_tested():
    lines = (ROOT / ".ci" / "lowest.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    assert {pin.name: lower_bound(pin) for pin in pinned} == {
        requirement.name: lower_bound(requirement)
        for requirement in map(Requirement, TESTED)
    }
