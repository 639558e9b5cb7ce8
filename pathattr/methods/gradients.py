"""Methods that look at gradients around the input and walk no path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout
from pathattr.common.checks import flag, is_number, whole
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput
from pathattr.integration.engine import Engine, Progress
from pathattr.integration.evaluation import gradients_at
from pathattr.integration.quadrature import RULES
from pathattr.methods.explainer import EndScores, Explainer, ExplainerOptions
from pathattr.models.backend import Backend
from pathattr.models.finiteness import check_finite_at
from pathattr.paths.schedules import LinearRamp
from pathattr.results.attribution import Attribution


class GradientInput(Explainer):
    """A = ∇F(x) ⊙ (x − x'), for one gradient: gradient × input, with the baseline for an origin.

    With reference samples x' is their mean. Nothing is promised of ΣA unless F is affine: the result's `gap` is
    ΣA − (F(x) − F(x')) all the same. Options are `PathExplainer`'s.
    """

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        starts, batch = self.starts(backend, host, layout), len(host)
        engine = Engine(backend, layout, LinearRamp(), RULES["midpoint"], min(self.most, batch), components=False)
        ends = self._ends(engine, host, starts, target)
        engine = replace(engine, capacity=min(self._block(engine, host, ends), batch))
        rows = np.arange(batch)
        _, gradients = gradients_at(engine, host, ends.objective, ends.targets, rows, "at the input")
        progress(batch, batch)
        return self._answer(
            engine,
            inputs,
            ends,
            gradients * (host - starts.mean(axis=1)),
            evaluations=np.ones(batch, np.intp),
            forward_passes=ends.passes,
            settings={"method": self.method, "complete": False},
        )


class SmoothGrad(Explainer):
    """Statistics of ∇F(x + ε) over `samples` of normal noise ε (Smilkov et al. 2017).

    The standard deviation of the noise is `spread`·(max x − min x) of each example. `kind` is "plain" (the mean of the
    gradients), "squared" (of their squares: SmoothGrad²), or "variance" (their variance over the samples: VarGrad,
    Adebayo et al. 2018). `multiply` multiplies by x − x' (with reference samples, by their mean).

    The noise comes from the seed and the sample's number, the same for every example of a shape and in every
    framework. Nothing is promised of ΣA: the result's `gap` is ΣA − (F(x) − F(x')) all the same, and that is what the
    baseline is for unless `multiply`. The other options are `PathExplainer`'s.
    """

    own_settings: ClassVar[tuple[str, ...]] = ("kind", "samples", "spread", "multiply")

    def __init__(
        self,
        model: Any,
        *,
        kind: Literal["plain", "squared", "variance"] = "plain",
        samples: int = 25,
        spread: float = 0.15,
        multiply: bool = False,
        **options: Unpack[ExplainerOptions],
    ) -> None:
        super().__init__(model, **options)
        one_of("kind", kind, ("plain", "squared", "variance"))
        # The variance of one sample is 0 whatever the model.
        self.kind, self.samples = kind, whole("samples", samples, least=2 if kind == "variance" else 1)
        if not is_number(spread) or spread < 0:
            raise InvalidInput(f"spread is a share of the example's range, at least 0; got {spread!r}")
        self.spread, self.multiply = float(spread), flag("multiply", multiply)

    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        starts, batch = self.starts(backend, host, layout), len(host)
        engine = Engine(backend, layout, LinearRamp(), RULES["midpoint"], self.most, components=False)
        ends = self._ends(engine, host, starts, target)
        images, samples = _blocks(self._block(engine, host, ends), batch, self.samples)
        engine = replace(engine, capacity=images * samples)
        attributions, low, high = np.empty(host.shape), np.empty(batch), np.empty(batch)
        for first in range(0, batch, images):
            rows = np.arange(first, min(first + images, batch))
            moments, scores = _Moments(self.kind), []
            for part, found in self._gradients(engine, host, ends, rows, samples):
                scores.append(part)
                for sample in range(found.shape[1]):
                    moments.add(found[:, sample])
                count = sum(each.shape[1] for each in scores)
                progress(first * self.samples + len(rows) * count, batch * self.samples)
            attributions[rows] = backend.to_numpy(moments.result)
            met = np.concatenate(scores, axis=1)
            low[rows], high[rows] = met.min(axis=1), met.max(axis=1)
        return self._answer(
            engine,
            inputs,
            ends,
            attributions * (host - starts.mean(axis=1)) if self.multiply else attributions,
            evaluations=np.full(batch, self.samples, np.intp),
            forward_passes=ends.passes,
            lowest=low,
            highest=high,
            settings={"method": self.method, "complete": False},
        )

    def _gradients(
        self, engine: Engine, host: Array, ends: EndScores, rows: NDArray[np.intp], most: int
    ) -> Iterator[tuple[Array, Any]]:
        """Yield scores (images, n) and gradients (images, n, *example) at n noisy points of each image, n up to `most`.

        Gradients are wide and on the device, or on the host where the device has no float64.
        """
        backend, layout, images = engine.backend, engine.layout, len(rows)
        spread = self.spread * (host[rows].reshape(images, -1).max(axis=1) - host[rows].reshape(images, -1).min(axis=1))
        here = backend.asarray(host[rows])[:, None]
        scale = backend.asarray(spread.reshape(images, *(1,) * host.ndim))
        for first in range(0, self.samples, most):
            numbers = range(first, min(first + most, self.samples))
            noise = np.stack([_noise(self.seed, number, layout) for number in numbers])
            points = backend.reshape(
                here + scale * backend.asarray(noise)[None], (images * len(numbers), *layout.shape)
            )
            count = images * len(numbers)
            index = engine.filled(np.arange(count))
            owner = np.repeat(rows, len(numbers))[index]
            points = points if len(index) == count else backend.take(points, index)
            scores, gradients = engine.gradients(points, ends.objective, ends.targets[owner], owner)
            values, smooth = (backend.to_numpy(each)[:count] for each in (scores, backend.finite(gradients)))
            values = values.astype(np.float64)
            check_finite_at(owner, values, smooth, lambda point: "at a noisy input", has_values=backend.has_values)
            gradients = gradients if len(index) == count else backend.take(gradients, np.arange(count))
            wide = backend.wide(gradients) if backend.has_float64 else backend.to_numpy(gradients).astype(np.float64)
            shape = (images, len(numbers), *layout.shape)
            yield (
                values.reshape(images, len(numbers)),
                backend.reshape(wide, shape) if backend.has_float64 else wide.reshape(shape),
            )


class _Moments:
    """Running moments of gradients, sample after sample (Welford): their order does not depend on the blocks."""

    def __init__(self, kind: str) -> None:
        self._kind, self._count = kind, 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, gradient: Any) -> None:
        """Take in one gradient of each image."""
        value = gradient * gradient if self._kind == "squared" else gradient
        self._count += 1
        off = value - self._mean
        self._mean = self._mean + off / self._count
        if self._kind == "variance":
            # Both factors have one sign: the sum cannot become negative, as E[g²] − E[g]² can.
            self._squares = self._squares + off * (value - self._mean)

    @property
    def result(self) -> Any:
        """The statistic asked for."""
        return self._squares / self._count if self._kind == "variance" else self._mean


def _blocks(most: int, batch: int, samples: int) -> tuple[int, int]:
    """Return how many images, and how many samples of each, the model sees at once: evenly, at most `most` points.

    As many images as there are: a sample's noise is drawn once for all of them.
    """
    images = -(-batch // -(-batch // most))
    return images, -(-samples // -(-samples // max(1, most // images)))


def _noise(seed: int, number: int, layout: Layout) -> Array:
    """Return a sample's noise, drawn channels first: frameworks that keep them last get the same picture."""
    shape = layout.canonical(np.zeros(layout.shape)).shape
    return layout.restore(np.random.default_rng([seed, number]).standard_normal(shape))
