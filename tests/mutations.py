"""Do the tests notice? Deliberate faults, one at a time, and the test that notices each.

    python tests/mutations.py [--only NAME ...] [--likely] [--jobs 1] [--table docs/mutations.md]

Every fault is made in a copy of the working tree as it is at the start, with which the quick tests on NumPy and torch
then run: the likely test files first, and all of them where those notice nothing (not with --likely). Status 1 if a
fault survives. tests/test_mutations.py sees to it that every fault still has its place.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Measurements, and tests that run in processes of their own, on other frameworks or on packages installed elsewhere.
LEFT_OUT = {"benchmarks", "convergence", "frameworks", "parity", "real", "third_party"}
OTHER_FRAMEWORKS = re.compile(r"^(import|from) (jax|keras|tensorflow|pathattr_(jax|tensorflow))", re.MULTILINE)
LIMIT = 600  # seconds for one run of tests; all of them take about two minutes
# Run inside pytest itself: the installed package must not be tested in place of the copy.
CHECK = """
import pathlib, pathattr, pathattr_torch

def pytest_configure(config):
    here = pathlib.Path(__file__).parent
    assert all(here in pathlib.Path(module.__file__).parents for module in (pathattr, pathattr_torch))
"""


@dataclass(frozen=True)
class Fault:
    """One change of one file: `old`, which occurs exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    means: str
    likely: tuple[str, ...] = ()
    """Test files that run first, without "test_"; by default those of the file."""
    equivalent: str = ""
    """Why no test could notice, where none can."""

    def __post_init__(self):
        assert self.old != self.new


# Which tests look at a file first.
LIKELY = {
    "pathattr/paths/schedules.py": ("schedules", "testing"),
    "pathattr/paths/orderings.py": ("orderings", "explainer"),
    "pathattr/integration/quadrature.py": ("quadrature", "engine"),
    "pathattr/integration/engine.py": ("engine", "explainer"),
    "pathattr/integration/sums.py": ("engine", "contract"),
    "pathattr/integration/points.py": ("engine", "explainer"),
    "pathattr/methods/path_explainer.py": ("explainer", "baselines"),
    "pathattr/models/targets.py": ("targets", "backend"),
    "pathattr/paths/baselines.py": ("baselines",),
    "pathattr/results/attribution.py": ("attribution",),
    "pathattr/pictures/preprocessing.py": ("preprocessing", "baselines"),
    "pathattr/common/axes.py": ("layout", "explainer"),
    "pathattr/models/numpy_backend.py": ("backend",),
    "pathattr/models/arguments.py": ("arguments",),
    "pathattr/models/outputs.py": ("outputs", "advice_models"),
    "pathattr/models/heads.py": ("outputs", "advice_models", "backend", "torch"),
    "pathattr/models/rows.py": ("arguments", "advice_models", "torch_state"),
    "pathattr/methods/replay.py": ("settings", "explainer"),
    "pathattr/methods/settings.py": ("settings", "explainer"),
    "pathattr/common/archives.py": ("archives",),
    "backends/pathattr_torch/backend.py": ("torch", "peers"),
    "backends/pathattr_torch/gradients.py": ("torch", "peers"),
} | {
    f"pathattr/{name}.py": ("families", "published")
    for name in (
        "families/dct", "families/filters", "families/laplacian", "families/svd", "families/wavelet", "common/ops",
    )
}  # fmt: skip

SCHEDULES = [
    Fault(
        "window-start", "pathattr/paths/schedules.py",
        "return (1.0 - self.overlap) * (1.0 - strengths)", "return 1.0 - strengths",
        "windows start at 1 − s, whatever ω",
    ),
    Fault(
        "gate-not-clipped", "pathattr/paths/schedules.py",
        "self.ramp(ops, ops.clip(progress, 0.0, 1.0))", "self.ramp(ops, progress)",
        "gates go on beyond their window",
    ),
    Fault(
        "ends-not-set", "pathattr/paths/schedules.py",
        "return ops.where(alpha <= 0, 0.0, ops.where(alpha >= 1, 1.0, gate))", "return gate",
        "gates at α = 0 and 1 are what the ramp makes of them",
    ),
    Fault(
        "cosine-sign", "pathattr/paths/schedules.py", "return 0.5 - 0.5 * ops.cos", "return 0.5 + 0.5 * ops.cos",
        "the cosine ramp falls",
    ),
    Fault(
        "sigmoid-not-rescaled", "pathattr/paths/schedules.py",
        "return ops.clip((1.0 / (1.0 + ops.exp(self.gain * (0.5 - progress))) - low) / (high - low), 0.0, 1.0)",
        "return 1.0 / (1.0 + ops.exp(self.gain * (0.5 - progress)))",
        "the sigmoid ramp starts above 0 and ends below 1",
    ),
    Fault(
        "step-threshold", "pathattr/paths/schedules.py",
        "self.starts(strengths) + 0.5 * self.overlap", "self.starts(strengths) + 0.25 * self.overlap",
        "steps a quarter through the window",
    ),
    Fault(
        "jump-after-opening", "pathattr/paths/schedules.py",
        "alpha >= self.openings(strengths)", "alpha > self.openings(strengths)",
        "a gate is still closed at the α at which it jumps",
    ),
]  # fmt: skip

