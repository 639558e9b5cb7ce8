"""Where the time of an explanation goes: a stopwatch around the engine's insides, put there for a benchmark only."""

import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import islice
from unittest import mock

from pathattr.integration import engine
from pathattr.integration import points as walk
from pathattr.methods.path_explainer import PathExplainer
from pathattr_torch import TorchBackend

# What each part is called, and the functions in which its time is spent; what they call in turn is taken off.
PARTS = {
    "decomposition": [(PathExplainer, "_path"), (walk._Operands, "__init__")],
    "synthesis": [(walk.Points, "block")],
    "model": [(TorchBackend, "gradient"), (TorchBackend, "outputs")],
    "adjoint": [(walk.Points, "project")],
    "sums and checks": [(engine.Engine, "_group"), (engine.Sum, "add"), (engine._Record, "checked")],
}
REST = "the rest"


class Stopwatch:
    """Seconds by part, each without the parts inside it; `wait` lets a device finish before the time is read."""

    def __init__(self, wait=lambda: None):
        self.seconds = Counter(dict.fromkeys((*PARTS, REST), 0.0))
        self._wait, self._stack, self._since = wait, [], 0.0

    @contextmanager
    def inside(self, part):
        self._settle()
        self._stack.append(part)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def _settle(self):
        self._wait()
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def around(self, part, function):
        @wraps(function)
        def timed(*args, **kwargs):
            with self.inside(part):
                return function(*args, **kwargs)

        return timed


def one_by_one(paths, count):
    """Yield groups of paths as the engine's `ahead` does, without a thread."""
    while group := list(islice(paths, count)):
        yield group


def shares(function, device="cpu"):
    """Return the share of a call's time that each part takes, by name."""
    if device == "cuda":
        import torch

        watch = Stopwatch(torch.cuda.synchronize)
    else:
        watch = Stopwatch()
    with ExitStack() as patched:
        for part, places in PARTS.items():
            for owner, name in places:
                patched.enter_context(mock.patch.object(owner, name, watch.around(part, getattr(owner, name))))
        # One thread, one stack: decompositions are made where they are waited for.
        patched.enter_context(mock.patch.object(engine, "ahead", one_by_one))
        with watch.inside(REST):
            function()
    total = sum(watch.seconds.values())
    return {part: spent / total for part, spent in watch.seconds.items()}
