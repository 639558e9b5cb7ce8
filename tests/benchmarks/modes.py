"""What the faster modes of the PyTorch backend cost in digits, and gain in time.

    python tests/benchmarks/modes.py --model FILE.py:CALLABLE --images FILE.npy > docs/modes.md

The reference is the same path in float64. Each mode is run once to warm up; times are medians, modes in turn.
"""

import argparse
import copy
import statistics
import time

import numpy as np
import torch

import pathattr as pa
from pathattr.models.specs import load_model

MODES = {
    "float32": {},
    "channels last": {"channels_last": True},
    "torch.compile": {"compile": True},
    "bfloat16 autocast": {"autocast": "bfloat16"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--name")
    parser.add_argument("--images", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", default=",".join(MODES))
    options = parser.parse_args()
    model = load_model(options.model).model.to(options.device)
    images = torch.tensor(np.load(options.images), dtype=torch.float32, device=options.device)
    exact = pa.PathExplainer(copy.deepcopy(model).double(), steps=options.steps)(images.double())
    reference = exact.numpy().reshape(len(images), -1)
    errors, spent = {}, {}
    names = options.modes.split(",")
    for name in names * (1 + options.repeats):
        explainer = pa.PathExplainer(model, steps=options.steps, backend_options=MODES[name])
        began = time.perf_counter()
        found = explainer(images, exact.target.tolist())
        seconds = time.perf_counter() - began
        if name in errors:  # the first run warms up
            spent.setdefault(name, []).append(seconds)
        away = np.linalg.norm(found.numpy().reshape(len(images), -1) - reference, axis=1)
        errors[name] = away / np.linalg.norm(reference, axis=1)
    print(f"""# Faster modes of PyTorch

{options.name or options.model}, {len(images)} images, SVD path, {options.steps} steps, {options.device}. Error:
relative L2 distance of the attributions from the same path in float64. Written by
`python tests/benchmarks/modes.py ...`.

| mode | error: median | error: largest | seconds an image |
|---|---|---|---|""")
    for name in names:
        each = statistics.median(spent[name]) / len(images)
        print(f"| {name} | {np.median(errors[name]):.1e} | {errors[name].max():.1e} | {each:.3f} |")


if __name__ == "__main__":
    main()
