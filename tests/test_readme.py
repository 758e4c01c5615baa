"""The Python blocks of the README run as one program, and its links exist."""

import re
from pathlib import Path

from sksngp import _network_training

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_network_training, "MAX_EPOCHS", 10)  # of epochs="auto"
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert blocks
    namespace = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    assert "flagged" in capsys.readouterr().out


def test_linked_files_exist():
    text = README.read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    named = re.findall(r"`((?:examples|benchmarks|docs)/[\w./-]+)`", text)
    assert links and named
    assert [path for path in links + named if not (README.parent / path).exists()] == []
    for module in re.findall(r"python -m\s+(benchmarks\.\w+)", text):
        assert (README.parent / f"{module.replace('.', '/')}.py").is_file()


def test_figures_exist_without_placeholders():
    text = README.read_text()
    figures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert figures
    assert all((README.parent / figure).is_file() for figure in figures)
    assert "@@" not in text


def test_length():
    assert len(README.read_text().splitlines()) <= 150
