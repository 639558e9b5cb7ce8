"""Run every test in the thorough profile and write what came of it as a page.

    python tests/thorough.py > docs/thorough.md

The page is only written where nothing fails.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("numpy", "torch", "tensorflow-cpu", "jax", "keras", "hypothesis")


def main():
    began = time.perf_counter()
    # Two halves side by side, files in turn by size: one core each.
    files = sorted((ROOT / "tests").glob("**/test_*.py"), key=lambda file: file.stat().st_size)
    with tempfile.TemporaryDirectory() as folder:
        runs = [started(files[half::2], Path(folder) / f"{half}") for half in (0, 1)]
        failed = [half for half, run in enumerate(runs) if run.wait()]
        printed = [(Path(folder) / f"{half}.txt").read_text() for half in (0, 1)]
        if failed:
            sys.exit("\n".join(printed[half][-10000:] for half in failed))
        cases = [case for half in (0, 1) for case in ET.parse(f"{folder}/{half}.xml").iter("testcase")]
    page(cases, "\n".join(printed), time.perf_counter() - began)


def started(files, record):
    """Return the process that runs some test files, its output and record going to files."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", f"--junit-xml={record}.xml", *files],
        cwd=ROOT,
        env={**os.environ, "PATHATTR_PROFILE": "thorough", "OMP_NUM_THREADS": "1"},
        stdout=record.with_suffix(".txt").open("w"),
        stderr=subprocess.STDOUT,
    )


def page(cases, printed, seconds):
    per_property = [int(count) for count in re.findall(r"generate phase.*?(\d+) passing", printed, re.DOTALL)]
    tests, skipped, spent = Counter(), Counter(), Counter()
    for case in cases:
        module = case.get("classname").removeprefix("tests.")
        tests[module] += 1
        skipped[module] += case.find("skipped") is not None
        spent[module] += float(case.get("time"))
    versions = ", ".join(f"{name} {version(name)}" for name in FRAMEWORKS)
    print(f"""# The thorough run

Every test, all backends, in the profile that draws at least 200 examples for each property unless its domain holds
fewer: `python tests/thorough.py > docs/thorough.md`. The page is written only where nothing fails.

Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, no GPU; {seconds / 60:.0f} minutes.

{sum(tests.values())} tests, {sum(skipped.values())} of them skipped (each says why); {len(per_property)} properties
with {sum(per_property)} examples that passed.

| module | tests | skipped | seconds |
|---|---|---|---|""")
    for module in sorted(tests):
        print(f"| {module} | {tests[module]} | {skipped[module]} | {spent[module]:.0f} |")


if __name__ == "__main__":
    main()
