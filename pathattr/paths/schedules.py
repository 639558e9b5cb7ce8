"""Overlap windows and ramps: how a component of strength s switches on as α goes from 0 to 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from pathattr.common.checks import is_number
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput
from pathattr.paths.baselines import Diffused
from pathattr.paths.orderings import Diffusion, Ordering


class Elementwise(Protocol):
    """The operations that gates are made of; NumPy's module and every backend have them."""

    def clip(self, x: Any, low: float, high: float, /) -> Any:
        """Return x limited to [low, high]."""

    def cos(self, x: Any, /) -> Any:
        """Return the cosine."""

    def exp(self, x: Any, /) -> Any:
        """Return the exponential."""

    def where(self, condition: Any, x: Any, y: Any, /) -> Any:
        """Return x where the condition holds, else y."""


@dataclass(frozen=True)
class Schedule(ABC):
    """A component of strength s opens over the window [(1−ω)(1−s), (1−ω)(1−s) + ω] (SIG paper, Eq. 6-8).

    `overlap` is ω in [0, 1]: at 1 every window is [0, 1], the straight line; at 0 a component opens at once.
    Gates are 0 at α = 0 and 1 at α = 1 whatever the window. Where gates jump (ω = 0, `StepRamp`),
    `jumps="chord"` integrates along the chord of each jump, so that completeness holds; "published" takes
    the gradient before the jump, as the published code does: incomplete by construction.
    """

    overlap: float = 0.4
    jumps: Literal["chord", "published"] = "chord"
    windowed: ClassVar[bool] = True
    """False where strengths decide over the whole of [0, 1] how a gate opens: overlap plays no part and stays 1."""
    made_for: ClassVar[type[Ordering] | None] = None
    """The orderings whose strengths the gates are made for, where a strength must be a certain quantity; None: all."""

    def __post_init__(self) -> None:
        if not is_number(self.overlap) or not 0 <= self.overlap <= 1:
            raise InvalidInput(f"overlap ω must be a number between 0 and 1; got {self.overlap!r}")
        one_of("jumps", self.jumps, ("chord", "published"))

    @abstractmethod
    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return the gate in [0, 1] for the progress in [0, 1] through the window."""

    @property
    def jumping(self) -> bool:
        """True where gates jump instead of rising continuously."""
        # Below this a window begins and ends at the same α to float64 rounding: it is a jump, whatever its name.
        return self.overlap < 1e-12

    @property
    def complete(self) -> bool:
        """False where jumps are taken as published: attributions do not add up to F(x) − F(x')."""
        return not (self.jumping and self.jumps == "published")

    @property
    def rule(self) -> str | None:
        """The quadrature rule that the way of taking jumps asks for; None where any will do."""
        return None if self.complete else "left"

    def check(self, ordering: Ordering, baseline: Any) -> None:
        """Raise InvalidInput for an ordering whose strengths, or a baseline from which, the gates mean nothing."""
        if self.made_for is not None and not isinstance(ordering, self.made_for):
            raise InvalidInput(
                f"{self!r} takes strengths as {self.made_for.__name__}(...) gives them; got ordering={ordering!r}: say "
                "another ordering, or choose another schedule such as LinearRamp()"
            )

    def starts(self, strengths: Any) -> Any:
        """Return the α at which the window of each strength begins."""
        return (1.0 - self.overlap) * (1.0 - strengths)

    def openings(self, strengths: Any) -> Any:
        """Return the α at which the gate of each strength jumps, for schedules that jump."""
        return self.starts(strengths)

    def gates(self, ops: Elementwise, alpha: Any, strengths: Any, *, inside: bool = False) -> Any:
        """Return the gates for positions α and strengths, two arrays that broadcast; `inside`: no α is 0 or 1."""
        if self.jumping:
            gate = ops.where(alpha >= self.openings(strengths), 1.0, 0.0 * strengths)
        else:
            gate = self.opened(ops, alpha, strengths)
        if inside:
            return gate
        return ops.where(alpha <= 0, 0.0, ops.where(alpha >= 1, 1.0, gate))

    def opened(self, ops: Elementwise, alpha: Any, strengths: Any) -> Any:
        """Return the gates of a schedule that does not jump: the ramp at the progress through each window."""
        progress = (alpha - self.starts(strengths)) / self.overlap
        return self.ramp(ops, ops.clip(progress, 0.0, 1.0))


@dataclass(frozen=True)
class LinearRamp(Schedule):
    """Gate = progress: at ω = 1 the straight line at constant speed."""

    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return the progress."""
        return progress


@dataclass(frozen=True)
class CosineRamp(Schedule):
    """Gate = ½ − ½cos(π·progress)."""

    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return ½ − ½cos(πp)."""
        return 0.5 - 0.5 * ops.cos(np.pi * progress)


@dataclass(frozen=True)
class SigmoidRamp(Schedule):
    """Gate = a logistic of slope `gain` around progress ½, rescaled to reach 0 and 1 (published gain: 12)."""

    gain: float = 12.0

    def __post_init__(self) -> None:
        super().__post_init__()
        # Beyond these the ramp is a line or a step to float64, and its rescaling loses all digits.
        if not is_number(self.gain) or not 1e-3 <= self.gain <= 100:
            raise InvalidInput(f"the sigmoid's gain must lie in [0.001, 100]; got {self.gain!r}")

    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return the logistic, from exactly 0 to exactly 1."""
        low = 1.0 / (1.0 + np.exp(0.5 * self.gain))
        high = 1.0 / (1.0 + np.exp(-0.5 * self.gain))
        return ops.clip((1.0 / (1.0 + ops.exp(self.gain * (0.5 - progress))) - low) / (high - low), 0.0, 1.0)


@dataclass(frozen=True)
class StepRamp(Schedule):
    """The gate jumps from 0 to 1 half-way through the window."""

    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return 1 from half-way on."""
        return ops.where(progress >= 0.5, 1.0, 0.0 * progress)

    @property
    def jumping(self) -> bool:
        """True: every gate jumps."""
        return True

    def openings(self, strengths: Any) -> Any:
        """Return the middle of each window."""
        return self.starts(strengths) + 0.5 * self.overlap


@dataclass(frozen=True)
class HeatRamp(Schedule):
    """The gates of deblurring (Blur IG, Xu et al., CVPR 2020): σ falls from σmax to 0 in proportion to 1 − α.

    For strengths s = 1/(1 + c) with c = σmax²λ/2, as `Diffusion(σmax)` gives them to components of eigenvalue λ: from a
    baseline in which exp(−c) of a component is left (`Diffused(σmax)`) to exp(−(1 − α)²c), the gate is
    (exp(−(1 − α)²c) − exp(−c))/(1 − exp(−c)). There are no windows: `overlap` is 1. Strengths below 1e-9 (σmax of
    ten thousand pixels) are taken as that: gates do not jump.
    """

    overlap: float = 1.0
    windowed = False
    made_for = Diffusion

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overlap != 1:
            raise InvalidInput(f"HeatRamp has no windows that could overlap: leave overlap at 1; got {self.overlap!r}")

    def check(self, ordering: Ordering, baseline: Any) -> None:
        """Raise InvalidInput for strengths, or a baseline, that are not those of blurring by one σ."""
        if not isinstance(ordering, Diffusion):
            raise InvalidInput(
                "HeatRamp() takes a component's strength for what blurring leaves of it, as Diffusion(sigma=35) does "
                f"for DCT() components; {ordering!r} says something else. Say preset='blur-ig' with no family and no "
                "ordering, or choose another schedule such as LinearRamp()"
            )
        if isinstance(baseline, Diffused) and baseline.sigma != ordering.sigma:
            raise InvalidInput(
                f"HeatRamp() deblurs from one sigma, and {ordering!r} and {baseline!r} name two: say both with the same"
            )

    def ramp(self, ops: Elementwise, progress: Any) -> Any:
        """Return the gate of components that blurring hardly touches (c = 0): 1 − (1 − p)²."""
        return 1.0 - (1.0 - progress) * (1.0 - progress)

    def opened(self, ops: Elementwise, alpha: Any, strengths: Any) -> Any:
        # Written as 1 − (1 − α)²·φ((1 − α)²c)/φ(c) with φ(z) = (1 − exp(−z))/z, in which no digits cancel.
        c = (1.0 - strengths) / ops.clip(strengths, 1e-9, 1.0)
        left = (1.0 - alpha) * (1.0 - alpha)
        return ops.clip(1.0 - left * _mean_decay(ops, left * c) / _mean_decay(ops, c), 0.0, 1.0)


def _mean_decay(ops: Elementwise, z: Any) -> Any:
    """Return (1 − exp(−z))/z for z in [0, 1e10]; 1 at 0."""
    # Near 0: φ(z) = t/(1 + wt) with w = z/2 and t = tanh(w)/w, by its continued fraction, right to 1e-17 below 0.2.
    w = 0.5 * ops.clip(z, 0.0, 0.2)
    square = w * w
    t = (945.0 + square * (105.0 + square)) / (945.0 + square * (420.0 + 15.0 * square))
    far = ops.clip(z, 0.2, 1e10)
    return ops.where(z < 0.2, t / (1.0 + w * t), (1.0 - ops.exp(-far)) / far)


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "linear": LinearRamp,
    "cosine": CosineRamp,
    "sigmoid": SigmoidRamp,
    "step": StepRamp,
}
"""Ramps through windows, by name. (`HeatRamp` has none, and goes with one ordering and one baseline: a preset.)"""