ORDERINGS = [
    Fault(
        "energy-reversed", "pathattr/paths/orderings.py",
        "return facts.energy / np.where(largest > 0, largest, 1.0)",
        "return 1.0 - facts.energy / np.where(largest > 0, largest, 1.0)",
        "weak components first",
    ),
    Fault(
        "rank-not-spaced", "pathattr/paths/orderings.py",
        'return _spaced(np.argsort(-facts.energy, axis=1, kind="stable"))',
        "return facts.energy / facts.energy.max(axis=1, keepdims=True)",
        "ranks spaced by energy",
    ),
    Fault(
        "rank-reversed", "pathattr/paths/orderings.py",
        'return _spaced(np.argsort(-facts.energy, axis=1, kind="stable"))',
        'return _spaced(np.argsort(facts.energy, axis=1, kind="stable"))',
        "ranks from the weakest",
    ),
    Fault(
        "frequency-inverted", "pathattr/paths/orderings.py",
        "return 1.0 - _known(facts.frequency", "return _known(facts.frequency",
        "high frequencies first",
    ),
    Fault(
        "scopes-exchanged", "pathattr/paths/orderings.py", 'if self.scope == "joint":', 'if self.scope == "channel":',
        "per channel is joint and joint per channel",
    ),
    Fault(
        "scale-spacing", "pathattr/paths/orderings.py",
        "np.maximum(scale.max(axis=1, keepdims=True), 1.0)", "(scale.max(axis=1, keepdims=True) + 1.0)",
        "the finest scale has a strength above 0",
    ),
    Fault(
        "shuffle-across-spectra", "pathattr/paths/orderings.py",
        "return rng.permuted((self.of or Energy()).strengths(facts, rng), axis=1)",
        "return rng.permuted((self.of or Energy()).strengths(facts, rng))",
        "strengths are dealt from channel to channel",
    ),
]  # fmt: skip

FAMILIES = [
    Fault(
        "dct-label", "pathattr/families/dct.py",
        "Factor(p + h, _matrix(size)",
        "Factor(h + p, _matrix(size)",
        "the equation reads the cosine matrices transposed",
    ),
    Fault(
        "dct-not-orthonormal", "pathattr/common/ops.py",
        "np.where(wave == 0, np.sqrt(1 / size), ",
        "np.where(wave < 0, np.sqrt(1 / size), ",
        "the constant cosine is not of length 1",
    ),
    Fault(
        "svd-sigma-dropped", "pathattr/families/svd.py", "sigma[..., None] * vt)", "vt)",
        "components without their singular value",
    ),
    Fault(
        "svd-exponent-lost", "pathattr/families/svd.py", "np.ldexp(sigma, exponent[..., None])", "sigma",
        "singular values of the rescaled matrix",
    ),
    Fault(
        "wavelet-band-dropped", "pathattr/families/filters.py",
        "levels.append([bands[kind] for kind in details])",
        "levels.append([bands[kind] if sum(kind) < 2 else 0.0 * bands[kind] for kind in details])",
        "the diagonal band of each level is lost",
    ),
    Fault(
        "wavelet-scales-reversed", "pathattr/families/wavelet.py",
        "yield scale, float(",
        "yield len(pyramid.levels) + 1 - scale, float(",
        "scales count from the finest",
    ),
    Fault(
        "wavelet-atoms-dropped", "pathattr/families/wavelet.py",
        "np.abs(array) * reduce(np.multiply.outer, atoms)",
        "np.abs(array)",
        "the energy of a coefficient whose atom is not of length 1",
    ),
    Fault(
        "wavelet-uncorrected", "pathattr/families/wavelet.py",
        "for _ in range(CORRECTIONS):",
        "for _ in range(0):",
        "filters that reconstruct approximately stay so",
    ),
    Fault(
        "haar-stops-at-odd", "pathattr/families/wavelet.py",
        "not (self.stop_at_odd and any(side % 2 for side in sides))",
        "not any(side % 2 for side in sides)",
        "levels end at the first odd side always",
    ),
    Fault(
        "laplacian-wrong-level", "pathattr/families/laplacian.py",
        "coarse - _expanded(low, sides[-1])",
        "coarse - _expanded(low / 2, sides[-1])",
        "residuals against half of the next level",
    ),
    Fault(
        "laplacian-corners", "pathattr/families/laplacian.py",
        "(np.arange(fine) + 0.5) * coarse / fine - 0.5", "np.arange(fine) * (coarse - 1) / max(fine - 1, 1)",
        "upsampling aligned at the corners: still complete, not the published pyramid",
    ),
]  # fmt: skip

QUADRATURE = [
    Fault(
        "edge-off-by-one", "pathattr/integration/quadrature.py",
        "inner = grid[kept[:-1] + 1]", "inner = grid[kept[:-1]]",
        "edges one place early",
    ),
    Fault(
        "last-interval-dropped", "pathattr/integration/quadrature.py",
        "return self.intervals + rule.padding if", "return self.intervals + rule.padding - 1 if",
        "the last node is not taken",
    ),
    Fault(
        "trapezoid-ends", "pathattr/integration/quadrature.py", "return self.window - 2", "return 0",
        "both ends of the trapezoid lose their half (Captum's defect)",
    ),
    Fault(
        "midpoint-left", "pathattr/integration/quadrature.py",
        '"midpoint": Rule((0.5, 0.5), (-1, 1), order=2)', '"midpoint": Rule((1, 0), (-1, 1), order=2)',
        "gradients at the left edges",
    ),
    Fault(
        "sub-nodes-equal", "pathattr/integration/quadrature.py",
        "quota = length / length.sum() *", "quota = np.ones(len(length)) / len(length) *",
        "jumps get equal shares of sub-nodes, whatever their length",
    ),
    Fault(
        "sub-node-shares", "pathattr/integration/quadrature.py",
        "share = part / parts[which]", "share = 0.0 * part / parts[which]",
        "sub-nodes all at the foot of the jump",
    ),
    Fault(
        "rest-too-early", "pathattr/integration/quadrature.py",
        "latest + schedule.overlap > grid[:-1]", "latest + 0.5 * schedule.overlap > grid[:-1]",
        "intervals in the second half of a window are merged as if at rest",
    ),
    Fault(
        "jump-interval", "pathattr/integration/quadrature.py",
        'schedule.openings(strengths[moving]), side="left"', 'schedule.openings(strengths[moving]), side="right"',
        "a jump on an edge falls into the interval after it",
    ),
    Fault(
        "positions-left", "pathattr/integration/quadrature.py", "0.5 * (grid[kept] + grid[kept + 1])", "grid[kept]",
        "messages name the left edge of an interval in place of its middle",
    ),
]  # fmt: skip

