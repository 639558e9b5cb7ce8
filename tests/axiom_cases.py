"""The problems on which the axioms are measured: one that is ordinary, and one for whatever a path does not promise.

Analytic models in float64 and few steps. `tests/axiom_table.py` writes down what `tests/axioms/test_axioms.py` checks.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from pathattr import LinearRamp, PathExplainer, StepRamp
from pathattr.axioms import AXIOMS, Case, promised
from pathattr.families import DCT, FAMILIES, SVD, Wavelet
from pathattr.paths.orderings import ApproximationThenFinest, Energy, Frequency
from pathattr.testing import Quadratic, TanhNetwork

SHAPE, ODD = (2, 8, 8), (2, 7, 6)
STEPS = 24
LEAST = 1e-2
"""What a counterexample must be off by: nobody takes it for rounding."""


@dataclass(frozen=True)
class Variant:
    """A path: the explainer's options, and the shape of examples, (channels, *spatial), on which it is tried."""

    options: dict[str, Any]
    shape: tuple[int, ...] = SHAPE

    def case(self, **changes):
        """Return the ordinary problem, two inputs of a smooth network, with some of it changed."""
        x, start = np.random.default_rng(0).normal(size=(2, 2, *self.shape))
        x, start = changes.pop("x", x), changes.pop("start", start)
        model = changes.pop("model", None) or TanhNetwork.random(self.shape).model()
        target = changes.pop("target", [1, 2])
        options = {"baseline": start, "steps": STEPS, "channel_axis": 1} | self.options | changes
        return Case(PathExplainer(model, **options), x, target)

    def promise(self, axiom):
        return promised(PathExplainer(None, **self.options), self.shape, axiom)

    def promises(self, axiom):
        return self.promise(axiom) != "not promised"

    def has(self, axiom):
        """Tell whether examples have what the axiom is about."""
        return self.shape[0] > 1 or axiom not in ("channels", "channel scale")


VARIANTS = {name: Variant({"family": name}) for name in FAMILIES} | {
    "svd, joint strengths": Variant({"family": SVD(), "ordering": Energy("joint")}),
    "svd, rank": Variant({"family": SVD(), "ordering": "rank"}),
    "svd, shuffled": Variant({"family": SVD(), "ordering": "shuffled"}),
    "svd, step ramp": Variant({"family": SVD(), "schedule": "step"}),
    "svd, no overlap": Variant({"family": SVD(), "schedule": LinearRamp(0.0)}),
    "svd, published jumps": Variant({"family": SVD(), "schedule": StepRamp(jumps="published")}),
    "svd-joint, joint strengths": Variant({"family": SVD("joint"), "ordering": Energy("joint")}),
    "svd-joint, rank": Variant({"family": SVD("joint"), "ordering": "rank"}),
    "svd-joint, one channel": Variant({"family": SVD("joint")}, (1, 8, 8)),
    "linear, published jumps": Variant({"family": "linear", "schedule": StepRamp(jumps="published")}),
    "dct, energy": Variant({"family": DCT(), "ordering": "energy"}),
    "dct, joint energy": Variant({"family": DCT(), "ordering": Energy("joint")}),
    "dct, joint frequency": Variant({"family": DCT(), "ordering": Frequency("joint")}),
    "dct, rank": Variant({"family": DCT(), "ordering": "rank"}),
    "dct, shuffled": Variant({"family": DCT(), "ordering": "shuffled"}),
    "dct, step ramp": Variant({"family": DCT(), "schedule": "step"}),
    "wavelet, energy": Variant({"family": Wavelet(), "ordering": "energy"}),
    "wavelet, published order": Variant({"family": Wavelet(), "ordering": "approximation-then-finest"}),
    "wavelet, joint published order": Variant({"family": Wavelet(), "ordering": ApproximationThenFinest("joint")}),
    "wavelet, odd sides": Variant({"family": Wavelet()}, ODD),
    "wavelet, stopped at odd sides": Variant({"family": Wavelet(stop_at_odd=True)}, (2, 12, 6)),
    "wavelet db2": Variant({"family": Wavelet("db2", levels=2)}),
    "wavelet db2, mirrored borders": Variant({"family": Wavelet("db2", levels=2, mode="symmetric")}),
    "wavelet bior3.1": Variant({"family": Wavelet("bior3.1", levels=2)}),
    "laplacian, published order": Variant({"family": "laplacian", "ordering": "approximation-then-finest"}),
    "laplacian, odd sides": Variant({"family": "laplacian"}, ODD),
}


# Counterexamples


def coupled(variant, axiom):
    """One pixel differs; the score is that pixel plus a product of it and its neighbour."""
    pixel, neighbour = (np.ravel_multi_index(place, variant.shape) for place in ((0, 2, 2), (0, 2, 3)))
    size = int(np.prod(variant.shape))
    matrix, linear, x = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    matrix[pixel, neighbour] = matrix[neighbour, pixel] = 100.0
    linear[pixel] = x[pixel] = 1.0
    model = Quadratic(matrix, linear.reshape(variant.shape)).model()
    return variant.case(model=model, x=x.reshape(1, *variant.shape), start=np.zeros(variant.shape), target=None)


def parabola(variant, axiom):
    """The score is the sum of squares, whose gradient at the baseline 0 is 0."""
    size = int(np.prod(variant.shape))
    model = Quadratic(2 * np.eye(size), np.zeros(variant.shape)).model()
    return variant.case(model=model, start=np.zeros(variant.shape), target=None)


