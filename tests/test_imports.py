"""Structure of the package: allowed imports, and names of modules."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sksngp"

#: The folders of the package and the modules at its top, and which of these each may
#: import. A module may import all others of its folder.
MAY_IMPORT = {
    "_version": "",
    "exceptions": "",
    "datasets": "_data _function_parameters",
    "metrics": "_function_parameters",
    "_shared_parameters": "",
    "_function_parameters": "",
    "_docstrings": "_shared_parameters",
    "_compat": "_data",
    "_fitted_arrays": "",
    "_runtime": "",
    "_data": "",
    "_networks": "_runtime",
    "_uncertainty": "_data _runtime",
    "_tensorflow": "_data _networks _runtime _uncertainty",
    "_wide_resnet": "_compat _tensorflow",
    "_network_parameters": """
        _networks _shared_parameters _runtime _tensorflow _wide_resnet
    """,
    "_network_training": """
        _data _network_parameters _networks _shared_parameters _tensorflow
    """,
    "_pipelines": "_uncertainty",
    "_export": "_runtime _tensorflow",
    "_explanation": "_data _uncertainty",
    "_selection": "_data _runtime _uncertainty",
    "_held_out": "_data _selection _uncertainty",
    "_calibration": "_data _selection _uncertainty exceptions",
    "_prediction": "_data _fitted_arrays _networks _runtime _tensorflow _uncertainty",
    "_stream_state": "_data",
    "_stream_training": "_data _stream_state",
    "_stream_derived": "_data _stream_state _uncertainty",
    "_stream": """
        _data _networks _stream_derived _stream_state _stream_training _uncertainty
    """,
    "_base": """
        _calibration _compat _data _docstrings _explanation _export _held_out
        _network_training _networks _prediction _runtime _selection _shared_parameters
        _stream _uncertainty
    """,
    "_resnet": "_base _shared_parameters _uncertainty",
    "_mc_dropout": "_base _fitted_arrays _shared_parameters _uncertainty _wide_resnet",
    "_deep_ensemble": "_base _shared_parameters _uncertainty",
    "_sngp_parameters": "_shared_parameters",
    "_sngp_posterior": "_base _sngp_parameters _uncertainty",
    "_sngp_distances": "_data _sngp_posterior _uncertainty",
    "_sngp_score": "_data _sngp_distances _sngp_posterior _uncertainty",
    "_sngp_output": "_runtime _selection _sngp_posterior _sngp_score _uncertainty",
    "_sngp": "_fitted_arrays _networks _shared_parameters _sngp_output _uncertainty",
    "__init__": """
        _deep_ensemble _mc_dropout _pipelines _resnet _runtime _sngp _uncertainty
        _version _wide_resnet
    """,
    "inspection": "_pipelines _uncertainty metrics",
    "_persistence": "_base _data _fitted_arrays _networks _wide_resnet",
    "persistence": "_persistence _runtime",
    "_cli": """
        __init__ _data _pipelines _runtime _uncertainty datasets exceptions inspection
        metrics persistence
    """,
    "__main__": "_cli",
}
MAY_IMPORT = {name: set(others.split()) for name, others in MAY_IMPORT.items()}

MODULES = {
    file.relative_to(PACKAGE.parent).with_suffix("").parts: file
    for file in PACKAGE.rglob("*.py")
}
MODULES = {
    ".".join(parts[:-1] if parts[-1] == "__init__" else parts): file
    for parts, file in MODULES.items()
}


def at_top(module):
    """Return the folder of a module, or its name if it is at the top."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(module):
    """Return the modules of the package that a module imports, anywhere in it."""
    tree, found = ast.parse(MODULES[module].read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # imports of type checkers only
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            is_package = MODULES[module].name == "__init__.py"
            parts = module.split(".")
            base = ".".join(parts[: len(parts) - node.level + is_package])
            base += f".{node.module}" if node.module else ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys()
            if not names <= MODULES.keys():
                found.add(base)
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_only_allowed_modules(module):
    others = {at_top(other) for other in imported(module)}
    assert others - {at_top(module)} <= MAY_IMPORT[at_top(module)]


def test_allowed_imports_are_acyclic_and_used():
    list(TopologicalSorter(MAY_IMPORT).static_order())
    used = {name: set() for name in MAY_IMPORT}
    for module in MODULES:
        used[at_top(module)] |= {at_top(other) for other in imported(module)}
    assert {name: others - {name} for name, others in used.items()} == MAY_IMPORT


def test_module_imports_are_acyclic():
    list(TopologicalSorter({name: imported(name) for name in MODULES}).static_order())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_that_import_tensorflow_are_in_its_folder(module):
    tops = set()
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            tops.add(node.module.split(".")[0])
    if tops & {"tensorflow", "tf_keras", "official"}:
        assert at_top(module) == "_tensorflow"


#: The doors to TensorFlow. The others are imported by functions that need TensorFlow,
#: or by modules of the folder.
DOORS = {"sksngp._tensorflow.backend", "sksngp._tensorflow.network_pool"}


def test_tensorflow_has_two_doors():
    """What is imported at the top of other modules does not import TensorFlow."""
    entered = set()
    for module in set(MODULES):
        if at_top(module) == "_tensorflow":
            continue
        top = [
            node
            for node in ast.parse(MODULES[module].read_text()).body
            if isinstance(node, ast.ImportFrom) and node.level
        ]
        for node in top:
            if node.module == "_tensorflow":
                names = {f"sksngp._tensorflow.{alias.name}" for alias in node.names}
                entered |= names & MODULES.keys()
            elif (node.module or "").startswith("_tensorflow."):
                entered.add(f"sksngp.{node.module}")
    assert entered - {"sksngp._tensorflow.startup"} == DOORS


def test_plain_names_at_the_top_are_public():
    public = (Path(__file__).parents[1] / "docs" / "api.rst").read_text()
    for name in {at_top(module) for module in MODULES} - {"__init__", "__main__"}:
        assert (f"sksngp.{name}" in public) == (not name.startswith("_")), name


#: A constant, types, and the checks that the tests of all metrics cover.
WITHOUT_TEST_FILE = {
    "sksngp._uncertainty.arrays",
    "sksngp._version",
    "sksngp.metrics._checks",
}
FOLDERS = {name for name, file in MODULES.items() if file.name == "__init__.py"}
#: Folders whose name is part of the names of test files.
NAMED = {"_cli", "inspection", "metrics"}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - FOLDERS - WITHOUT_TEST_FILE))
def test_each_module_has_a_test_file(module):
    folder, name = at_top(module), module.rpartition(".")[2]
    prefix = f"{folder.strip('_')}_" if folder in NAMED else ""
    assert Path(__file__).with_name(f"test_{prefix}{name.strip('_')}.py").is_file()


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