ENGINE = [
    Fault(
        "block-border", "pathattr/integration/points.py", "concat([new[:, -count:]]", "concat([new[:, :count]]",
        "a block goes on from the first edge of the block before",
    ),
    Fault(
        "neighbours-increment", "pathattr/integration/engine.py",
        "features.add(gradients, increments)",
        "features.add(gradients, backend.concat([increments[:, -1:], increments[:, :-1]], 1))",
        "each gradient meets the increment of the node before",
    ),
    Fault(
        "neighbours-gates", "pathattr/integration/engine.py",
        "total.add(backend.wide(projection), moved)",
        "total.add(backend.wide(projection), backend.concat([moved[:, -1:], moved[:, :-1]], 1))",
        "components: each projection meets the gates' increment of the node before",
    ),
    Fault(
        "narrow-sum", "pathattr/integration/sums.py",
        "backend.wide(np.zeros(shape))", "backend.asarray(np.zeros(shape))",
        "sums of float32 models in float32",
    ),
    Fault(
        "compensation-sign", "pathattr/integration/sums.py",
        "return new, lost + (", "return new, lost - (",
        "what rounding lost is lost twice",
    ),
    Fault(
        "filled-scores-kept", "pathattr/integration/engine.py",
        "self.backend.to_numpy(scores)[: len(part)]", "self.backend.to_numpy(scores)",
        "rows that fill up a block of baselines count",
    ),
    Fault(
        "filled-outputs-kept", "pathattr/integration/engine.py",
        "partial(self._outputs, x, rows[own]))[0], len(part))", "partial(self._outputs, x, rows[own]))[0], len(own))",
        "rows that fill up a block of inputs count",
    ),
    Fault(
        "end-synthesised", "pathattr/integration/points.py", "if arrived.any():", "if False:",
        "the end of the path is a synthesis in place of x itself",
    ),
    Fault(
        "outside-evaluated", "pathattr/integration/engine.py",
        "(np.arange(first, first + size) < counts[:, None])", "(np.arange(first, first + size) < counts.max())",
        "a short path is evaluated as often as the longest of its group",
    ),
    Fault(
        "rows-mixed", "pathattr/integration/engine.py",
        "np.repeat([path.row for path in paths], size)[index]", "np.tile([path.row for path in paths], size)[index]",
        "further inputs of one example with the points of another",
    ),
    Fault(
        "targets-mixed", "pathattr/integration/engine.py",
        "np.repeat([path.targets for path in paths], size, axis=0)[index]",
        "np.concatenate([[path.targets for path in paths]] * size)[index]",
        "targets of one example with the points of another",
    ),
]  # fmt: skip

EXPLAINER = [
    Fault(
        "path-reversed", "pathattr/methods/path_explainer.py",
        "self._path(start, host[row], layout", "self._path(host[row], start, layout",
        "from the input to the baseline",
    ),
    Fault(
        "first-target-for-all", "pathattr/methods/path_explainer.py",
        "layout, ends.targets[row], row)",
        "layout, ends.targets[0], row)",
        "every example is explained for the first one's target",
    ),
    Fault(
        "target-at-baseline", "pathattr/methods/explainer.py",
        "outputs.explained(self.output, target)",
        "self.outputs_of(backend, np.concatenate([backend.to_numpy(part) for part in "
        "engine.outputs(np.zeros_like(host))])).explained(self.output, target)",
        "a missing target is the class at black (the SIG code's defect: at the baseline)", ("targets",),
    ),
    Fault(
        "gap-sign", "pathattr/methods/explainer.py",
        "gap=attributions.reshape(batch, -1).sum(axis=1) - (ends.score - baseline_score)",
        "gap=(ends.score - baseline_score) - attributions.reshape(batch, -1).sum(axis=1)",
        "the gap with the other sign", ("explainer", "gradients"),
    ),
    Fault(
        "noise-by-place", "pathattr/methods/explainer.py",
        "            for example in host:\n                context = Context(self.preprocessing, "
        "np.random.default_rng(self.seed))\n",
        "            context = Context(self.preprocessing, np.random.default_rng(self.seed))\n"
        "            for example in host:\n",
        "noise depends on the place in the batch", ("baselines",),
    ),
    Fault(
        "references-not-averaged", "pathattr/integration/example.py", "return total / count", "return total",
        "attributions are summed over reference samples", ("baselines",),
    ),
    Fault(
        "first-reference-scored", "pathattr/methods/explainer.py",
        "baseline_score = ends.start_scores.mean(axis=1)",
        "baseline_score = ends.start_scores[:, 0]",
        "F(x') is that of the first reference sample", ("baselines",),
    ),
    Fault(
        "bounds-without-ends", "pathattr/methods/explainer.py",
        "low if lowest is None else np.minimum(low, lowest)",
        "low if lowest is None else lowest",
        "the lowest value met leaves out both ends", ("explainer",),
    ),
    Fault(
        "linear-overlap", "pathattr/methods/settings.py",
        "order, gates = Energy(), replace(gates, overlap=1.0)",
        "order = Energy()",
        "the straight line rests outside of its one window", ("explainer",),
    ),
    Fault(
        "contrast-sign", "pathattr/models/targets.py",
        "score - ops.select(linked, targets[:, 1])", "score + ops.select(linked, targets[:, 1])",
        "a contrast adds",
    ),
    Fault(
        "contrast-gradient-sign", "pathattr/models/targets.py", "(1.0, -1.0), strict=False", "(1.0, 1.0), strict=False",
        "a contrast's closed-form gradient adds",
    ),
    Fault(
        "no-softmax", "pathattr/models/targets.py",
        '("probability", "softmax"): "softmax"', '("probability", "softmax"): "identity"',
        "probabilities are logits",
    ),
    Fault(
        "mean-of-channels", "pathattr/paths/baselines.py",
        "example.mean(axis=tuple(range(1, example.ndim)), keepdims=True)", "example.mean()",
        "one mean for all channels",
    ),
    Fault(
        "blur-kernel", "pathattr/paths/baselines.py", "self.kernel // 2", "self.kernel",
        "the blur's kernel is twice as wide",
    ),
    Fault(
        "black-not-normalised", "pathattr/paths/baselines.py",
        "_raw(self, context).normalise(np.zeros_like(example))", "np.zeros_like(example)",
        "black is 0 after the normalisation",
    ),
]  # fmt: skip

