"""Settings of a path that go together, by name."""

from __future__ import annotations

from dataclasses import dataclass

from pathattr.families import DCT, SVD, Laplacian, PathFamily
from pathattr.paths.baselines import Baseline, Diffused
from pathattr.paths.orderings import Diffusion, Energy, Ordering
from pathattr.paths.schedules import HeatRamp, LinearRamp, Schedule


@dataclass(frozen=True)
class Preset:
    """What holds where the user says nothing; `ordering` and `baseline` None are the family's and the usual one.

    `published` takes families, jumps and rule as the SIG paper's code has them.
    """

    family: PathFamily
    schedule: Schedule
    ordering: Ordering | None = None
    baseline: Baseline | None = None
    steps: int = 200
    rule: str = "midpoint"
    published: bool = False


PRESETS: dict[str | None, Preset] = {
    None: Preset(SVD(), LinearRamp()),
    "published": Preset(SVD(), LinearRamp(), steps=199, rule="left", published=True),
    "blur-ig": Preset(DCT(), HeatRamp(), Diffusion(), Diffused()),
    "laplacian-ig": Preset(Laplacian(), LinearRamp(), Energy()),
}
