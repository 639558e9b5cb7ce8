"""Hypothesis profiles: PATHATTR_PROFILE is "quick" (the default), "ci", "thorough" or "explore".

All frameworks are expected: a test skipped for want of one would look like a test that passed. Where fewer are
installed, PATHATTR_FRAMEWORKS names those that are ("none", "torch", "jax,torch"), and the tests that need another are
left out.
"""

import os
import re
from importlib.util import find_spec

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker for every core: more threads than that would only wait for each other. Read when PyTorch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first three draw the same examples on every run, so that a failure elsewhere can be repeated here.
settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True)
settings.register_profile("ci", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=300, deadline=None, derandomize=False)
settings.load_profile(os.environ.get("PATHATTR_PROFILE", "quick"))

PACKAGES = {
    "torch": ("torch", "transformers"),
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax", "flax", "equinox"),
}
CHOSEN = os.environ.get("PATHATTR_FRAMEWORKS", ",".join(PACKAGES)).split(",")
OTHERS = [name for framework, names in PACKAGES.items() if framework not in CHOSEN for name in names]
OF_OTHERS = re.compile(rf"^(import|from) (pathattr_)?({'|'.join(OTHERS)})\b", re.MULTILINE) if OTHERS else None


def pytest_configure(config):
    if unknown := set(CHOSEN) - {*PACKAGES, "none"}:
        raise pytest.UsageError(f"PATHATTR_FRAMEWORKS: {sorted(unknown)}; the names are {sorted(PACKAGES)}, or none")
    if missing := [name for chosen in CHOSEN for name in PACKAGES.get(chosen, ()) if find_spec(name) is None]:
        raise pytest.UsageError(
            f"these tests need {', '.join(missing)}: pip install -c constraints.txt -e '.[test]', or name the "
            f"frameworks that are installed in PATHATTR_FRAMEWORKS ({', '.join(PACKAGES)}, or none)"
        )


def pytest_ignore_collect(collection_path):
    # None lets pytest decide.
    if OF_OTHERS and collection_path.suffix == ".py" and OF_OTHERS.search(collection_path.read_text(encoding="utf-8")):
        return True
    return None