REST = [
    Fault(
        "map-scaled-by-batch", "pathattr/results/attribution.py",
        "np.percentile(np.abs(values), percentile)", "np.percentile(np.abs(array), percentile)",
        "maps are scaled by the whole batch (WAM's defect)",
    ),
    Fault(
        "map-of-means", "pathattr/results/attribution.py",
        '"sum": lambda v: v.sum(axis=0)', '"sum": lambda v: v.mean(axis=0)',
        "maps are means over channels (Xplique's defect)",
    ),
    Fault(
        "save-loses-settings", "pathattr/results/attribution.py", '"settings": self.settings,', '"settings": {},',
        "files without the settings",
    ),
    Fault(
        "save-narrows", "pathattr/results/attribution.py",
        'arrays = {"attributions": self.numpy()}',
        'arrays = {"attributions": self.numpy().astype(np.float32)}',
        "files hold float32",
    ),
    Fault(
        "std-not-applied", "pathattr/pictures/preprocessing.py", "return (raw - mean) / std", "return raw - mean",
        "pictures are normalised by the mean alone",
    ),
    Fault(
        "restore-without-mean", "pathattr/pictures/preprocessing.py",
        "return inputs * std + mean", "return inputs * std",
        "raw pixels without the mean",
    ),
    Fault(
        "channels-stay-first", "pathattr/common/axes.py",
        "return np.moveaxis(canonical, 0, self.channel_axis)",
        "return np.moveaxis(canonical, 0, self.channel_axis if self.channel_axis < 2 else -2)",
        "channels that were last come back last but one",
    ),
    Fault(
        "arguments-not-repeated", "pathattr/models/numpy_backend.py",
        "else taken(array, rows, axis)",
        "else taken(array, 0 * rows, axis)",
        "further inputs of the first example serve all", ("arguments", "backend"),
    ),
    Fault(
        "callback-contrast", "pathattr/models/numpy_backend.py", "part[chosen] = sign * found", "part[chosen] = found",
        "a callback's contrast adds",
    ),
]  # fmt: skip

TORCH = [
    Fault(
        "torch-first-target", "backends/pathattr_torch/backend.py",
        "scores: Tensor = objective.score(self, explained, targets)",
        "scores: Tensor = objective.score(self, explained, targets[:1].repeat(len(targets), axis=0))",
        "gradients of the sum over the batch for the first row's target",
    ),
    Fault(
        "torch-mean", "backends/pathattr_torch/gradients.py",
        "along = torch.ones_like(scores) if", "along = torch.full_like(scores, 1 / len(scores)) if",
        "gradients over the number of points",
    ),
    Fault(
        "torch-graph-kept", "backends/pathattr_torch/backend.py",
        "return scores.detach().clone(), gradients.detach()",
        "return scores, gradients",
        "scores hold the graph of their block",
    ),
    Fault(
        "torch-parameters-off", "backends/pathattr_torch/backend.py",
        "torch.enable_grad(), autocast(self._device.type, None):\n            yield",
        "torch.enable_grad(), autocast(self._device.type, None):\n"
        "            [parameter.requires_grad_(False) for parameter in self._model.parameters()]\n            yield",
        "parameters lose their gradients for good", ("torch_state", "torch"),
    ),
    Fault(
        "torch-arguments-not-repeated", "backends/pathattr_torch/backend.py",
        "return array if axis is None else torch.index_select(array, axis, sent(rows, self._device))",
        "return array",
        "further inputs are passed once for all nodes", ("torch", "arguments"),
    ),
    Fault(
        "torch-narrow-wide", "backends/pathattr_torch/backend.py",
        "dtype = torch.float64 if self.has_float64 else torch.float32", "dtype = torch.float32",
        "sums in float32 (Captum's step weights)",
    ),
    Fault(
        "torch-training-mode", "backends/pathattr_torch/parts.py",
        'if getattr(module, "training", False) and id(module) not in told:',
        'if path == name and getattr(module, "training", False) and id(module) not in told:',
        "a part in training mode passes", ("advice_torch", "torch_state"),
    ),
]  # fmt: skip

