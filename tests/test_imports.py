"""Data flows one way: each room of the package imports only rooms below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sksngp"

#: What each file may import of the package, lowest rooms first.
BELOW = {
    "_version": set(),
    "_docs": set(),
    "_progress": set(),
    "_younger": set(),
    "input_types": set(),
    "sources": {"input_types"},
    "sample_weight": set(),
    "_validation": {"input_types", "sample_weight", "sources"},
    "blas": set(),
    "_lanczos": {"blas"},
    "device": set(),
    "startup": {"compiled"},
    "body": {"body_network", "startup"},
    "architecture": {"blas", "body"},
    "seeded_layers": set(),
    "wide_resnet": {"_younger", "seeded_layers"},
    "memory": {"architecture", "body"},
    "posterior": {"blas"},
    "uncertainty": set(),
    "calibration": set(),
    "posterior_mode": {"blas"},
    "holdout": {"sources"},
    "conformal": set(),
    "surprisal": {"conformal"},
    "_uncertainty/__init__": set(),
    "_uncertainty/drift": {"conformal"},
    "_uncertainty/explanation": set(),
    "_uncertainty/false_discovery": set(),
    "_reach": {"_uncertainty", "uncertainty"},
    "metrics/_checks": set(),
    "metrics/_calibration": {"_checks"},
    "metrics/_ood": {"_checks"},
    "metrics/_selective": {"_checks"},
    "metrics/_scorers": {"_calibration", "_checks", "_ood", "_selective"},
    "metrics/__init__": {"_calibration", "_ood", "_scorers", "_selective"},
    "datasets": set(),
    "projection": {"sources"},
    "rows": {"distributed", "projection", "sources"},
    "input_distance": {"blas", "posterior", "rows"},
    "networks": {"architecture"},
    "normalised_layers": {"_lanczos", "networks"},
    "body_network": {
        "architecture",
        "body",
        "networks",
        "normalised_layers",
        "seeded_layers",
    },
    "compiled": {"architecture", "body_network", "device", "networks", "startup"},
    "training": {"_progress", "compiled", "device", "distributed", "rows"},
    "pool": {"architecture", "body_network", "compiled", "device", "startup"},
    "distributed": {"pool", "rows"},
    "_files": set(),
    "_fitted": set(),
    "dask_predictions": {"_validation", "sources"},
    "_prediction": {
        "_fitted",
        "_validation",
        "architecture",
        "body",
        "dask_predictions",
        "conformal",
        "holdout",
        "pool",
        "projection",
        "sources",
        "uncertainty",
    },
    "_explanation": {"_uncertainty", "_validation", "pool", "projection", "sources"},
    "_selection": {"_base", "calibration", "rows", "sample_weight", "sources"},
    "exceptions": set(),
    "_held_out": {
        "_selection",
        "_validation",
        "conformal",
        "exceptions",
        "holdout",
        "sources",
    },
    "stream_memory": {"sources"},
    "_stream": {
        "_validation",
        "body",
        "input_types",
        "memory",
        "conformal",
        "holdout",
        "projection",
        "rows",
        "sample_weight",
        "sources",
        "stream_memory",
    },
    "input_graph": {"projection"},
    "keras_model": {
        "architecture",
        "body_network",
        "input_graph",
        "networks",
        "projection",
    },
    "savedmodel": {
        "architecture",
        "body_network",
        "input_graph",
        "conformal",
        "surprisal",
    },
    "_export": {"keras_model", "savedmodel", "startup"},
    "_base": {
        "_docs",
        "_explanation",
        "_export",
        "_held_out",
        "_prediction",
        "_progress",
        "_selection",
        "_stream",
        "_validation",
        "_younger",
        "architecture",
        "body",
        "device",
        "input_types",
        "memory",
        "conformal",
        "holdout",
        "pool",
        "projection",
        "rows",
        "sources",
        "training",
        "wide_resnet",
    },
    "_resnet": {"_base", "uncertainty"},
    "_mc_dropout": {"_base", "_fitted", "uncertainty", "wide_resnet"},
    "_deep_ensemble": {"_base", "uncertainty"},
    "_sngp": {
        "_base",
        "_fitted",
        "_stream",
        "architecture",
        "blas",
        "body",
        "input_distance",
        "memory",
        "conformal",
        "holdout",
        "posterior",
        "posterior_mode",
        "sources",
        "surprisal",
        "uncertainty",
    },
    "__init__": {
        "_deep_ensemble",
        "_mc_dropout",
        "_reach",
        "_resnet",
        "_sngp",
        "_uncertainty",
        "_version",
        "startup",
        "wide_resnet",
    },
    "inspection/_common": set(),
    "inspection/_uncertainty": {"_common", "_reach"},
    "inspection/_ood_histogram": {"_common", "_reach"},
    "inspection/_drift": {"_common", "_uncertainty"},
    "inspection/_explanation": {"_common", "_reach", "_uncertainty"},
    "inspection/_reliability": {"_common", "metrics"},
    "inspection/_risk_coverage": {"_common", "metrics"},
    "inspection/__init__": {
        "_drift",
        "_explanation",
        "_ood_histogram",
        "_reliability",
        "_risk_coverage",
        "_uncertainty",
    },
    "_trusted": set(),
    "_records": {"_trusted"},
    "_structure": {"_records", "_trusted"},
    "_sound": {"_base", "architecture", "body", "wide_resnet"},
    "persistence": {
        "_files",
        "_records",
        "_sound",
        "_structure",
        "_trusted",
        "startup",
    },
    "_cli/__init__": set(),
    "_cli/report": set(),
    "_cli/tables": {"_files"},
    "_cli/spelling": set(),
    "_cli/numbers": {"tables"},
    "_cli/columns": {"numbers", "spelling", "tables"},
    "_cli/features": {"columns", "numbers", "spelling", "tables"},
    "_cli/labels": {"numbers", "spelling", "tables"},
    "_cli/unusual": {"columns", "features"},
    "_cli/moved": {"columns", "features"},
    "_cli/pipeline": {"columns"},
    "_cli/classifiers": {"__init__", "metrics"},
    "_cli/description": {"columns", "numbers", "spelling"},
    "_cli/model": {"_reach", "description", "persistence", "tables"},
    "_cli/train": {
        "__init__",
        "classifiers",
        "columns",
        "features",
        "inspection",
        "labels",
        "model",
        "conformal",
        "holdout",
        "pipeline",
        "report",
        "spelling",
        "tables",
    },
    "_cli/score": {
        "__init__",
        "columns",
        "features",
        "inspection",
        "labels",
        "model",
        "moved",
        "numbers",
        "conformal",
        "holdout",
        "report",
        "tables",
        "train",
        "unusual",
    },
    "_cli/compare": {
        "__init__",
        "classifiers",
        "datasets",
        "inspection",
        "metrics",
        "tables",
    },
    "_cli/options": {"classifiers", "score"},
    "_cli/main": {"compare", "model", "options", "report", "score", "tables", "train"},
    "__main__": {"_cli"},
}


def siblings(path):
    """Names of the package's modules that a file imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [a.name for a in node.names]
            for name in (name.split(".")[0] for name in names):
                folder = path.parents[node.level - 1]
                is_module = any(folder.glob(f"{name}.py")) or (folder / name).is_dir()
                found.add(name if is_module else "__init__")
    return found


