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
    "ood": {"sources"},
    "metrics/_checks": set(),
    "metrics/_calibration": {"_checks"},
    "metrics/_ood": {"_checks"},
    "metrics/_selective": {"_checks"},
    "metrics/_scorers": {"_calibration", "_checks", "_ood", "_selective"},
    "metrics/__init__": {"_calibration", "_ood", "_scorers", "_selective"},
    "datasets": set(),
    "projection": {"sources"},
    "rows": {"distributed", "projection", "sources"},
    "networks": {"architecture"},
    "body_network": {"architecture", "body", "networks", "seeded_layers"},
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
        "ood",
        "pool",
        "projection",
        "sources",
        "uncertainty",
    },
    "_selection": {"_base", "calibration", "rows", "sample_weight", "sources"},
    "_held_out": {"_selection", "_validation", "ood", "sources"},
    "keras_model": {"architecture", "body_network", "networks", "projection"},
    "savedmodel": {"architecture", "body_network", "ood", "projection"},
    "_export": {"keras_model", "savedmodel"},
    "_base": {
        "_docs",
        "_export",
        "_held_out",
        "_prediction",
        "_selection",
        "_validation",
        "_younger",
        "architecture",
        "body",
        "device",
        "input_types",
        "memory",
        "ood",
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
        "architecture",
        "blas",
        "body",
        "memory",
        "posterior",
        "posterior_mode",
        "uncertainty",
    },
    "__init__": {
        "_deep_ensemble",
        "_mc_dropout",
        "_resnet",
        "_sngp",
        "_version",
        "startup",
        "wide_resnet",
    },
    "inspection/_common": set(),
    "inspection/_uncertainty": {"_common"},
    "inspection/_ood_histogram": {"_common"},
    "inspection/_reliability": {"_common", "metrics"},
    "inspection/_risk_coverage": {"_common", "metrics"},
    "inspection/__init__": {
        "_ood_histogram",
        "_reliability",
        "_risk_coverage",
        "_uncertainty",
    },
    "persistence": {"_base", "_files"},
    "_cli_data": {"_files"},
    "_cli_compare": {"__init__", "_cli_data", "datasets", "inspection", "metrics"},
    "__main__": {"_cli_compare", "_cli_data", "ood"},
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
            "keras_model",
            "networks",
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