AXIOMS = [
    Fault(
        "gradient-not-pulled",
        "pathattr/axioms/view.py",
        "self._changed(gradients, term.pull)",
        "gradients",
        "the gradient of a conjugated model stays in the model's own coordinates",
        ("axioms",),
    ),
    Fault(
        "wrong-promise",
        "pathattr/families/dct.py",
        'frozenset({"channels",',
        'frozenset({"permutations", "channels",',
        "a family promises what it does not keep",
        ("axioms",),
    ),
    Fault(
        "verdict-for-all",
        "pathattr/axioms/verification.py",
        'if promise == "not promised":',
        "if False:",
        "what is not promised is judged",
        ("axioms",),
    ),
    Fault(
        "completeness-loosened",
        "pathattr/axioms/integral.py",
        "CLOSE = 0.01\n",
        "CLOSE = 0.05\n",
        "a gap of a twentieth of the range is as good as none",
        ("axioms",),
    ),
    Fault(
        "gap-need-not-fall",
        "pathattr/axioms/integral.py",
        "0.5 * gaps[:-1].max(axis=0)",
        "gaps[:-1].max(axis=0)",
        "a gap that stays as it is passes",
        ("axioms",),
    ),
    Fault(
        "close-loosened",
        "pathattr/axioms/verification.py",
        "CLOSE = 0.01\n",
        "CLOSE = 0.1\n",
        "where rounding hides an axiom, agreement to a tenth holds",
        ("axioms",),
    ),
    Fault(
        "unclear-loosened",
        "pathattr/axioms/verification.py",
        "UNCLEAR = 0.1\n",
        "UNCLEAR = 0.5\n",
        "a tolerance of half of the attributions still tells",
        ("axioms",),
    ),
    Fault(
        "rounding-loosened",
        "pathattr/axioms/case.py",
        "return MARGIN * self.rounding + 1000 * self.precision",
        "return 10 * MARGIN * self.rounding + 10000 * self.precision",
        "exact axioms may miss ten times what rounding does",
        ("axioms",),
    ),
]

METRICS = [
    Fault(
        "percentile-interval", "pathattr/metrics/statistics.py",
        'method="BCa"',
        'method="percentile"',
        "intervals without bias correction and acceleration", ("scores",),
    ),
    Fault(
        "confidence-ignored", "pathattr/metrics/statistics.py",
        "confidence_level=confidence",
        "confidence_level=0.95",
        "every interval is a 95% interval", ("scores",),
    ),
    Fault(
        "comparison-reversed", "pathattr/metrics/scores.py",
        "self[name] - other[name]",
        "other[name] - self[name]",
        "paired differences with the other sign", ("scores",),
    ),
    Fault(
        "area-not-scaled", "pathattr/metrics/scores.py",
        " / (x[-1] - x[0])",
        "",
        "the area under a curve grows with the range of x", ("scores",),
    ),
    Fault(
        "least-important-first", "pathattr/metrics/ranking.py",
        "np.argsort(-values.ravel()",
        "np.argsort(values.ravel()",
        "ranks from the least important", ("diffid", "road", "rise"),
    ),
    Fault(
        "channels-cannot-cancel", "pathattr/metrics/ranking.py",
        "np.abs(map_.sum(axis=0))",
        "np.abs(map_).sum(axis=0)",
        "the absolute rank is of magnitudes summed over channels", ("road", "rise"),
    ),
    Fault(
        "insertion-from-the-top", "pathattr/metrics/diffid.py",
        "place >= map_.size - count",
        "place >= count",
        "DiffID's insertion keeps the top share", ("diffid",),
    ),
    Fault(
        "soft-not-cut", "pathattr/metrics/removal.py",
        "np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0), 0.0, 1.0)",
        "np.nan_to_num(share, nan=0.0, posinf=1.0)",
        "soft scores above 1", ("diffid", "road"),
    ),
    Fault(
        "hard-and-difference-reversed", "pathattr/metrics/removal.py",
        "means[:, 1] - means[:, 0]",
        "means[:, 0] - means[:, 1]",
        "DiffID and ROAD with the other sign", ("diffid", "road"),
    ),
    Fault(
        "black-not-normalised-fill", "pathattr/metrics/fills.py",
        "black = zero if preprocessing is None else preprocessing.normalise(zero)",
        "black = zero",
        "the zero fill is grey where pictures are normalised", ("diffid",),
    ),
    Fault(
        "mean-of-all", "pathattr/metrics/fills.py",
        "remaining.mean() if remaining.size else example.mean()",
        "example.mean()",
        "the mean fill is of the whole picture", ("diffid",),
    ),
    Fault(
        "deletion-is-insertion", "pathattr/metrics/rise.py",
        "return place < count",
        "return place >= count",
        "RISE's deletion inserts", ("rise",),
    ),
    Fault(
        "imputers-exchanged", "pathattr/metrics/imputation.py",
        '{"noisy-linear": NoisyLinear, "fixed": ChannelMean}',
        '{"noisy-linear": ChannelMean, "fixed": NoisyLinear}',
        "ROAD's fixed imputer is the noisy one and the other way round", ("road",),
    ),
    Fault(
        "imputation-without-noise", "pathattr/metrics/imputation.py",
        "found = smooth + noise",
        "found = smooth",
        "what is imputed can be told by its smoothness", ("road",),
    ),
    Fault(
        "one-mean-imputed", "pathattr/metrics/imputation.py",
        "means = example.reshape(len(example), -1).mean(axis=1)",
        "means = np.full(len(example), example.mean())",
        "the fixed imputer takes one mean for all channels", ("road",),
    ),
    Fault(
        "infidelity-not-held", "pathattr/metrics/infidelity.py",
        "example - subject.held(start)",
        "example - start",
        "entries that equal a baseline which the model's dtype rounds seem to move", ("metrics_infidelity",),
    ),
    Fault(
        "infidelity-not-scaled", "pathattr/metrics/infidelity.py",
        "factor[:, None] * shape - change",
        "shape - change",
        "the scaled infidelity has no factor", ("metrics_infidelity",),
    ),
    Fault(
        "pointing-tolerance", "pathattr/metrics/localisation.py",
        "< self.tolerance**2",
        "<= self.tolerance**2",
        "pointing at exactly the tolerance is a hit", ("metrics_localisation",),
    ),
    Fault(
        "mass-cancels", "pathattr/metrics/localisation.py",
        "_share(np.abs(maps), masks)",
        "_share(maps, masks)",
        "negative entries take from the mass inside", ("metrics_localisation",),
    ),
    Fault(
        "union-counted-twice", "pathattr/metrics/localisation.py",
        "both / (counts + total - both)",
        "both / (counts + total)",
        "the union counts the intersection twice", ("metrics_localisation",),
    ),
    Fault(
        "mean-sensitivity", "pathattr/metrics/sensitivity.py",
        '"max_sensitivity": ratios.max(axis=1)',
        '"max_sensitivity": ratios.mean(axis=1)',
        "the largest change is the mean change", ("metrics_sensitivity",),
    ),
    Fault(
        "first-layer-first", "pathattr/metrics/randomisation.py",
        "names = names[::-1]",
        "names = names[:]",
        "the cascade begins with the first layer", ("metrics_randomisation",),
    ),
    Fault(
        "gini-without-half", "pathattr/metrics/sparseness.py",
        "count - rank + 0.5",
        "count - rank",
        "the Gini index of equal entries is not 0", ("metrics_sparseness",),
    ),
]  # fmt: skip

