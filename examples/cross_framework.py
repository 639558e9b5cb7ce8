"""Do two models, in whatever frameworks, get the same attributions?

    python examples/cross_framework.py PICTURE... --a torch_models.py:resnet --b keras_models.py:resnet [--family svd]

Both specs are what `pathattr explain --model` takes; the models should be the same network. Every picture is prepared
once, by the first model's size and preprocessing, explained by both for the class that the first predicts, and the
differences are printed: relative L2 of the maps, and the largest difference over the largest attribution.
"""

import argparse
from pathlib import Path

import numpy as np

import pathattr as pa
from pathattr.models.registry import backend_for
from pathattr.models.specs import load_model
from pathattr.pictures.image_model import prepare
from pathattr.pictures.reading import read_picture


def attributions(model, inputs, target, options, backend):
    """Return the result for channels-first inputs, its map channels first, whatever the model's own convention."""
    axis = model.channel_axis
    if axis == "auto":
        axis = backend_for(model.model, inputs, backend).channel_axis
    explainer = pa.PathExplainer(
        model.model,
        family=options.family,
        steps=options.steps,
        output=options.output,
        preprocessing=model.preprocessing,
        channel_axis=axis,
        backend=backend,
    )
    result = explainer(np.moveaxis(inputs, 1, axis), target)
    return result, np.moveaxis(result.numpy(), axis, 1).astype(np.float64)


def compare(first, second, inputs, options):
    """Return the first model's result, relative L2 and largest relative difference of the second's map."""
    result, ours = attributions(first, inputs, None, options, options.backend_a)
    _, theirs = attributions(second, inputs, result.target, options, options.backend_b)
    delta = ours - theirs
    return result, np.linalg.norm(delta) / np.linalg.norm(ours), np.abs(delta).max() / np.abs(ours).max()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--a", required=True, help="spec of the first model")
    parser.add_argument("--b", required=True, help="spec of the second")
    parser.add_argument("--backend-a", help="for a plain function: torch, tensorflow or jax")
    parser.add_argument("--backend-b")
    parser.add_argument("--family", default="svd")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--output", default=None)
    options = parser.parse_args(arguments)
    first, second = load_model(options.a), load_model(options.b)
    worst = 0.0
    print("| picture | class | F(x) | relative L2 | max difference |\n|---|---|---|---|---|")
    for path in options.pictures:
        inputs = prepare(read_picture(path), first)[1][None].astype(np.float32)
        result, relative, largest = compare(first, second, inputs, options)
        worst = max(worst, relative)
        print(f"| {path.name} | {result.target[0]} | {result.score[0]:.4f} | {relative:.1e} | {largest:.1e} |")
    return worst


if __name__ == "__main__":
    main()
