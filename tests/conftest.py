"""Hypothesis profiles: PATHATTR_PROFILE is "quick" (the default), "ci", "thorough" or "explore"."""

import os

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