STUDIES = [
    Fault(
        "differences-reversed", "pathattr/studies/summary.py",
        "bootstrap(values - _column(results[chosen], key))",
        "bootstrap(_column(results[chosen], key) - values)",
        "differences of the reference to the setting", ("studies",),
    ),
    Fault(
        "decided-by-chance", "pathattr/studies/summary.py",
        "told = interval.decided and",
        "told = True and",
        "every difference is bold", ("studies",),
    ),
    Fault(
        "missed-reached", "pathattr/studies/summary.py",
        "int((error > tolerance).sum())",
        "int((error <= tolerance).sum())",
        "examples within the tolerance count as missed", ("studies",),
    ),
    Fault(
        "mean-gap", "pathattr/studies/summary.py",
        '_middle(found.costs["relative_gap"], np.median)',
        '_middle(found.costs["relative_gap"], np.mean)',
        "one wild gap is the table's gap", ("studies",),
    ),
    Fault(
        "digits-of-the-smallest", "pathattr/studies/summary.py",
        "largest = max((abs(mean)",
        "largest = min((abs(mean)",
        "tables show digits for the smallest mean", ("studies",),
    ),
    Fault(
        "table-scores-by-place", "pathattr/studies/table.py",
        'numbers["value"].append(values[rows])',
        'numbers["value"].append(values[: len(rows)])',
        "scores slide to other examples once one has failed or is missing", ("studies",),
    ),
]  # fmt: skip

PLOTS_AND_COMMANDS = [
    Fault(
        "maps-by-their-largest", "pathattr/results/figures.py",
        "float(np.percentile(together, percentile)) or float(together.max())",
        "float(together.max())",
        "full colour stands for the largest value: one pixel makes a map pale", ("rendering",),
    ),
    Fault(
        "map-scale-halved", "pathattr/results/figures.py",
        "float(np.percentile(together, percentile)) or",
        "0.5 * float(np.percentile(together, percentile)) or",
        "full colour stands for half of the 99th percentile", ("rendering",),
    ),
    Fault(
        "study-maps-scale", "pathattr/studies/figures.py",
        "return grid(rows, percentile=100.0, footer=footer)",
        "return grid(rows, percentile=50.0, footer=footer)",
        "a study's maps are scaled by the median", ("studies", "cli_ablate"),
    ),
    Fault(
        "command-contrast-reversed", "pathattr/cli/options.py",
        "Contrast(chosen, _class(contrast, classes))",
        "Contrast(_class(contrast, classes), chosen)",
        "--contrast explains the other class", ("cli",),
    ),
    Fault(
        "command-target-dropped", "pathattr/cli/work.py",
        "attribution = explainer(inputs, target)",
        "attribution = explainer(inputs)",
        "--target is read and ignored", ("cli",),
    ),
    Fault(
        "verify-target-dropped", "pathattr/cli/verifying.py",
        "inputs, target = np.concatenate(batches), target_from(*options, subject.model.classes)",
        "inputs, target = np.concatenate(batches), None",
        "verify's --target is read and ignored", ("cli_verify",),
    ),
    Fault(
        "failure-is-success", "pathattr/cli/app.py",
        "return int(status or 0)",
        "return 0",
        "every command ends with status 0", ("cli_verify", "cli"),
    ),
]  # fmt: skip

REFINEMENT = [
    Fault(
        "estimate-too-small",
        "pathattr/integration/refinement.py",
        "off = np.sqrt(_square(self._z()))",
        "off = 0.5 * np.sqrt(_square(self._z()))",
        "the estimated error is half of what it should be",
        ("refinement",),
    ),
    Fault(
        "old-intervals-mixed-up",
        "pathattr/integration/refinement.py",
        "kept = old[1:] & old[:-1]",
        "kept = old[1:] | old[:-1]",
        "an interval that was cut keeps the numbers of the whole",
        ("refinement",),
    ),
    Fault(
        "nodes-at-the-baseline",
        "pathattr/integration/nodes.py",
        "np.where(share <= 0, 0.0, np.where(share >= 1, 1.0, found))",
        "np.where(share <= 0.5, 0.0, found)",
        "nodes of the first half all lie at the baseline",
        ("nodes",),
    ),
]

