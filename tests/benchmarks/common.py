"""What the benchmarks share: pictures, clocks and tables."""

import functools
import os
import platform
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from pathattr import scenes

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def pictures(count, size):
    """Return generated pictures (count, 3, size, size) in [0, 1], float64, repeated or cut to the size."""
    small = scenes.generate(count).images.transpose(0, 3, 1, 2).astype(np.float64)
    times = -(-size // scenes.SIZE)
    return np.ascontiguousarray(np.tile(small, (1, 1, times, times))[:, :, :size, :size])


def normalised(raw, preprocessing):
    """Return pictures as a model with that preprocessing, or None, takes them, float32."""
    made = raw if preprocessing is None else np.stack([preprocessing.normalise(picture) for picture in raw])
    return np.ascontiguousarray(made, dtype=np.float32)


def seconds(function, device="cpu"):
    """Return how long a call takes, to the end of its work on the device: by CUDA's events where there are such."""
    if device != "cuda":
        began = time.perf_counter()
        function()
        return time.perf_counter() - began
    import torch

    torch.cuda.synchronize()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    function()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000


def spread(values, form):
    """Return the median and, in brackets, the lowest and the highest of some values."""
    middle, low, high = (format(f(values), form) for f in (statistics.median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low} – {high})"


def table(head, rows):
    """Return a table's lines in Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)]


_distributions = functools.cache(metadata.packages_distributions)


def version(package):
    """Return the installed version of an import package, whatever its distribution is called; None without one."""
    found = _distributions().get(package)
    return metadata.version(found[0]) if found else None


def machine(*packages):
    """Return where and with what this runs, as plain values."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": CORES,
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in ("numpy", *packages)},
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }
