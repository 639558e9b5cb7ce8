"""What DiffID and ROAD share: shares of a map removed from either end, and what the model still says."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.checks import is_number
from pathattr.errors import InvalidInput
from pathattr.metrics.plots import Curve
from pathattr.metrics.scores import Better, Scores
from pathattr.metrics.subject import Judged, Subject

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def checked_ratios(metric: str, ratios: Any) -> tuple[float, ...]:
    """Return shares as a tuple of floats; raises InvalidInput unless they lie between 0 and 1 and rise."""
    given = tuple(ratios) if isinstance(ratios, tuple | list | np.ndarray) else ()
    inside = all(is_number(ratio) and 0 < ratio < 1 for ratio in given)
    if not given or not inside or any(b <= a for a, b in pairwise(given)):
        raise InvalidInput(f"{metric} takes rising ratios between 0 and 1, such as {RATIOS}; got {ratios!r}")
    return tuple(float(ratio) for ratio in given)


def contrast(metric: str, subject: Subject, judged: Judged, ratios: tuple[float, ...], names: dict[str, str]) -> Scores:
    """Return the scores of points judged in the order (batch, two curves, ratios).

    `names` are those of the difference (second − first curve), of the first (lower is better) and of the second
    (higher is better), each with what its ratio is a share of. Hard: is the target the top class? Soft: its
    probability over that of the whole input, cut to [0, 1]; 0 where both are 0. Both are means over the ratios.
    """
    (difference, _), *parts = names.items()
    shape = (len(subject), 2, len(ratios))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = judged.probability.reshape(shape) / subject.probability[:, None, None]
    soft = np.clip(np.nan_to_num(share, nan=0.0, posinf=1.0), 0.0, 1.0)
    values: dict[str, Array] = {}
    better: dict[str, Better] = {}
    curves: dict[str, Curve] = {}
    for suffix, found, label in (
        ("", judged.hit.reshape(shape).astype(float), "accuracy"),
        ("_soft", soft, "share of the probability"),
    ):
        means = found.mean(axis=2)
        values[difference + suffix], better[difference + suffix] = means[:, 1] - means[:, 0], "higher"
        for k, (name, x_label) in enumerate(parts):
            values[name + suffix], better[name + suffix] = means[:, k], "higher" if k else "lower"
            curves[name + suffix] = Curve(np.asarray(ratios), found[:, k], x_label, label)
    return Scores(metric, values, better, curves)
