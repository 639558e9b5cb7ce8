"""The problem on which axioms are checked: an explainer, a batch of inputs and what is explained of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathattr.axioms.residual import norm
from pathattr.axioms.view import Change, Summand, same, seen_through
from pathattr.common.axes import Array
from pathattr.families.base import Decomposition
from pathattr.integration.nodes import OutputAware, Refined
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.backend import Backend
from pathattr.models.memory import ON_HOST
from pathattr.models.registry import backend_for
from pathattr.models.targets import Contrast
from pathattr.paths.baselines import Baseline, Samples
from pathattr.results.attribution import Attribution

STEPS = 50
"""The steps of an explainer that refines its nodes by itself."""
DRAWS = 3
"""How often rounding is imitated to see what it does to the attributions."""
ULPS = 4
"""By how many units in the last place: the numbers inside a network round more than once."""
MARGIN = 5.0
"""How much more than the largest imitation a residual may be: few draws do not find the worst."""


class Case:
    """An explainer's answer for a batch, and the same problem asked in other coordinates.

    `inputs`, `target`, `args`, `kwargs` and `input_name` are what the explainer is called with. `nudge` moves inputs
    and baselines together by noise of that share of the largest input: flat parts of a picture tie in max poolings,
    where rounding alone chooses the gradient and attributions mean nothing to the last digit. Nodes that depend on the
    model are replaced by uniform ones. What is expensive is computed once and shared by the axioms. Raises what the
    explainer raises.
    """

    def __init__(
        self,
        explainer: PathExplainer,
        inputs: Any,
        target: Any = None,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        input_name: str | None = None,
        nudge: float = 0.0,
    ) -> None:
        explainer = _plain(explainer)
        self.explainer, self.inputs = explainer, inputs
        self.call = explainer.calling(args, kwargs, input_name)
        self._target = target
        self.backend: type[Backend] = backend_for(explainer.model, inputs, explainer.backend)
        self.adapter, self.host, self.layout = explainer.prepared(inputs, self.call)
        if nudge:
            starts = self.starts
            noise = np.random.default_rng(explainer.seed).uniform(-1, 1, self.host.shape[1:])
            noise *= nudge * np.abs(self.host).max()
            given = Samples(starts[0] + noise) if starts.shape[1] > 1 else starts[:, 0] + noise
            self.explainer = explainer.but(baseline=given)
            self.inputs = self.adapter.restore(self.host + noise, inputs)
            del self.starts  # of the inputs as they were
            self.adapter, self.host, self.layout = self.explainer.prepared(self.inputs, self.call)

    @property
    def steps(self) -> int:
        """The explainer's steps."""
        steps = self.explainer.steps
        assert steps != "auto"
        return steps

    @property
    def batch_size(self) -> int:
        """How many points the model sees at once."""
        size = self.explainer.batch_size
        assert size != "auto"
        return size

    @cached_property
    def attribution(self) -> Attribution:
        """The answer of the user's own explainer, with components."""
        return self.explainer.but(components=True)(self.inputs, self._target, **self._calling)

    @cached_property
    def attributions(self) -> Array:
        """The attributions on the host, float64."""
        return self.attribution.numpy().astype(np.float64)

    @cached_property
    def starts(self) -> Array:
        """The baselines (batch, references, *example)."""
        return self.explainer.starts(self.adapter, self.host, self.layout)

    @cached_property
    def decompositions(self) -> list[Decomposition]:
        """The components of each example's difference from its (first) baseline."""
        differences = self.host - self.starts[:, 0]
        return [self.explainer.family.decompose(self.layout.canonical(d)) for d in differences]

    @cached_property
    def precision(self) -> float:
        """The spacing of numbers near 1 in the model's precision."""
        held = self.adapter.to_numpy(self.adapter.asarray(self.host[:1])).dtype
        return float(np.finfo(held).eps)

    @cached_property
    def target(self) -> Any:
        """What is explained, resolved, as a call takes it."""
        found = self.attribution.target
        if callable(self.explainer.output):
            return None
        if isinstance(self._target, Contrast):
            return Contrast(_entries(found[:, 0]), _entries(found[:, 1]))
        return _entries(found)

    @cached_property
    def classes(self) -> int:
        """How many classes a target is one of; 0 where it is no single index."""
        if not self.adapter.has_outputs or callable(self.explainer.output):
            return 0
        shape = self.outputs(self.host[:1], np.zeros(1, np.intp)).shape
        return int(shape[1]) if len(shape) == 2 else 0

    @cached_property
    def rounding(self) -> float:
        """The relative change of attributions when inputs and every number that the model sees are rounded differently.

        The largest of a few draws, over the batch: no residual below some multiple of it means anything for this
        model in its precision. A network with kinks takes another gradient on their other side; singular vectors
        amplify the rounding of inputs.
        """
        size = float(np.abs(np.concatenate([self.host, self.starts[:, 0]])).max())
        rng = np.random.default_rng(self.explainer.seed)

        def jolted(points: NDArray[Any]) -> NDArray[Any]:
            return points + ULPS * self.precision * size * rng.uniform(-1, 1, points.shape)

        found = [self.moved(jolted, jolted, same) for _ in range(DRAWS)]
        expected = norm(self.attributions)
        # An example that gets nothing, because it does not move, has no relative change.
        moved = expected > 0
        changes = [norm(other - self.attributions)[moved] / expected[moved] for other in found]
        return float(np.max(changes, initial=0.0))

    @property
    def tolerance(self) -> float:
        """What an axiom that holds exactly may miss by rounding."""
        # Sums of many products, singular vectors among them, err by more than their operands do.
        return MARGIN * self.rounding + 1000 * self.precision

    @property
    def reason(self) -> str:
        """Why that much."""
        return f"{MARGIN:g} × what rounding does to this model ({self.rounding:.1e})"

    def moved(self, there: Change, back: Change, pull: Change, **changes: Any) -> Array:
        """Return the attributions of the problem moved by `there`, where the model sees points moved `back`."""
        return self.through([Summand(1.0, back, pull)], there, **changes)

    def through(self, terms: Sequence[Summand], there: Change = same, **changes: Any) -> Array:
        """Return the attributions, (batch, *example), of a sum of views of the model at inputs moved by `there`."""
        starts = self.starts
        if starts.shape[1] > 1:
            baseline: Any = Samples(there(starts[0]))
        else:
            baseline = changes.pop("baseline", there(starts[:, 0]))
        axis = self.layout.channel_axis
        settings = {
            "backend": seen_through(self.backend, terms, self.inputs),
            "baseline": baseline,
            "channel_axis": None if axis is None else axis + 1,
            "components": False,
            "progress": False,
            **changes,
        }
        # Of NumPy: a forced backend takes its framework's arrays or NumPy's, and a view is no framework.
        moved = there(self.host).astype(self.adapter.to_numpy(self.inputs).dtype)
        result = self.explainer.but(**settings)(np.ascontiguousarray(moved), self.target, **self._calling)
        return result.numpy().astype(np.float64)

    def with_settings(self, **changes: Any) -> Case:
        """Return the same problem for an explainer with other settings."""
        call = self.call
        explainer = self.explainer.but(**changes)
        return Case(explainer, self.inputs, self.target, args=call.args, kwargs=call.kwargs, input_name=call.name)

    def answer(self, rows: Any = None, **changes: Any) -> Attribution:
        """Return the explainer's answer with other settings, for some examples only if `rows` says so."""
        explainer = self.explainer.but(**changes)
        if rows is None:
            return explainer(self.inputs, self.target, **self._calling)
        given = explainer.baseline
        if not isinstance(given, Baseline | Samples) and "baseline" not in changes:
            explainer = explainer.but(baseline=self.starts[rows, 0])  # one per input
        call = self.call.some(len(self.host), lambda array, axis: self._rows_of(array, axis, rows))
        inputs, target = self._like_inputs(self.host[rows]), _some(self.target, rows)
        return explainer(inputs, target, args=call.args, kwargs=call.kwargs, input_name=call.name)

    def explained(self, inputs: Array, **changes: Any) -> Attribution:
        """Return the explainer's answer for other inputs, (batch, *example), with other settings."""
        explainer = self.explainer.but(components=False, **changes)
        return explainer(self._like_inputs(inputs), self.target, **self._calling)

    def outputs(self, points: Array, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return the model's outputs at points in one call, on the host."""
        with self.adapter.running():
            return self.adapter.to_numpy(self.adapter.outputs(self.adapter.asarray(points), rows))

    def _like_inputs(self, host: Array) -> Any:
        """Return host inputs as the user's are: a function's framework is told by what it is given."""
        return self.adapter.restore(host, self.inputs)

    def _rows_of(self, array: Any, axis: int, rows: Any) -> Any:
        """Return the part of a further input, which has one for each example, that some examples have."""
        native = self.backend.recognises_array(array)
        part = np.take(self.adapter.to_numpy(array) if native else array, rows, axis)
        return self.adapter.restore(part, array) if native else part

    @property
    def _calling(self) -> dict[str, Any]:
        return {"args": self.call.args, "kwargs": self.call.kwargs, "input_name": self.call.name}


def _plain(explainer: PathExplainer) -> PathExplainer:
    """Return the explainer with nodes and blocks that do not depend on the model: axioms compare at equal nodes."""
    changes: dict[str, Any] = {}
    if explainer.steps == "auto" or isinstance(explainer.nodes, Refined | OutputAware):
        steps = STEPS if explainer.steps == "auto" else explainer.steps
        changes = {"steps": steps, "tolerance": None, "nodes": None, "rule": None}
    if explainer.batch_size == "auto":
        changes["batch_size"] = ON_HOST
    return explainer.but(**changes) if changes else explainer


def _entries(found: NDArray[np.intp]) -> list[Any]:
    """Return resolved targets as a list, one index or tuple of indices per example."""
    return [tuple(row) if isinstance(row, list) else row for row in found.tolist()]


def _some(target: Any, rows: Any) -> Any:
    if isinstance(target, Contrast):
        return Contrast(_some(target.a, rows), _some(target.b, rows))
    return [target[row] for row in rows] if isinstance(target, list) else target
