"""What half precision of a PyTorch model does to its maps.

    python tests/benchmarks/rounding.py [--model FILE.py:CALLABLE --images FILE.npy]

The error is the relative L2 distance of the attributions from those of the same path in float64. Classes are those that
the float64 model predicts. Without a network, one of random weights and drawn pictures: its figures say little.
"""

import argparse
import copy

import numpy as np
import torch

import pathattr as pa
from common import normalised, pictures, table
from pathattr.models.specs import load_model

PRECISIONS = {
    "float32": (torch.float32, {}),
    "bfloat16": (torch.bfloat16, {}),
    "float16": (torch.float16, {}),
    "bfloat16 autocast": (torch.float32, {"autocast": "bfloat16"}),
}


def random_network():
    """Return a small network of convolutions with random weights."""
    torch.manual_seed(0)
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(3, 8, 3), layers.ReLU(), layers.Conv2d(8, 8, 3, stride=2), layers.ReLU(),
        layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(8, 10),
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="FILE.py:CALLABLE that returns the network")
    parser.add_argument("--images", help="FILE.npy with pictures as the network takes them")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--families", default="linear,svd,dct,wavelet,laplacian")
    parser.add_argument("--outputs", default="probability,logit")
    options = parser.parse_args()
    model = load_model(options.model).model if options.model else random_network().eval()
    drawn = (
        np.load(options.images)[: options.count] if options.images else normalised(pictures(options.count, 32), None)
    )
    images = torch.tensor(drawn, dtype=torch.float64)
    rows = []
    for output in options.outputs.split(","):
        for family in options.families.split(","):
            settings = {"family": family, "steps": options.steps, "output": output, "components": False}
            exact = pa.PathExplainer(copy.deepcopy(model).double(), **settings)(images)
            reference = exact.numpy().reshape(len(images), -1)
            told = []
            for dtype, modes in PRECISIONS.values():
                explainer = pa.PathExplainer(copy.deepcopy(model).to(dtype), backend_options=modes, **settings)
                found = explainer(images.float(), exact.target.tolist()).numpy().reshape(len(images), -1)
                errors = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
                told.append(f"{np.median(errors):.1e} ({errors.max():.1e})")
            rows.append([output, family, *told])
            print(f"{output} {family}: {', '.join(told)}", flush=True)
    print()
    print("\n".join(table(["output", "family", *PRECISIONS], rows)))


if __name__ == "__main__":
    main()
