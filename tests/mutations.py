"""Do the tests notice? Deliberate faults, one at a time, and the test that notices each.

    python tests/mutations.py [--only NAME ...] [--jobs 1] [--table docs/mutations.md]

Every fault is made in a copy of the working tree as it is at the start, with which the quick tests on NumPy and torch
then run: the likely test files first, and all of them where those notice nothing. Status 1 if a fault survives.
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
    "pathattr/schedules.py": ("schedules", "testing"),
    "pathattr/orderings.py": ("orderings", "explainer"),
    "pathattr/quadrature.py": ("quadrature", "engine"),
    "pathattr/engine.py": ("engine", "explainer"),
    "pathattr/walk.py": ("engine", "explainer"),
    "pathattr/explainer.py": ("explainer", "baselines"),
    "pathattr/targets.py": ("targets", "backend"),
    "pathattr/baselines.py": ("baselines",),
    "pathattr/attribution.py": ("attribution",),
    "pathattr/preprocessing.py": ("preprocessing", "baselines"),
    "pathattr/layout.py": ("layout", "explainer"),
    "pathattr/numpy_backend.py": ("backend",),
    "backends/pathattr_torch/backend.py": ("torch", "peers"),
} | {f"pathattr/families/{name}.py": ("families", "published") for name in ("dct", "laplacian", "svd", "wavelet")}

SCHEDULES = [
    Fault(
        "window-start", "pathattr/schedules.py",
        "return (1.0 - self.overlap) * (1.0 - strengths)", "return 1.0 - strengths",
        "windows start at 1 − s, whatever ω",
    ),
    Fault(
        "gate-not-clipped", "pathattr/schedules.py",
        "self.ramp(ops, ops.clip(progress, 0.0, 1.0))", "self.ramp(ops, progress)",
        "gates go on beyond their window",
    ),
    Fault(
        "ends-not-set", "pathattr/schedules.py",
        "return ops.where(alpha <= 0, 0.0, ops.where(alpha >= 1, 1.0, gate))", "return gate",
        "gates at α = 0 and 1 are what the ramp makes of them",
    ),
    Fault(
        "cosine-sign", "pathattr/schedules.py", "return 0.5 - 0.5 * ops.cos", "return 0.5 + 0.5 * ops.cos",
        "the cosine ramp falls",
    ),
    Fault(
        "sigmoid-not-rescaled", "pathattr/schedules.py",
        "return ops.clip((1.0 / (1.0 + ops.exp(self.gain * (0.5 - progress))) - low) / (high - low), 0.0, 1.0)",
        "return 1.0 / (1.0 + ops.exp(self.gain * (0.5 - progress)))",
        "the sigmoid ramp starts above 0 and ends below 1",
    ),
    Fault(
        "step-threshold", "pathattr/schedules.py",
        "self.starts(strengths) + 0.5 * self.overlap", "self.starts(strengths) + 0.25 * self.overlap",
        "steps a quarter through the window",
    ),
    Fault(
        "jump-after-opening", "pathattr/schedules.py",
        "alpha >= self.openings(strengths)", "alpha > self.openings(strengths)",
        "a gate is still closed at the α at which it jumps",
    ),
]  # fmt: skip

ORDERINGS = [
    Fault(
        "energy-reversed", "pathattr/orderings.py",
        "return facts.energy / np.where(largest > 0, largest, 1.0)",
        "return 1.0 - facts.energy / np.where(largest > 0, largest, 1.0)",
        "weak components first",
    ),
    Fault(
        "rank-not-spaced", "pathattr/orderings.py",
        'return _spaced(np.argsort(-facts.energy, axis=1, kind="stable"))',
        "return facts.energy / facts.energy.max(axis=1, keepdims=True)",
        "ranks spaced by energy",
    ),
    Fault(
        "rank-reversed", "pathattr/orderings.py",
        'return _spaced(np.argsort(-facts.energy, axis=1, kind="stable"))',
        'return _spaced(np.argsort(facts.energy, axis=1, kind="stable"))',
        "ranks from the weakest",
    ),
    Fault(
        "frequency-inverted", "pathattr/orderings.py",
        "return 1.0 - _known(facts.frequency", "return _known(facts.frequency",
        "high frequencies first",
    ),
    Fault(
        "scopes-exchanged", "pathattr/orderings.py", 'if self.scope == "joint":', 'if self.scope == "channel":',
        "per channel is joint and joint per channel",
    ),
    Fault(
        "scale-spacing", "pathattr/orderings.py",
        "np.maximum(scale.max(axis=1, keepdims=True), 1.0)", "(scale.max(axis=1, keepdims=True) + 1.0)",
        "the finest scale has a strength above 0",
    ),
    Fault(
        "shuffle-across-spectra", "pathattr/orderings.py",
        "return rng.permuted((self.of or Energy()).strengths(facts, rng), axis=1)",
        "return rng.permuted((self.of or Energy()).strengths(facts, rng))",
        "strengths are dealt from channel to channel",
    ),
]  # fmt: skip

FAMILIES = [
    Fault(
        "dct-label", "pathattr/families/dct.py", "Factor(p + h, _cosines(size)", "Factor(h + p, _cosines(size)",
        "the equation reads the cosine matrices transposed",
    ),
    Fault(
        "dct-not-orthonormal", "pathattr/families/dct.py",
        'np.eye(size), type=2, norm="ortho"', 'np.eye(size), type=2, norm="backward"',
        "the cosines are not of length 1",
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
        "wavelet-band-dropped", "pathattr/families/wavelet.py", "details.append(level[1:])",
        "details.append(level[1:-1])",
        "the diagonal band of each level is forgotten",
    ),
    Fault(
        "wavelet-scales-reversed", "pathattr/families/wavelet.py",
        "replace(band, scale=index + 1)", "replace(band, scale=len(details) - index)",
        "scales count from the finest",
    ),
    Fault(
        "wavelet-atoms-dropped", "pathattr/families/wavelet.py", "np.abs(self.coefficients) * atoms",
        "np.abs(self.coefficients)",
        "the energy of a coefficient whose atom is not of length 1",
    ),
    Fault(
        "wavelet-uncorrected", "pathattr/families/wavelet.py", "for _ in range(2):", "for _ in range(0):",
        "filters that reconstruct approximately stay so",
    ),
    Fault(
        "haar-stops-at-odd", "pathattr/families/wavelet.py",
        "(self.stop_at_odd and any(s % 2 for s in sides))", "any(s % 2 for s in sides)",
        "levels end at the first odd side always",
    ),
    Fault(
        "laplacian-wrong-level", "pathattr/families/laplacian.py",
        "residuals.append(coarse - along_spatial(low, expand[-1]))",
        "residuals.append(coarse - along_spatial(along_spatial(coarse, halving) / 2, expand[-1]))",
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
        "edge-off-by-one", "pathattr/quadrature.py", "inner = grid[kept[:-1] + 1]", "inner = grid[kept[:-1]]",
        "edges one place early",
    ),
    Fault(
        "last-interval-dropped", "pathattr/quadrature.py",
        "return self.intervals + rule.padding if", "return self.intervals + rule.padding - 1 if",
        "the last node is not taken",
    ),
    Fault(
        "trapezoid-ends", "pathattr/quadrature.py", "return self.window - 2", "return 0",
        "both ends of the trapezoid lose their half (Captum's defect)",
    ),
    Fault(
        "midpoint-left", "pathattr/quadrature.py",
        '"midpoint": Rule((0.5, 0.5), (-1, 1), order=2)', '"midpoint": Rule((1, 0), (-1, 1), order=2)',
        "gradients at the left edges",
    ),
    Fault(
        "sub-nodes-equal", "pathattr/quadrature.py",
        "quota = length / length.sum() *", "quota = np.ones(len(length)) / len(length) *",
        "jumps get equal shares of sub-nodes, whatever their length",
    ),
    Fault(
        "sub-node-shares", "pathattr/quadrature.py", "share = part / parts[which]", "share = 0.0 * part / parts[which]",
        "sub-nodes all at the foot of the jump",
    ),
    Fault(
        "rest-too-early", "pathattr/quadrature.py",
        "latest + schedule.overlap > grid[:-1]", "latest + 0.5 * schedule.overlap > grid[:-1]",
        "intervals in the second half of a window are merged as if at rest",
    ),
    Fault(
        "jump-interval", "pathattr/quadrature.py",
        'schedule.openings(strengths[moving]), side="left"', 'schedule.openings(strengths[moving]), side="right"',
        "a jump on an edge falls into the interval after it",
    ),
    Fault(
        "positions-left", "pathattr/quadrature.py", "0.5 * (grid[kept] + grid[kept + 1])", "grid[kept]",
        "messages name the left edge of an interval in place of its middle",
    ),
]  # fmt: skip

ENGINE = [
    Fault(
        "block-border", "pathattr/walk.py", "concat([part[:, -overlap:]]", "concat([part[:, :overlap]]",
        "a block goes on from the first edge of the block before",
    ),
    Fault(
        "neighbours-increment", "pathattr/engine.py",
        "gradients[:, j], increments[:, j]", "gradients[:, j], increments[:, (j + 1) % size]",
        "each gradient meets the increment of the next node",
    ),
    Fault(
        "neighbours-gates", "pathattr/engine.py",
        "projections[:, j], moved[:, j]", "projections[:, j], moved[:, j - 1]",
        "components: each projection meets the gates' increment of the node before",
    ),
    Fault(
        "narrow-sum", "pathattr/engine.py", "term = self._backend.wide(a * b)", "term = self._backend.narrow(a * b)",
        "sums of float32 models in float32",
    ),
    Fault(
        "compensation-sign", "pathattr/engine.py",
        "self._lost = self._lost + (", "self._lost = self._lost - (",
        "what rounding lost is lost twice",
    ),
    Fault(
        "filled-scores-kept", "pathattr/engine.py",
        "self.backend.to_numpy(scores)[: len(part)]", "self.backend.to_numpy(scores)",
        "rows that fill up a block of baselines count",
    ),
    Fault(
        "filled-outputs-kept", "pathattr/engine.py",
        "partial(self._outputs, x, rows[own]))[0], len(part))", "partial(self._outputs, x, rows[own]))[0], len(own))",
        "rows that fill up a block of inputs count",
    ),
    Fault(
        "end-synthesised", "pathattr/walk.py", "if arrived.any():", "if False:",
        "the end of the path is a synthesis in place of x itself",
    ),
    Fault(
        "outside-evaluated", "pathattr/engine.py",
        "(np.arange(first, first + size) < counts[:, None])", "(np.arange(first, first + size) < counts.max())",
        "a short path is evaluated as often as the longest of its group",
    ),
    Fault(
        "rows-mixed", "pathattr/engine.py",
        "np.repeat([path.row for path in paths], size)[index]", "np.tile([path.row for path in paths], size)[index]",
        "further inputs of one example with the points of another",
    ),
    Fault(
        "targets-mixed", "pathattr/engine.py",
        "np.repeat([path.targets for path in paths], size, axis=0)[index]",
        "np.concatenate([[path.targets for path in paths]] * size)[index]",
        "targets of one example with the points of another",
    ),
]  # fmt: skip

EXPLAINER = [
    Fault(
        "path-reversed", "pathattr/explainer.py",
        "self._path(start, host[row], layout", "self._path(host[row], start, layout",
        "from the input to the baseline",
    ),
    Fault(
        "first-target-for-all", "pathattr/explainer.py",
        "layout, targets[row], row)", "layout, targets[0], row)",
        "every example is explained for the first one's target",
    ),
    Fault(
        "target-at-baseline", "pathattr/explainer.py",
        "targets = resolve_targets(target, outputs, objective)",
        "targets = resolve_targets(target, np.concatenate([backend.to_numpy(part) for part in "
        "engine.outputs(starts[:, 0])]), objective)",
        "a missing target is the class at the baseline (the SIG code's defect)", ("targets",),
    ),
    Fault(
        "gap-sign", "pathattr/explainer.py",
        "gap=attributions.reshape(batch, -1).sum(axis=1) - (score - baseline_score)",
        "gap=(score - baseline_score) - attributions.reshape(batch, -1).sum(axis=1)",
        "the gap with the other sign",
    ),
    Fault(
        "noise-by-place", "pathattr/explainer.py",
        "            for example in host:\n                context = Context(self.preprocessing, "
        "np.random.default_rng(self.seed))\n",
        "            context = Context(self.preprocessing, np.random.default_rng(self.seed))\n"
        "            for example in host:\n",
        "noise depends on the place in the batch", ("baselines",),
    ),
    Fault(
        "references-not-averaged", "pathattr/outcome.py", "return total / count", "return total",
        "attributions are summed over reference samples", ("baselines",),
    ),
    Fault(
        "first-reference-scored", "pathattr/explainer.py",
        "baseline_score = start_scores.mean(axis=1)", "baseline_score = start_scores[:, 0]",
        "F(x') is that of the first reference sample", ("baselines",),
    ),
    Fault(
        "bounds-without-ends", "pathattr/explainer.py",
        "lowest=np.minimum(np.minimum(score, start_scores.min(axis=1)), [part.lowest for part in parts])",
        "lowest=np.array([part.lowest for part in parts])",
        "the lowest value met leaves out both ends",
    ),
    Fault(
        "linear-overlap", "pathattr/explainer.py",
        "self.schedule = schedule if self.family.ordered else replace(schedule, overlap=1.0)",
        "self.schedule = schedule",
        "the straight line rests outside of its one window",
    ),
    Fault(
        "contrast-sign", "pathattr/targets.py",
        "score - ops.select(linked, targets[:, 1])", "score + ops.select(linked, targets[:, 1])",
        "a contrast adds",
    ),
    Fault(
        "contrast-gradient-sign", "pathattr/targets.py", "(1.0, -1.0), strict=False", "(1.0, 1.0), strict=False",
        "a contrast's closed-form gradient adds",
    ),
    Fault(
        "no-softmax", "pathattr/targets.py",
        '("probability", "softmax"): "softmax"', '("probability", "softmax"): "identity"',
        "probabilities are logits",
    ),
    Fault(
        "mean-of-channels", "pathattr/baselines.py",
        "example.mean(axis=tuple(range(1, example.ndim)), keepdims=True)", "example.mean()",
        "one mean for all channels",
    ),
    Fault(
        "blur-kernel", "pathattr/baselines.py", "self.kernel // 2", "self.kernel",
        "the blur's kernel is twice as wide",
    ),
    Fault(
        "black-not-normalised", "pathattr/baselines.py",
        "_raw(self, context).normalise(np.zeros_like(example))", "np.zeros_like(example)",
        "black is 0 after the normalisation",
    ),
]  # fmt: skip

REST = [
    Fault(
        "map-scaled-by-batch", "pathattr/attribution.py",
        "np.percentile(np.abs(values), percentile)", "np.percentile(np.abs(array), percentile)",
        "maps are scaled by the whole batch (WAM's defect)",
    ),
    Fault(
        "map-of-means", "pathattr/attribution.py", '"sum": lambda v: v.sum(axis=0)', '"sum": lambda v: v.mean(axis=0)',
        "maps are means over channels (Xplique's defect)",
    ),
    Fault(
        "save-loses-settings", "pathattr/attribution.py", '"settings": self.settings,', '"settings": {},',
        "files without the settings",
    ),
    Fault(
        "save-narrows", "pathattr/attribution.py",
        'arrays["attributions"] = self.numpy()', 'arrays["attributions"] = self.numpy().astype(np.float32)',
        "files hold float32",
    ),
    Fault(
        "std-not-applied", "pathattr/preprocessing.py", "return (raw - mean) / std", "return raw - mean",
        "pictures are normalised by the mean alone",
    ),
    Fault(
        "restore-without-mean", "pathattr/preprocessing.py", "return inputs * std + mean", "return inputs * std",
        "raw pixels without the mean",
    ),
    Fault(
        "channels-stay-first", "pathattr/layout.py",
        "return np.moveaxis(canonical, 0, self.channel_axis)",
        "return np.moveaxis(canonical, 0, self.channel_axis if self.channel_axis < 2 else -2)",
        "channels that were last come back last but one",
    ),
    Fault(
        "arguments-not-repeated", "pathattr/numpy_backend.py",
        "return value[rows] if batched else value", "return value[: len(rows)] if batched else value",
        "further inputs of the first examples serve all",
    ),
    Fault(
        "callback-contrast", "pathattr/numpy_backend.py", "part[chosen] = sign * found", "part[chosen] = found",
        "a callback's contrast adds",
    ),
]  # fmt: skip

TORCH = [
    Fault(
        "torch-first-target", "backends/pathattr_torch/backend.py",
        "scores = objective.score(self, self.outputs(points, rows), targets)",
        "scores = objective.score(self, self.outputs(points, rows), targets[:1].repeat(len(targets), axis=0))",
        "gradients of the sum over the batch for the first row's target",
    ),
    Fault(
        "torch-mean", "backends/pathattr_torch/backend.py",
        "torch.autograd.grad(scores.sum(), points", "torch.autograd.grad(scores.mean(), points",
        "gradients over the number of points",
    ),
    Fault(
        "torch-graph-kept", "backends/pathattr_torch/backend.py",
        "return scores.detach(), gradients.detach()", "return scores, gradients",
        "scores hold the graph of their block",
    ),
    Fault(
        "torch-parameters-left-off", "backends/pathattr_torch/backend.py",
        "parameter.requires_grad_(was)", "parameter.requires_grad_(False)",
        "parameters stay without gradients",
    ),
    Fault(
        "torch-frozen-thawed", "backends/pathattr_torch/backend.py",
        "parameter.requires_grad_(was)", "parameter.requires_grad_(True)",
        "frozen parameters come back trainable",
    ),
    Fault(
        "torch-parameters-on", "backends/pathattr_torch/backend.py",
        "parameter.requires_grad_(False)", "parameter.requires_grad_(parameter.requires_grad)",
        "gradients by the parameters are recorded during the run",
    ),
    Fault(
        "torch-arguments-not-repeated", "backends/pathattr_torch/backend.py",
        "if value.ndim and value.shape[0] == self._batch:", "if False:",
        "further inputs are passed once for all nodes",
    ),
    Fault(
        "torch-narrow-wide", "backends/pathattr_torch/backend.py",
        "dtype = torch.float64 if self.has_float64 else torch.float32", "dtype = torch.float32",
        "sums in float32 (Captum's step weights)",
    ),
    Fault(
        "torch-training-mode", "backends/pathattr_torch/backend.py", "if training and module.training:",
        "if training and module.training and not name:",
        "a part in training mode passes",
    ),
]  # fmt: skip

# Faults of the axiom checks go here.
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
]

REFINEMENT = [
    Fault(
        "estimate-too-small",
        "pathattr/refinement.py",
        "off = np.sqrt(_square(self._z()))",
        "off = 0.5 * np.sqrt(_square(self._z()))",
        "the estimated error is half of what it should be",
        ("refinement",),
    ),
    Fault(
        "old-intervals-mixed-up",
        "pathattr/refinement.py",
        "kept = old[1:] & old[:-1]",
        "kept = old[1:] | old[:-1]",
        "an interval that was cut keeps the numbers of the whole",
        ("refinement",),
    ),
    Fault(
        "nodes-at-the-baseline",
        "pathattr/nodes.py",
        "np.where(share <= 0, 0.0, np.where(share >= 1, 1.0, found))",
        "np.where(share <= 0.5, 0.0, found)",
        "nodes of the first half all lie at the baseline",
        ("nodes",),
    ),
]

FAULTS = [*SCHEDULES, *ORDERINGS, *FAMILIES, *QUADRATURE, *ENGINE, *EXPLAINER, *REST, *TORCH, *AXIOMS, *REFINEMENT]


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


def quick(folder):
    """Return the test files that run, without "test_"."""
    files = {path.stem.removeprefix("test_"): path.read_text() for path in (folder / "tests").glob("test_*.py")}
    return tuple(name for name in sorted(files.keys() - LEFT_OUT) if not OTHER_FRAMEWORKS.search(files[name]))


def first_failure(folder, names):
    """Run test files on the copy; return what failed first, None where all pass."""
    path = os.pathsep.join([str(folder), str(folder / "backends")])
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "mutation_check",
        "-m", "not slow", "-k", "not tensorflow and not jax", *(f"tests/test_{name}.py" for name in names),
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
    failed = re.search(r"^(?:FAILED|ERROR) tests/(\S+?)(?: - |$)", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"the tests did not run:\n{done.stdout}\n{done.stderr}")
    return failed[1]


def apply(fault, folder):
    """Make the change in the copy."""
    file = folder / fault.file
    text = file.read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.name}: {fault.file} has {text.count(fault.old)} times, not once:\n{fault.old}")
    text = text.replace(fault.old, fault.new)
    compile(text, fault.name, "exec")
    file.write_text(text)


def tried(fault, base):
    """Return what the tests make of one fault."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(base, folder, dirs_exist_ok=True)
        apply(fault, folder)
        everything = quick(folder)
        likely = tuple(name for name in fault.likely or LIKELY[fault.file] if name in everything)
        noticed = (first_failure(folder, likely) if likely else None) or first_failure(folder, everything)
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
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        snapshot(base)
        for fault in chosen:  # all of them before the first hour is spent
            with tempfile.TemporaryDirectory() as other:
                file = Path(other) / fault.file
                file.parent.mkdir(parents=True)
                shutil.copy(base / fault.file, file)
                apply(fault, Path(other))
        began = time.perf_counter()
        if failed := first_failure(base, quick(base)):
            raise SystemExit(f"without any fault, {failed} fails: nothing can be told")
        print(f"without a fault all tests pass ({time.perf_counter() - began:.0f} s)", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda fault: tried(fault, base), chosen))
    if options.table:
        options.table.write_text(table(results))
    lost = [found.fault.name for found in results if survived(found)]
    print(f"{len(results) - len(lost)} of {len(results)} accounted for", *(f"; {name} SURVIVED" for name in lost))
    raise SystemExit(bool(lost))


if __name__ == "__main__":
    main()
