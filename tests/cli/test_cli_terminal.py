"""What a command says, wherever stdout and stderr lead: pipes that end, full disks, closed streams, few columns."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pathattr.cli.tables import fitted, tell_table
from pathattr.cli.terminal import say, tell

MODEL = """
import numpy as np, warnings
import pathattr as pa

def plain():
    warnings.warn("a word of the model's")
    weights = np.random.default_rng(0).standard_normal((3, 4))
    return pa.NumpyModel(
        lambda x: x.mean((2, 3)) @ weights,
        lambda x, c: np.broadcast_to((c @ weights.T / x[0, 0].size)[:, :, None, None], x.shape),
    )
"""
COMMAND = [sys.executable, "-c", "from pathattr.cli import main; main()"]
MADE = ["a.json", "a.map.png", "a.npz", "a.overlay.png"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "own.py").write_text(MODEL)
    return tmp_path


def shell(folder, redirected, command="explain a.png -m own.py:plain --steps 3", **environment):
    """Run the command with its streams redirected by a shell."""
    line = f'{{ "$@" ; }} {redirected}'
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line, "bash", *COMMAND, *command.split()],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


needs_bash = pytest.mark.skipif(not Path("/bin/bash").exists(), reason="redirects with a POSIX shell")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")


@needs_bash
def test_closed_streams_cost_no_results_and_get_into_no_file(folder):
    done = shell(folder, "<&- >&- 2>&-")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "pathattr-out").iterdir()) == MADE
    assert b"wrote" not in b"".join((folder / "pathattr-out" / name).read_bytes() for name in MADE)


@needs_bash
@needs_full
def test_a_full_stdout_is_a_sentence_after_the_results_are_written(folder):
    done = shell(folder, ">/dev/full")
    assert done.returncode == 1
    assert "error: cannot write to standard output: No space left on device; the files that were" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert sorted(path.name for path in (folder / "pathattr-out").iterdir()) == MADE
    # The advice, elsewhere; and stderr full costs nothing.
    done = shell(folder, "2>/dev/full | cat")
    assert done.returncode == 0
    assert "wrote 1 × overlay, map, arrays and record to pathattr-out; 1 earlier replaced" in done.stdout


@needs_bash
@pytest.mark.parametrize("command", ["explain a.png -m own.py:plain --steps 3", "--help"])
def test_a_reader_that_leaves_is_no_error(folder, command):
    done = shell(folder, "| true", command)  # which has ended long before Python has started
    assert done.returncode == 141
    assert "error" not in done.stderr


@needs_bash
@needs_full
def test_what_prints_itself_minds_a_full_stdout_too(folder):
    done = shell(folder, ">/dev/full", "--help")
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to standard output")
    assert done.stderr.count("\n") == 1


@needs_bash
def test_a_terminal_without_unicode_and_windows_is_served_and_warnings_are_sentences(folder):
    done = shell(folder, "", PYTHONIOENCODING="ascii", MPLBACKEND="nonsense")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "warning: a word of the model's\n"
    assert "wrote 1 ? overlay" in done.stdout


@needs_bash
def test_frameworks_log_nothing_beside_the_table(folder):
    done = shell(folder, "", "backends")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "numpy" in done.stdout


def test_codes_in_names_move_no_terminal(capsys):
    say("error: a\x1b[31m.png:\nwhat to do")
    tell("wrote b\r\u202e.png")
    tell_table([["picture"], ["c\x1b]0;title\x07.png"]])
    said = capsys.readouterr()
    assert said.err == "error: a\\x1b[31m.png:\nwhat to do\n"
    assert "wrote b\\r\\u202e.png" in said.out
    assert "c\\x1b]0;title\\x07.png" in said.out
    assert not {"\x1b", "\r", "\x07", "\u202e"} & set(said.out + said.err)


def lines_of(table, width, keys=1):
    console = Console(width=width, file=io.StringIO())
    for part in fitted(table, width, keys):
        console.print(part)
    return console.file.getvalue().splitlines()


TABLE = [
    ["setting", *(f"a metric of a long name {k}" for k in range(5))],
    *([f"setting {r}", *(f"0.{r}{k}1 [0.{r}{k}0, 0.{r}{k}2]" for k in range(5))] for r in range(3)),
]


@pytest.mark.parametrize("width", [20, 41, 42, 80, 300])
@pytest.mark.parametrize("keys", [1, 2])
def test_a_table_is_whole_on_a_terminal_of_any_width(width, keys):
    printed = lines_of(TABLE, width, keys)
    assert max(map(len, printed)) <= width
    together = "".join(printed).replace(" ", "")
    for row in TABLE:
        for cell in row:
            assert cell.replace(" ", "") in together
    assert "…" not in "".join(printed)


def test_a_table_in_parts_repeats_its_keys():
    printed = lines_of(TABLE, 80)
    assert sum("setting 1" in line for line in printed) == 3  # two of the five columns fit beside it
    assert sum("setting 1" in line for line in lines_of(TABLE, 300)) == 1
    named = [line for line in lines_of(TABLE, 20) if line.startswith("setting: ")]
    assert named == [f"setting: setting {r}" for r in range(3)]


@needs_bash
@pytest.mark.parametrize("command", ["--help", "--version", "backends", "explain a.png -m own.py:plain --steps 3"])
def test_where_files_may_hold_nothing_that_is_said(folder, command):
    line = 'ulimit -f 0; "$@" >nowhere'
    done = subprocess.run(
        ["/bin/bash", "-c", line, "bash", *COMMAND, *command.split()],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "File too large" in errors[0]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