def tied(variant, axiom):
    """All components of the difference are equally strong: rounding, or their place, says which comes first."""

    def difference(rng):
        if variant.options["family"] == DCT():
            from scipy import fft

            return fft.idctn(rng.choice([-1.0, 1.0], variant.shape), norm="ortho", axes=(1, 2))
        joint = variant.options["family"].channels == "joint"
        rows = variant.shape[0] * variant.shape[1] if joint else variant.shape[1]
        matrices = [np.linalg.qr(rng.normal(size=(rows, variant.shape[2])))[0] for _ in range(1 if joint else 2)]
        return np.stack(matrices).reshape(variant.shape)

    return tipped(variant, axiom, difference)


def on_the_border(variant, axiom):
    """σ₂/σ₁ = ½ jumps at the border of two of four intervals, on the side that rounding says; σ₃ just after it."""

    def difference(rng):
        u, v = (np.linalg.qr(rng.normal(size=(8, 3)))[0] for _ in range(2))
        return np.broadcast_to((u * [1.0, 0.5, 0.45]) @ v.T, variant.shape)

    return tipped(variant, axiom, difference, steps=4)


def tipped(variant, axiom, difference, **changes):
    """Return the first case of its kind in which rounding tips the balance: it does in one of two or three."""
    start = np.random.default_rng(0).normal(size=variant.shape)
    for seed in range(30):
        x = start + 3 * difference(np.random.default_rng(seed))
        case = variant.case(x=x[None], start=start, target=1, **changes)
        if residual(case, axiom).worst > 2 * LEAST:
            break
    return case


def unequal(variant, axiom):
    """Seventeen steps: a stronger channel gets more of the nodes that jumps are integrated with."""
    return variant.case(steps=17)


def receding(variant, axiom):
    """Bands open one after the other, and one of them takes the path as far away from the input as it can."""
    explainer = PathExplainer(None, **variant.options)
    shape = (1, *variant.shape[1:])
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    decompositions = [explainer.family.decompose(unit) for unit in units]
    # bands[k] is the matrix that takes a difference to its component k, the first to open first.
    bands = np.moveaxis([each.terms[0].factors[0].array[0] for each in decompositions], 0, -1)
    strengths = explainer.ordering.strengths(decompositions[0].facts, np.random.default_rng(0))[0]
    bands = bands.reshape(len(bands), len(units), len(units))[np.argsort(-strengths, kind="stable")]
    left = [bands[k:].sum(axis=0) for k in range(len(bands))]
    found = [np.linalg.eigh(after.T @ after - before.T @ before) for before, after in pairwise(left)]
    _, vectors = max(found, key=lambda pair: pair[0][-1])
    x = np.broadcast_to(vectors[:, -1].reshape(shape), variant.shape)
    return variant.case(x=x[None], start=np.zeros(variant.shape), target=1, schedule=LinearRamp(0.05))


def ordinary(variant, axiom):
    """The ordinary problem."""
    return variant.case()


MOVES = ("flips", "transposition", "rotations", "permutations")
ROUNDED = (*MOVES, "channels", "translation", "global scale", "channel scale")
KEPT = [
    # Which axioms of which variants are violated by which counterexample; the first that fits, the ordinary one else.
    (["completeness", "sensitivity"], "published jumps", parabola),
    (["sensitivity"], "", coupled),
    (["distance"], "", receding),
    (ROUNDED, "rank", tied),
    (ROUNDED, "svd, step ramp", on_the_border),
    (ROUNDED, "svd, no overlap", on_the_border),
    (ROUNDED, "svd, published jumps", on_the_border),
    (["channel scale"], "dct, step ramp", unequal),
]
HOLD_ALL_THE_SAME = {
    # Promised conservatively: what holds on the ordinary problem without being promised, and why nobody relies on it.
    "a channel's strengths and jumps are its own, whatever the ordering does to places": [
        *((f"svd, {path}", "channels") for path in ("rank", "step ramp", "no overlap", "published jumps")),
        *((f"{path}", "channels") for path in ("dct, rank", "dct, step ramp", "wavelet, published order")),
        ("laplacian, published order", "channels"),
    ],
    "the place of a singular component is its rank, which no permutation changes, but for ties": [
        *(("svd, shuffled", axiom) for axiom in (*MOVES, "translation", "global scale", "channel scale")),
    ],
    "a flip leaves every coefficient, and every band, in its place": [
        *((f"dct, {path}", "flips") for path in ("rank", "shuffled", "step ramp")),
        *((f"{path} published order", "flips") for path in ("wavelet,", "wavelet, joint", "laplacian,")),
    ],
    "a level of the Laplacian pyramid is one band, whatever lies across": [
        *(("laplacian, published order", axiom) for axiom in ("transposition", "rotations")),
    ],
    "the strengths of frequencies are the same numbers, so that no jump falls to the other side of a border": [
        *(("dct, step ramp", axiom) for axiom in ("translation", "global scale", "transposition", "rotations")),
    ],
    "with the finest band second, sides of 8 do not recede": [("laplacian, published order", "distance")],
}


def expectation(name, axiom):
    """Return the reason for which an axiom that is not promised holds all the same; None where it is violated."""
    return next((why for why, pairs in HOLD_ALL_THE_SAME.items() if (name, axiom) in pairs), None)


@cache
def counterexample(name, axiom):
    """Return the problem that is kept for an axiom that a variant does not promise: how it is made, and its case."""
    build = next((build for axioms, part, build in KEPT if axiom in axioms and part in name), ordinary)
    return build, build(VARIANTS[name], axiom)


@cache
def reference(name):
    """Return the ordinary problem of a variant."""
    return VARIANTS[name].case()


def residual(case, axiom):
    return AXIOMS[axiom].residual(case)
