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
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("numpy", "torch", "tensorflow", "jax", "keras", "hypothesis")


def main():
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        began = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", f"--junit-xml={record}"],
            cwd=ROOT, env={**os.environ, "PATHATTR_PROFILE": "thorough"}, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        if run.returncode:
            sys.exit(run.stdout[-20000:])
        cases = list(ElementTree.parse(record).iter("testcase"))
    page(cases, run.stdout, seconds)


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

{sum(tests.values())} tests, {sum(skipped.values())} of them skipped (each says why); {len(per_property)} properties with
{sum(per_property)} examples that passed.

| module | tests | skipped | seconds |
|---|---|---|---|""")
    for module in sorted(tests):
        print(f"| {module} | {tests[module]} | {skipped[module]} | {spent[module]:.0f} |")


if __name__ == "__main__":
    main()
