"""What paths cost by themselves as inputs grow: series, pictures and volumes, every family.

    python tests/benchmarks/growth.py [--shapes 1000,10000,1024x1024] [--families svd,dct] [--steps 64] [--json FILE]

The model is a weighted sum, whose gradient is next to nothing. From an explanation's time as many gradients alone are
taken off: what is left is decomposition, points, projections onto components and sums. Each cell has a process of its
own; its memory is the most that an explanation adds to a process that has explained with one step before.
"""

import argparse
import json
import os
from pathlib import Path

from common import CORES, machine, seconds, table
from worker import Failure, Worker, level, resident

FAMILIES = {
    "linear": "Linear()",
    "svd": "SVD()",
    "dct": "DCT()",
    "haar bands": "Wavelet('haar', levels=6)",
    "db4 bands": "Wavelet('db4', levels=6)",
    "haar coefficients": "Wavelet('haar', levels=6, components='coefficients')",
    "db4 coefficients": "Wavelet('db4', levels=6, components='coefficients')",
    "laplacian": "Laplacian()",
}
SHAPES = ("1000", "10000", "100000", "160000", "1000000", "32x32", "256x256", "1024x1024", "32x32x32", "128x128x128")
MIB = 2**20


def serve(pipe, name, shape, options):
    """Serve one cell: seconds of the decomposition, of an explanation, of bare gradients, and the bytes it added."""
    import torch

    import pathattr as pa
    from pathattr import families

    torch.set_num_threads(options.threads)
    x, weights = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    x = x[None]

    def model(points):
        return (points * weights).flatten(1).sum(1, keepdim=True)

    def bare():
        for _ in range(options.steps):
            point = x.clone().requires_grad_(True)
            torch.autograd.grad(model(point).sum(), point)

    family = eval(FAMILIES[name], vars(families))  # a line of the table above
    asked = {"family": family, "output": "raw", "channel_axis": 1, "batch_size": 1}
    pa.PathExplainer(model, steps=1, **asked)(x)
    explainer = pa.PathExplainer(model, steps=options.steps, **asked)
    before = level()
    whole = seconds(lambda: explainer(x))
    added = resident("VmHWM") - before
    spent = min([whole, *(seconds(lambda: explainer(x)) for _ in range(options.repeats - 1))])
    gradients = min(seconds(bare) for _ in range(options.repeats))
    decomposition = min(seconds(lambda: family.decompose(x[0].double().numpy())) for _ in range(options.repeats))
    pipe.send({"seconds": spent, "gradients": gradients, "decomposition": decomposition, "added_bytes": added})


def cell(name, shape, options):
    """Return what one cell measured, or why it did not."""
    worker = Worker(serve, name, shape, options)
    try:
        return worker.ask()
    except Failure as error:
        return {"failure": str(error)}
    finally:
        worker.close()


def tables(found, steps):
    """Return the lines of a table for each kind of input: a row a family, a column a shape."""
    lines = []
    for rank, kind in ((1, "Series"), (2, "Pictures"), (3, "Volumes")):
        shapes = [shape for shape in found if len(parsed(shape)) == rank]
        if not shapes:
            continue
        rows = []
        for name in FAMILIES:
            cells = [found[shape].get(name) for shape in shapes]
            if any(cells):
                rows.append((name, *(shown(cell, steps) for cell in cells)))
        lines += ["", *table((kind, *(shape.replace("x", "×") for shape in shapes)), rows)]
    return lines


def shown(cell, steps):
    """Return a cell's decomposition, milliseconds a step and megabytes in words."""
    if cell is None or "failure" in cell:
        return "–"
    step = (cell["seconds"] - cell["decomposition"] - cell["gradients"]) / steps
    milliseconds = f"{1000 * step:.{1 if step < 0.01 else 0}f} ms"
    return f"{cell['decomposition']:.2g} s, {milliseconds}, {cell['added_bytes'] / MIB:.0f} MB"


def parsed(shape):
    """Return the sides that a text such as 128x128 names."""
    return tuple(int(side) for side in shape.split("x"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=lambda text: text.split(","), default=list(SHAPES))
    parser.add_argument("--families", type=lambda text: text.split(","), default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2, help="of which the fastest counts")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    return parser.parse_args()


def main():
    options = arguments()
    facts, found = machine("torch"), {shape: {} for shape in options.shapes}
    for shape in options.shapes:
        for name in options.families:
            if name == "svd" and len(parsed(shape)) == 1:
                continue  # a series is no matrix
            found[shape][name] = cell(name, parsed(shape), options)
            print(f"{shape} {name}: {found[shape][name]}", flush=True)
    print("\n".join(tables(found, options.steps)))
    if options.json:
        facts |= {"load_after": os.getloadavg()}
        kept = {key: value for key, value in vars(options).items() if key != "json"}
        options.json.write_text(json.dumps({"options": kept, "machine": facts, "cells": found}, indent=1))


if __name__ == "__main__":
    main()
