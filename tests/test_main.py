"""The package as a program."""

import subprocess
import sys


def test_help():
    done = subprocess.run(
        [sys.executable, "-m", "sksngp", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    options = ("data", "target", "score", "output", "classifier", "picture", "epochs")
    options += ("drop", "keep", "model", "ood-alpha", "report", "save")
    for option in (*options, "random-state"):
        assert f"--{option} " in done.stdout
    assert done.stderr == ""
