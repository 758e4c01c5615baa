"""The documentation's pages: their code runs, and nothing public is left out."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

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
    """Full names in the API reference's tables."""
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


def test_public_names_are_there():
    for module in map(importlib.import_module, PUBLIC):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", ["sksngp.datasets", "sksngp.persistence"])
def test_a_module_of_functions_names_all_that_it_defines(module):
    module = importlib.import_module(module)
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    }
    assert defined <= set(module.__all__)


def test_every_example_is_a_page_of_the_gallery():
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
        if example.name not in ignored:  # a title makes a page of it
            assert re.match(r'"""\n(.+)\n(=+)\n\n', example.read_text())
    assert "../examples/serve.py" in (DOCS / "scaling.rst").read_text()


def test_every_page_is_in_a_table_of_contents():
    pages = {page.stem for page in DOCS.glob("*") if page.suffix in (".rst", ".md")}
    contents = "".join((DOCS / name).read_text() for name in ("index.rst", "guide.rst"))
    entries = set(re.findall(r"^   (\w+)$", contents, flags=re.MULTILINE))
    assert pages - {"index"} == entries


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(page), module_relative=False, optionflags=options)
    assert result.attempted > 0
    assert result.failed == 0
