"""Metrics by name: the table that studies and the command build them from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pathattr.common.names import named
from pathattr.metrics.diffid import DiffID
from pathattr.metrics.fills import FILLS, Fill
from pathattr.metrics.infidelity import Infidelity
from pathattr.metrics.localisation import IoU, MassInside, PointingGame
from pathattr.metrics.metric import Metric
from pathattr.metrics.rise import Deletion, Insertion
from pathattr.metrics.road import ROAD
from pathattr.metrics.sparseness import Sparseness

FILLED: dict[str, Callable[[Fill], Metric]] = {
    "diffid": lambda fill: DiffID(fill),
    "insertion": lambda fill: Insertion(fill),
    "deletion": lambda fill: Deletion(fill),
}
"""Metrics that put something in the place of what is removed."""

METRICS: dict[str, Callable[[], Metric]] = {
    "diffid": DiffID,
    "insertion": Insertion,
    "deletion": Deletion,
    "road": ROAD,
    "road-fixed": lambda: ROAD("fixed"),
    "pointing": PointingGame,
    "iou": IoU,
    "mass": MassInside,
    "sparseness": Sparseness,
    "infidelity": Infidelity,
}


def metrics_from(
    names: Sequence[str], fills: Sequence[str] | None = None, baseline: str | float | None = None
) -> dict[str, Metric]:
    """Return metrics by the names that tables call them; those with a fill once for each, as "diffid, zero fill".

    Without `fills` DiffID has them all, since a fill favours the methods whose baseline resembles it, and RISE's two
    have their own. `baseline` is the one that maps are about, for infidelity. Raises InvalidInput for unknown names;
    the error lists those that are known.
    """
    made: dict[str, Metric] = {}
    chosen = {name: named("fill", name, FILLS, Fill) for name in (FILLS if fills is None else fills)}
    for name in names:
        metric = named("metric", name, METRICS, Metric)
        if isinstance(metric, Infidelity):
            metric = Infidelity(baseline=baseline)
        if name in FILLED and (fills is not None or name == "diffid"):
            made |= {f"{name}, {fill} fill": FILLED[name](chosen[fill]) for fill in chosen}
        else:
            made[name] = metric
    return made


def needs_masks(metric: Metric) -> bool:
    """Tell whether a metric must know where the object is."""
    return isinstance(metric, PointingGame | IoU | MassInside)
