"""The README's Python blocks run, in order, as one program."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert blocks
    namespace = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
    assert "flagged" in capsys.readouterr().out


def test_what_is_linked_is_there():
    text = README.read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    named = re.findall(r"`((?:examples|benchmarks|docs)/[\w./-]+)`", text)
    assert links and named
    assert [path for path in links + named if not (README.parent / path).exists()] == []
    for module in re.findall(r"python -m\s+(benchmarks\.\w+)", text):
        assert (README.parent / f"{module.replace('.', '/')}.py").is_file()


def test_pictures_are_there_and_nothing_is_left_to_fill_in():
    text = README.read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    assert all((README.parent / picture).is_file() for picture in pictures)
    assert "@@" not in text
