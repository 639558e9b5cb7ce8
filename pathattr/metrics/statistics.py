"""Means over examples with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput

RESAMPLES = 4000
"""Enough that the ends of a 95% interval waver by about 3% of its width."""


@dataclass(frozen=True)
class Interval:
    """A mean over `count` examples, and the interval [low, high] that it lies in with the asked confidence."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def decided(self) -> bool:
        """True where the interval leaves out 0: a difference whose sign the sample tells."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: Array, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of the finite values with its bias-corrected bootstrap interval (BCa; Efron 1987).

    With fewer than two values, or equal ones (to rounding), nothing can be resampled: both ends are the mean, or NaN
    for none.
    """
    if not is_number(confidence) or not 0 < confidence < 1:
        raise InvalidInput(f"confidence is a share between 0 and 1; got {confidence!r}")
    kept = values[np.isfinite(values)]
    if not len(kept):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Interval(mean, np.nan, np.nan, 1)
    # A few last digits apart, or so little that squares of differences vanish: equal.
    if np.ptp(kept) <= max(1e-14 * np.abs(kept).max(), 1e-150):
        return Interval(mean, mean, mean, len(kept))
    from scipy import stats  # here: it takes a second to import, which every command would wait for

    found = stats.bootstrap(
        (kept,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        random_state=np.random.default_rng(seed),  # the name that SciPy before 1.15 knows; later ones take both
    )
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high), len(kept))
