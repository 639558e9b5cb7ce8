"""Gaussian blur with mirrored borders, mode by mode: what diffusion does to a DCT-II coefficient."""

from __future__ import annotations

import numpy as np
from scipy import fft

from pathattr.common.axes import Array


def eigenvalues(shape: tuple[int, ...]) -> Array:
    """Return λ = Σ (πk/size)² over the axes for every DCT-II coefficient k of an array of that shape, in 1/pixel².

    Cosines of half-sample symmetry are the eigenmodes of −Δ between mirrors half a pixel outside: blurring by a
    Gaussian of σ multiplies each by exp(−σ²λ/2). λ is that of the continuous Δ: a sampled Gaussian has that
    transform, and not that of the second difference, 2 − 2·cos(πk/size).
    """
    axes = np.ix_(*(np.pi * np.arange(size) / size for size in shape))
    return np.asarray(sum((axis**2 for axis in axes), np.zeros(shape)))


def diffused(example: Array, sigma: float) -> Array:
    """Return an example (channels, *spatial) blurred over all spatial axes by a Gaussian of `sigma` pixels."""
    axes = range(1, example.ndim)
    kept = np.exp(-0.5 * sigma**2 * eigenvalues(example.shape[1:]))
    return np.asarray(fft.idctn(kept * fft.dctn(example, type=2, norm="ortho", axes=axes), 2, norm="ortho", axes=axes))
