"""How much longer an explanation takes than the same number of bare gradients, for every family.

    python tests/benchmarks/overhead.py [--model scenes|file.py:callable] [--size 96] [--steps 100] [--repeats 5]

Each repeat times the bare gradients and the families in turn; the table shows medians and the spread of the ratio.
"""

import argparse
import statistics
import time

import numpy as np
import torch

import pathattr as pa
from pathattr import scenes
from pathattr.families import FAMILIES
from pathattr.specs import load_model


def bare(model, points, count, batch_size):
    """Take `count` gradients of a probability, equally batched, as a careful user would."""
    for first in range(0, count, batch_size):
        x = points[: min(batch_size, count - first)].detach().requires_grad_(True)
        torch.autograd.grad(torch.softmax(model(x), 1)[:, 0].sum(), x)


def seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--size", type=int, default=scenes.SIZE)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image_model = load_model(options.model)
    model = image_model.model.requires_grad_(False)
    shown = np.tile(scenes.generate(1).images[0].transpose(2, 0, 1), (1, 8, 8))[:, : options.size, : options.size]
    x = torch.tensor(np.ascontiguousarray(shown))[None]
    if image_model.preprocessing is not None:
        x = torch.tensor(image_model.preprocessing.normalise(x[0].numpy()), dtype=torch.float32)[None]
    points = x.expand(options.batch_size, -1, -1, -1).contiguous()
    ratios = {name: [] for name in FAMILIES}
    taken = {}
    bare(model, points, options.batch_size, options.batch_size)  # warm up
    for _ in range(options.repeats):
        per_gradient = {}
        for name in FAMILIES:
            explainer = pa.PathExplainer(model, family=name, steps=options.steps, batch_size=options.batch_size)
            count = taken.setdefault(name, int(explainer(x, 0).evaluations[0]))
            if count not in per_gradient:
                per_gradient[count] = seconds(lambda count=count: bare(model, points, count, options.batch_size))
            ratios[name].append(seconds(lambda explainer=explainer: explainer(x, 0)) / per_gradient[count])
    print(f"{options.model}, {options.size}×{options.size}, {options.steps} steps, blocks of {options.batch_size}, "
          f"{options.threads} threads, {options.repeats} repeats")  # fmt: skip
    print("| family | gradients | time over bare gradients | lowest | highest |\n|---|---|---|---|---|")
    for name, found in ratios.items():
        print(f"| {name} | {taken[name]} | {statistics.median(found):.3f} | {min(found):.3f} | {max(found):.3f} |")


if __name__ == "__main__":
    main()