CALLS = [
    Fault(
        "argument-mark-ignored", "pathattr/models/arguments.py",
        "array[(*(slice(None),) * axis, rows)]",
        "array[rows]",
        "entries of an argument are taken along its first axis, whatever its mark says",
    ),
    Fault(
        "argument-by-its-last-axis", "pathattr/models/arguments.py",
        "tuple(self.value.shape[:1]) == (batch,)",
        "tuple(self.value.shape[-1:]) == (batch,)",
        "an argument whose last axis is as long as the batch has a row for each example",
    ),
    Fault(
        "argument-mark-lost-inside", "pathattr/models/arguments.py",
        "parts = tuple(_apart(name + key, part, mark, inside, depth + 1)",
        "parts = tuple(_apart(name + key, part, None, inside, depth + 1)",
        "the mark of a container does not hold for what is in it",
    ),
    Fault(
        "arguments-exchanged", "pathattr/models/arguments.py",
        "dict(zip(names, whole[count:], strict=True))",
        "dict(zip(names, whole[count:][::-1], strict=True))",
        "named arguments get each other's values",
    ),
    Fault(
        "last-axis-of-classes", "pathattr/models/outputs.py",
        "return 2 if backend.logits_last else None",
        "return 2",
        "a softmax runs over the last of three axes, whatever it holds",
    ),
    Fault(
        "class-axis-without-the-batch", "pathattr/models/outputs.py",
        "(values.ndim if class_axis < 0 else 0)",
        "(values.ndim - 1 if class_axis < 0 else 0)",
        "a class axis from the end is one too early",
    ),
    Fault(
        "second-softmax", "pathattr/models/outputs.py",
        'if link in (None, "softmax", "sigmoid") and sums',
        'if link in ("softmax", "sigmoid") and sums',
        "probabilities pass through a second softmax without a word",
    ),
    Fault(
        "sigmoids-through-a-softmax", "pathattr/models/outputs.py",
        "high > LIKELY and",
        "high > 2.0 and",
        "probabilities of a sigmoid each pass through a softmax without a word",
    ),
    Fault(
        "first-of-several", "pathattr/models/heads.py",
        "if len(held) == 1:",
        "if held:",
        "the first of several outputs is explained without a word",
    ),
    Fault(
        "head-from-the-end", "pathattr/models/heads.py",
        "get(len(outputs) + head)",
        "get(-head - 1)",
        "head=-1 is the first output",
    ),
    Fault(
        "logits-last", "pathattr/models/heads.py",
        'for key in ("logits", "output", "out"):',
        'for key in ("out", "output", "logits"):',
        "of a dict with logits and another output the other is explained",
    ),
    Fault(
        "unmarked-unchecked", "pathattr/models/rows.py",
        "if _comes_out_again(answer, own, host, spacing):",
        "if own is not None:",
        "an argument that may be meant in two ways is taken as a row for each example",
    ),
    Fault(
        "first-example-checked", "pathattr/models/rows.py",
        "for row in {0, len(host) - 1}:",
        "for row in {0}:",
        "an argument that fits the first example alone is taken as a row for each",
    ),
    Fault(
        "batch-mates-alike", "pathattr/models/rows.py",
        "together = answer(np.stack([point, probe]), np.zeros(2, np.intp))[1:]",
        "together = answer(np.stack([probe, probe]), np.zeros(2, np.intp))[1:]",
        "whether examples depend on each other is tried with two that are alike",
    ),
    Fault(
        "what-was-said-stays", "pathattr/methods/replay.py",
        "self._said | changes",
        "changes | self._said",
        "what was said once is not changed",
    ),
    Fault(
        "options-shared", "pathattr/methods/replay.py",
        "dict(value) if isinstance(value, Mapping) else value",
        "value",
        "a mapping of options goes on changing with the caller's",
    ),
    Fault(
        "own-defaults-lost", "pathattr/methods/replay.py",
        "{**parameters(own.__mro__[1]), **taken}",
        "{**taken, **parameters(own.__mro__[1])}",
        "the defaults are those of the base class",
    ),
    Fault(
        "published-chord", "pathattr/methods/settings.py",
        'gates = replace(gates, jumps="published") if given.published else gates',
        "gates = replace(gates)",
        "the published preset takes jumps along their chord",
    ),
    Fault(
        "published-family", "pathattr/methods/settings.py",
        "family, usual = family.published()",
        "_, usual = family.published()",
        "the published preset takes our own family",
    ),
    Fault(
        "said-rule-ignored", "pathattr/methods/settings.py",
        "return usual if said is None else said",
        "return usual",
        "the rule that is said is not taken",
    ),
    Fault(
        "said-tolerance-ignored", "pathattr/methods/settings.py",
        "return float(said)",
        "return TOLERANCE",
        "the tolerance that is said is not taken",
    ),
    Fault(
        "checksums-unread", "pathattr/common/archives.py",
        "if self._told is not None and _digest(array)",
        "if self._told is None and _digest(array)",
        "arrays that were changed in their file are read",
    ),
    Fault(
        "columns-as-rows", "pathattr/common/archives.py",
        "array = array.T if by_columns else array",
        "array = array.reshape(header.shape) if by_columns else array",
        "an array stored by columns is read by rows",
    ),
    Fault(
        "bound-ignored", "pathattr/common/archives.py",
        "if size > bound:",
        "if size > 1000 * bound:",
        "a file may unpack to a thousand times what is allowed",
    ),
    Fault(
        "cosines-transposed", "pathattr/common/ops.py",
        "(other[None], own[:, None]) if inverse else",
        "(other[None], own[:, None]) if not inverse else",
        "the cosine matrix and its inverse are exchanged", ("families", "backend", "transforms", "torch"),
    ),
    Fault(
        "cosine-blocks-alike", "pathattr/common/ops.py",
        "np.arange(first, min(first + ROWS, size))",
        "np.arange(min(ROWS, size - first))",
        "beyond 1024 the rows of the cosine matrix begin again", ("transforms", "backend"),
    ),
    Fault(
        "half-turns-dropped", "pathattr/common/ops.py",
        "% (4 * size)",
        "% (2 * size)",
        "some cosines have the other sign", ("families", "backend", "transforms"),
    ),
    Fault(
        "inverse-is-forward", "pathattr/common/ops.py",
        "fft.idct(x, type=2",
        "fft.dct(x, type=2",
        "the inverse cosine transform goes forwards", ("families", "backend", "transforms"),
    ),
]  # fmt: skip