@pytest.mark.parametrize("name", BELOW)
def test_room_imports_only_rooms_below(name):
    assert siblings(PACKAGE / f"{name}.py") <= BELOW[name]


@pytest.mark.parametrize(
    "name",
    sorted(
        set(BELOW)
        - {
            "body_network",
            "compiled",
            "input_graph",
            "keras_model",
            "networks",
            "normalised_layers",
            "savedmodel",
            "seeded_layers",
            "training",
        }
    ),
)
def test_room_does_not_import_tensorflow_at_its_top(name):
    top = ast.parse((PACKAGE / f"{name}.py").read_text()).body
    imported = {
        alias.name.split(".")[0]
        for node in top
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in top
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"tensorflow", "tf_keras", "official"}


def test_the_table_lists_each_module():
    files = {file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py")}
    assert {str(file.with_suffix("")) for file in files} == BELOW.keys()


#: This file tests the first one; the second one is a constant, and the last one has a
#: package whose files are named after what they do.
WITHOUT_TEST_FILE = {"__init__", "_version", "_uncertainty/__init__"}


@pytest.mark.parametrize("name", sorted(set(BELOW) - WITHOUT_TEST_FILE))
def test_each_module_has_a_test_file(name):
    """Its own, or those of the package that it is in."""
    package, _, module = name.rpartition("/")
    files = f"test_{(package or module).strip('_')}{'*' if package else ''}.py"
    assert any(Path(__file__).parent.glob(files))


def test_importing_the_package_imports_no_heavy_library():
    code = (
        "import sys, sksngp, sksngp.datasets, sksngp.metrics, sksngp.inspection\n"
        "heavy = {'tensorflow', 'tf_keras', 'keras', 'official', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
