"""How much of each spatial frequency a path has switched on, along the path (SIG paper, Figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import fft

from pathattr.common.axes import Array
from pathattr.common.checks import whole
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.backend import Call


def frequency_content(explainer: PathExplainer, inputs: Any, alpha: Sequence[float], bands: int = 8) -> Array:
    """Return ‖γ(α) − x'‖ over ‖x − x'‖ within each band of spatial frequency, (batch, len(alpha), bands).

    Bands have equal widths of radial frequency (orthonormal DCT-II over the spatial axes, every axis running from 0 to
    1, over the largest radius), from coarse to fine; channels are taken together. 0 where nothing is switched on, 1
    where the band is as in the input; the straight line has α in every band. A band in which input and baseline do not
    differ (by more than rounding) is NaN. Raises as `PathExplainer.path` does.
    """
    whole("bands", bands)
    points = explainer.path(inputs, [0.0, *alpha, 1.0])
    _, _, layout = explainer.prepared(inputs, Call())
    canonical = np.stack([[layout.canonical(point) for point in path] for path in points])
    spatial = tuple(range(3, canonical.ndim))
    moved = canonical - canonical[:, :1]
    spectra = fft.dctn(moved, type=2, norm="ortho", axes=spatial) ** 2
    radius = np.sqrt(sum(axis**2 for axis in np.ix_(*(np.linspace(0, 1, size) for size in canonical.shape[3:]))))
    band = np.minimum((radius / max(radius.max(), 1e-300) * bands).astype(int), bands - 1)
    energy = spectra.sum(axis=2)  # over channels
    found = np.stack([energy[..., band == k].sum(axis=-1) for k in range(bands)], axis=-1)
    whole_energy = found[:, -1:].copy()
    floor = np.finfo(float).eps ** 2 * whole_energy.sum(axis=-1, keepdims=True)
    whole_energy[whole_energy <= floor] = np.nan
    return np.asarray(np.sqrt(found[:, 1:-1] / whole_energy))
