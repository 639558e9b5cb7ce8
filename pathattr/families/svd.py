"""Singular components: the basis of Spectral Integrated Gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pathattr.common.axes import Array, spatial_labels
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput
from pathattr.families.base import Decomposition, Factor, PathFamily, Term
from pathattr.paths.orderings import Energy, Ordering


@dataclass(frozen=True)
class SVD(PathFamily):
    """Components σ_k u_k v_kᵀ of the last two spatial axes (SIG, KDD 2026, Eq. 4), slice by slice in a volume.

    `channels="separate"` decomposes each channel's H×W matrix; "joint" stacks the channels into one
    (C·H)×W matrix per slice (Appendix G), and C×L for (channels, length), which has no other matrix.

    Raises InvalidInput for inputs with a single axis: they have no matrix structure.
    """

    channels: Literal["separate", "joint"] = "separate"

    def __post_init__(self) -> None:
        one_of("channels", self.channels, ("separate", "joint"))

    def decompose(self, difference: Array) -> Decomposition:
        """Return U and σ·Vᵀ per channel (or joint) and slice."""
        rank = difference.ndim - 1
        spatial = spatial_labels(rank)
        if rank == 1:
            if difference.shape[0] == 1:
                raise InvalidInput(
                    f"SVD needs a matrix: an example of {difference.shape[1]} features along one axis has no "
                    "matrix structure. Use Linear(), DCT(), Wavelet() or Laplacian()"
                )
            if self.channels == "separate":
                raise InvalidInput(
                    f"SVD(channels='separate') needs two spatial axes; an example of {difference.shape[0]} channels "
                    f"and length {difference.shape[1]} has one: use SVD(channels='joint')"
                )
            u, sigma, vt = _svd(difference)
            return self._decomposition(difference, "", u, "ck", sigma, vt, "k" + spatial)
        slices, row, column = spatial[:-2], spatial[-2], spatial[-1]
        if self.channels == "separate":
            u, sigma, vt = _svd(difference)
            groups = "c" + slices
            return self._decomposition(difference, groups, u, groups + row + "k", sigma, vt, groups + "k" + column)
        # Channels stack on top of the rows of each slice: (*slices, C·H, W).
        stacked = np.moveaxis(difference, 0, -3)
        *lead, c, h, w = stacked.shape
        u, sigma, vt = _svd(stacked.reshape(*lead, c * h, w))
        u = u.reshape(*lead, c, h, -1)
        return self._decomposition(difference, slices, u, slices + "c" + row + "k", sigma, vt, slices + "k" + column)

    @staticmethod
    def _decomposition(
        difference: Array, groups: str, u: Array, u_labels: str, sigma: Array, vt: Array, vt_labels: str
    ) -> Decomposition:
        factors = (Factor(u_labels, u), Factor(vt_labels, sigma[..., None] * vt))
        return Decomposition(difference.shape, (Term(groups + "k", factors, sigma, groups=len(groups)),))

    def promises(self, shape: tuple[int, ...]) -> frozenset[str]:
        """Return the promises of singular components: what permutes rows or columns permutes singular vectors."""
        names = {"sensitivity", "channels", "flips", "permutations", "distance"}
        separate = self.channels == "separate" or shape[0] == 1
        return frozenset(names | {"transposition", "channel scale", "Eckart-Young"} if separate else names)

    @property
    def default_ordering(self) -> Ordering:
        """Energy: σ_k/σ_1."""
        return Energy()


def _svd(matrices: Array) -> tuple[Array, Array, Array]:
    # A power of two brings each matrix's largest entry near 1 and is taken out exactly: differences near the ends
    # of the float64 range neither overflow nor vanish inside LAPACK.
    exponent = np.frexp(np.abs(matrices).max(axis=(-2, -1), initial=0.0))[1]
    u, sigma, vt = np.linalg.svd(np.ldexp(matrices, -exponent[..., None, None]), full_matrices=False)
    return u, np.ldexp(sigma, exponent[..., None]), vt