FAULTS = [
    *SCHEDULES, *ORDERINGS, *FAMILIES, *QUADRATURE, *ENGINE, *EXPLAINER, *REST, *TORCH, *AXIOMS, *REFINEMENT, *METRICS,
    *STUDIES, *PLOTS_AND_COMMANDS, *CALLS,
]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What became of a fault: the test that noticed it, if one did."""

    fault: Fault
    noticed: str | None
    seconds: float


def snapshot(folder):
    """Copy what git knows or would add, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "mutation_check.py").write_text(CHECK)


def test_files(folder):
    """Return the test files of a copy by name, without "test_"."""
    return {path.stem.removeprefix("test_"): path for path in (folder / "tests").glob("**/test_*.py")}


def quick(folder):
    """Return the test files that run, without "test_"."""
    files = test_files(folder)
    return tuple(n for n in sorted(files.keys() - LEFT_OUT) if not OTHER_FRAMEWORKS.search(files[n].read_text()))


def first_failure(folder, names):
    """Run test files on the copy; return what failed first, None where all pass."""
    path = os.pathsep.join([str(folder), str(folder / "backends")])
    files = test_files(folder)
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "mutation_check",
        "-m", "not slow", "-k", "not tensorflow and not jax", *(str(files[name]) for name in names),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the limit of {LIMIT} s"
    if done.returncode == 0:
        return None
    # An error is that of a fixture, or of a file that cannot be imported: faults are valid Python (see `apply`).
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"the tests did not run:\n{done.stdout}\n{done.stderr}")
    return failed[1]


def changed(fault, folder=ROOT):
    """Return the text of the fault's file with the fault in it; raise ValueError unless its place is there once."""
    text = (folder / fault.file).read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has {text.count(fault.old)} times, not once:\n{fault.old}")
    text = text.replace(fault.old, fault.new)
    compile(text, fault.name, "exec")
    return text


def likely_files(fault, everything):
    return tuple(name for name in fault.likely or LIKELY[fault.file] if name in everything)


def tried(fault, base, likely_only):
    """Return what the tests make of one fault."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(base, folder, dirs_exist_ok=True)
        (folder / fault.file).write_text(changed(fault, folder), encoding="utf-8")
        everything = quick(folder)
        likely = likely_files(fault, everything)
        noticed = first_failure(folder, likely) if likely else None
        if noticed is None and not likely_only:
            noticed = first_failure(folder, everything)
    found = Found(fault, noticed, time.perf_counter() - began)
    print(f"{fault.name}: {noticed or 'SURVIVED'} ({found.seconds:.0f} s)", flush=True)
    return found


def survived(found):
    return found.noticed is None and not found.fault.equivalent


def table(results):
    """Return the Markdown page, what survived first."""
    lost = [found.fault.name for found in results if survived(found)]
    noticed = sum(found.noticed is not None for found in results)
    said = f"""# Do the tests notice?

{len(results)} of the {len(FAULTS)} deliberate faults of the script, one at a time, in a copy of the package; {noticed}
are noticed by a quick test on NumPy or PyTorch, of which the first is named. Seconds are those until then, start
included."""
    lines = [
        said,
        "",
        "Measured and written by `python tests/mutations.py [--only NAME ...] --table docs/mutations.md`.",
        "",
        *([f"**{len(lost)} SURVIVED: {', '.join(lost)}.**", ""] if lost else []),
        "| fault | what it does | file | noticed by | seconds |",
        "|---|---|---|---|---|",
    ]
    for found in sorted(results, key=lambda found: not survived(found)):
        fault = found.fault
        by = f"`{found.noticed}`" if found.noticed else f"nothing: {fault.equivalent or '**SURVIVED**'}"
        by = by.replace("|", "\\|")
        lines.append(f"| {fault.name} | {fault.means} | `{fault.file}` | {by} | {found.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[fault.name for fault in FAULTS], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--likely", action="store_true", help="run the likely test files only, not all that are quick")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        snapshot(base)
        for fault in chosen:  # all of them before the first hour is spent
            changed(fault, base)
        began, everything = time.perf_counter(), quick(base)
        if options.likely:
            everything = sorted({name for fault in chosen for name in likely_files(fault, everything)})
        if failed := first_failure(base, everything):
            raise SystemExit(f"without any fault, {failed} fails: nothing can be told")
        print(f"without a fault all tests pass ({time.perf_counter() - began:.0f} s)", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda fault: tried(fault, base, options.likely), chosen))
    if options.table:
        options.table.write_text(table(results))
    lost = [found.fault.name for found in results if survived(found)]
    print(f"{len(results) - len(lost)} of {len(results)} accounted for", *(f"; {name} SURVIVED" for name in lost))
    raise SystemExit(bool(lost))


if __name__ == "__main__":
    main()
