"""One method in a process of its own: its framework, its memory and its errors stay there.

The driver asks over a pipe and waits: workers run one at a time, so that they are measured in turn and alone.
"""

import ctypes
import gc
import importlib
import importlib.util
import multiprocessing
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import normalised, seconds


@dataclass(frozen=True)
class Method:
    """What is measured: how tables call it, and what it needs; `line`: it integrates along the straight line."""

    label: str
    framework: str
    package: str
    line: bool = True


METHODS = {
    "gradients-torch": Method("bare gradients", "torch", "torch", line=False),
    "pathattr-linear": Method("pathattr `Linear`", "torch", "pathattr"),
    "pathattr-svd": Method("pathattr `SVD`", "torch", "pathattr", line=False),
    "captum-trapezoid": Method("Captum IG, `riemann_trapezoid`", "torch", "captum"),
    "captum-gausslegendre": Method("Captum IG, `gausslegendre` (default)", "torch", "captum"),
    "saliency": Method("PAIR saliency IG", "torch", "saliency"),
    "gradients-tensorflow": Method("bare gradients", "tensorflow", "tensorflow", line=False),
    "pathattr-tensorflow": Method("pathattr `Linear`", "tensorflow", "pathattr"),
    "tensorflow-tutorial": Method("TensorFlow's tutorial IG", "tensorflow", "tensorflow"),
}


@dataclass(frozen=True)
class Job:
    """What every method is given: pictures (batch, 3, size, size) in [0, 1], one class for each, and settings.

    The baseline is black. `weights` is a file of NumPy's, empty where the network brings its own.
    """

    network: str
    weights: str
    images: np.ndarray
    targets: np.ndarray
    steps: int
    block: int
    device: str
    threads: int

    def arrays(self):
        """Return the weights by name, None where the network brings its own."""
        if not self.weights:
            return None
        with np.load(self.weights) as file:
            return dict(file)

    def normalised(self, preprocessing):
        """Return pictures and baseline as the network takes them."""
        return normalised(self.images, preprocessing), normalised(np.zeros_like(self.images[:1]), preprocessing)[0]


class Failure(Exception):
    """A method that could not be measured; the text says why."""


class Worker:
    """The driver's end of one process."""

    def __init__(self, serve, job, *arguments):
        # Not forked: a fresh process has nothing of the driver's, and frameworks do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_guarded, args=(serve, theirs, job, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question=None):
        """Send a question, if there is one, and return the answer; raise Failure where there is none."""
        try:
            if question is not None:
                self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join(10)
            raise Failure(f"died with exit code {self._process.exitcode} (-9: out of memory?)") from error
        if isinstance(answer, Failure):
            raise answer
        return answer

    def close(self):
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def missing(name):
    """Return why a method cannot be measured here, None if it can, without importing anything."""
    method = METHODS[name]
    absent = [p for p in (method.framework, method.package) if importlib.util.find_spec(p) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def side_of(framework, job):
    """Return the framework's module of methods, and the job as that framework has it."""
    module = importlib.import_module(f"{framework}_methods")
    return module, getattr(module, {"torch": "TorchSide", "tensorflow": "TensorFlowSide"}[framework])(job)


def measure(pipe, job, name):
    """Serve a method: its logits when ready, then whenever asked a call's seconds; at the first also what it gave."""
    module, side = side_of(METHODS[name].framework, job)
    run = module.METHODS[name](side)
    side.warm_up()
    pipe.send(side.logits())
    pipe.recv()
    pipe.send(_first(side, run))
    while True:  # until the driver hangs up
        pipe.recv()
        pipe.send(seconds(run, job.device))


def _first(side, run):
    """Return a call's seconds, the bytes it added, the points that the model saw and differentiated, and its maps."""
    level, before = _level(side), side.counts()
    given = []
    spent = seconds(lambda: given.append(run()), side.device)
    peak = side.peak()
    added = (resident("VmHWM") if peak is None else peak) - level
    forwards, gradients = (after - b for after, b in zip(side.counts(), before, strict=True))
    return spent, added, forwards, gradients, None if given[0] is None else side.numpy(given[0])


def prepare(pipe, job, nodes):
    """Serve what all methods need: logits, predicted classes and what `reference` returns; make missing weights."""
    import networks

    if job.weights and not Path(job.weights).exists():
        np.savez(job.weights, **networks.weights(job.network))
    _, side = side_of("torch", job)
    logits = side.logits()
    targets = logits.argmax(axis=1)
    side.targets = side.targets.new_tensor(targets)
    pipe.send((logits, targets, *side.reference(nodes)))


def _guarded(serve, pipe, job, *arguments):
    """Serve until the driver hangs up; send errors in place of answers."""
    try:
        with suppress(EOFError):
            serve(pipe, job, *arguments)
    except Exception as error:  # whatever a library raises: the driver lists it and goes on
        pipe.send(Failure(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"))


def _level(side):
    """Return the bytes in use, and begin a new record of the most in use: on the GPU, or of the process."""
    if side.device == "cuda":
        gc.collect()
        side.peak()
        return side.peak()  # the most since a moment ago is what is in use
    return level()


def level():
    """Return the bytes that the process has, and begin a new record of the most that it has."""
    gc.collect()
    with suppress(OSError, AttributeError):  # other systems' allocators
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(name):
    """Return VmRSS or VmHWM (the most since `level`) of this process in bytes; elsewhere than Linux the most ever."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
