"""Sizes of files, classes and functions, so that each is read at once."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sksngp"
FILES = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
MAX_FILE, MAX_CLASS, MAX_FUNCTION = 450, 300, 40
IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def docstring_lines(node):
    """Return the lines of the docstring of a module, class or function."""
    if ast.get_docstring(node, clean=False) is None:
        return set()
    return set(range(node.body[0].lineno, node.body[0].end_lineno + 1))


def code_lines(source, tree):
    """Return the lines of a file with code: no docstrings, comments or blank lines."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in IGNORED:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            lines -= docstring_lines(node)
    return lines


def too_large(source):
    """Return what exceeds the sizes.

    A class counts with its docstrings. Of a function, the lines of code in its body
    count, without its signature.
    """
    tree = ast.parse(source)
    if len(source.splitlines()) > MAX_FILE:
        yield "file"
    code = code_lines(source, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            if node.end_lineno - node.lineno + 1 > MAX_CLASS:
                yield node.name
        elif isinstance(node, ast.FunctionDef):
            body = range(node.body[0].lineno, node.end_lineno + 1)
            if len(code.intersection(body)) > MAX_FUNCTION:
                yield node.name


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_classes_and_functions_are_short(name):
    assert not list(too_large(FILES[name].read_text()))


def test_sizes_are_counted():
    body = "".join(f"    a = {number}\n" for number in range(MAX_FUNCTION))
    text = '    """Docstring\n\n    of several lines.\n    """\n    # comment\n\n'
    assert not list(too_large(f"def f(\n    b,\n):\n{text}{body}"))
    assert list(too_large(f"def f():\n{text}{body}    return a\n")) == ["f"]
    lines = "    a = 1\n" * MAX_CLASS
    assert list(too_large(f"class C:\n{lines}")) == ["C"]
    assert list(too_large("a = 1\n" * (MAX_FILE + 1))) == ["file"]
