"""Whether a change of the code changed a number: results of many settings on every backend, saved and compared.

python tests/same_numbers.py save FILE.npz       # before
python tests/same_numbers.py compare FILE.npz    # after; prints what moved, status 1 if anything did
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import pathattr as pa
from pathattr.testing import frameworks

SHAPE = (3, 12, 9)
BATCH = 3
# Relative to the largest number: another order of sums in float64; float32 models round points and gradients.
TOLERANCE = {"numpy": 1e-11, "torch": 1e-4, "tensorflow": 1e-4, "jax": 1e-4}

FAMILIES = {
    "linear": pa.Linear(),
    "svd": pa.SVD(),
    "svd joint": pa.SVD(channels="joint"),
    "dct": pa.DCT(),
    "haar bands": pa.Wavelet(),
    "db2 coefficients": pa.Wavelet("db2", 2, components="coefficients"),
    "laplacian": pa.Laplacian(2),
}


def settings():
    """Yield a name and what makes an explainer of it: every choice varied by itself, some together."""

    def path(name, **options):
        return name, lambda model, **more: pa.PathExplainer(model, **{"steps": 11, **options, **more})

    for name, family in FAMILIES.items():
        for schedule in (pa.LinearRamp(), pa.CosineRamp(0.1), pa.SigmoidRamp(0.7), pa.StepRamp(), pa.LinearRamp(0.0)):
            yield path(f"{name} {schedule!r}", family=family, schedule=schedule)
        yield path(f"{name} auto", family=family, steps="auto", tolerance=0.05)
        yield path(f"{name} published", family=family, preset="published")
    for rule in ("left", "right", "midpoint", "trapezoid"):
        yield path(f"svd {rule}", family="svd", rule=rule)
        yield path(f"linear {rule}", family="linear", rule=rule)
    for ordering in (pa.Energy("joint"), pa.Rank(), pa.Leading(), pa.Shuffled(of=pa.Energy()), pa.Shuffled()):
        yield path(f"svd {ordering!r}", family="svd", ordering=ordering)
    for preset in ("blur-ig", "laplacian-ig"):
        yield path(preset, preset=preset)
    for baseline in ("mean", "blur", pa.Constant(0.2), pa.GaussianNoise(), pa.Samples(np.zeros((2, *SHAPE)) + 0.1)):
        yield path(f"svd from {baseline!r:.30}", family="svd", baseline=baseline)
    yield path("nodes at equal lengths", family="svd", nodes="arc-length")
    for size in (1, 2, 5, 64):
        yield path(f"blocks of {size}", family="svd", batch_size=size)
    for output in ("raw", "logit", "probability", "log_probability"):
        yield path(f"output {output}", family="svd", output=output)
    yield "guided", lambda model, **more: pa.AdaptiveExplainer(model, pa.GuidedIG(8), **more)
    yield "gradient × input", lambda model, **more: pa.GradientInput(model, **more)
    yield "smoothgrad", lambda model, **more: pa.SmoothGrad(model, samples=5, **more)


def results():
    """Return every result's parts by "backend/setting/part"; a refusal is its first words."""
    found = {}
    x = np.random.default_rng(0).normal(size=(BATCH, *SHAPE)).astype(np.float32)
    for name in frameworks.names(None):
        backend, model = frameworks.network(name, SHAPE)
        own = np.moveaxis(x, 1, backend.channel_axis)
        for setting, explainer in settings():
            key = f"{name}/{setting}"
            try:
                result = explainer(model, backend=backend, channel_axis=backend.channel_axis)(own, [0, 2, 1])
            except pa.InvalidInput as error:
                found[f"{key}/refused"] = np.array(str(error)[:60])
                continue
            found[f"{key}/attributions"] = result.numpy()
            for part in ("score", "baseline_score", "gap", "error", "evaluations", "lowest", "highest"):
                found[f"{key}/{part}"] = np.asarray(getattr(result, part))
            found[f"{key}/forward_passes"] = np.array(result.forward_passes)
            components = result.components
            for index, part in enumerate(components.attributions if components else ()):
                found[f"{key}/component {index}"] = part
    return found


def moved(before, after):
    """Yield a line for every part that is not the same to rounding."""
    for key in sorted({*before, *after}):
        name, setting, part = key.split("/")
        if key not in before or key not in after:
            yield f"{key}: only {'after' if key in after else 'before'}"
            continue
        old, new = before[key], after[key]
        if old.dtype.kind in "US" or part in ("evaluations", "forward_passes"):
            if not np.array_equal(old, new):
                yield f"{key}: {old} → {new}"
        elif old.shape != new.shape:
            yield f"{key}: shape {old.shape} → {new.shape}"
        else:
            size = np.abs(before.get(f"{name}/{setting}/attributions", old)).max() or 1.0
            off = np.nanmax(np.abs(old - new), initial=0.0) / size
            if off > TOLERANCE.get(name, 1e-4) or not np.array_equal(np.isnan(old), np.isnan(new)):
                yield f"{key}: off by {off:.2g} of the largest attribution"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("save", "compare"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    after = results()
    if options.what == "save":
        np.savez(options.file, **after)
        print(f"{len(after)} parts")
        return
    with np.load(options.file) as saved:
        lines = list(moved(dict(saved), after))
    print("\n".join(lines) or f"{len(after)} parts, none moved")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
