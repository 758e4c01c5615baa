"""Tests of the documentation: its code runs, and it lists the public API."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from sksngp import _network_training

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PUBLIC = [
    "sksngp",
    "sksngp.datasets",
    "sksngp.exceptions",
    "sksngp.inspection",
    "sksngp.metrics",
    "sksngp.persistence",
]
WITH_CODE = [page for page in sorted(DOCS.glob("*.rst")) if ">>>" in page.read_text()]


def listed():
    """Return the full names in the tables of the API reference."""
    names, module, table = [], None, False
    for line in (DOCS / "api.rst").read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif line and not line.startswith(" "):
            table = line == ".. autosummary::"
        elif table and re.fullmatch(r"   \w+", line):
            names.append(f"{module}.{line.strip()}")
    return names


def test_reference_lists_each_public_name_once():
    public = [
        f"{module}.{name}"
        for module in PUBLIC
        for name in importlib.import_module(module).__all__
        if not name.startswith("__")
    ]
    assert sorted(listed()) == sorted(public)


def test_public_names_exist():
    for module in map(importlib.import_module, PUBLIC):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", ["sksngp.datasets", "sksngp.persistence"])
def test_modules_of_functions_export_all_definitions(module):
    module = importlib.import_module(module)
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    }
    assert defined <= set(module.__all__)


def test_gallery_contains_every_example():
    configuration = {}
    text = (DOCS / "conf.py").read_text()
    for name in ("filename_pattern", "ignore_pattern"):
        configuration[name] = re.search(rf'"{name}": r"(.*?)"', text).group(1)
    examples = sorted((ROOT / "examples").glob("*.py"))
    ignored = [
        example.name
        for example in examples
        if re.search(configuration["ignore_pattern"], str(example))
    ]
    assert ignored == ["sentence_embeddings.py", "serve.py"]
    for example in examples:
        assert re.search(configuration["filename_pattern"], str(example))
        if example.name not in ignored:  # the title of its page
            assert re.match(r'"""\n(.+)\n(=+)\n\n', example.read_text())
    assert "../examples/serve.py" in (DOCS / "serving.rst").read_text()


def test_tables_of_contents_contain_every_page():
    pages = {page.stem for page in DOCS.glob("*") if page.suffix in (".rst", ".md")}
    contents = "".join((DOCS / name).read_text() for name in ("index.rst", "guide.rst"))
    entries = set(re.findall(r"^   (\w+)$", contents, flags=re.MULTILINE))
    assert pages - {"index"} == entries


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_pages_runs(page, monkeypatch):
    monkeypatch.setattr(_network_training, "MAX_EPOCHS", 20)  # of epochs="auto"
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(page), module_relative=False, optionflags=options)
    assert result.attempted > 0
    assert result.failed == 0
