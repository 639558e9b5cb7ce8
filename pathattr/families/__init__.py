"""Path families: the bases in which a difference can be activated."""

from collections.abc import Callable

from pathattr.families.base import PROMISES, Decomposition, Factor, PathFamily, Term, Transform
from pathattr.families.dct import DCT
from pathattr.families.laplacian import Laplacian
from pathattr.families.linear import Linear
from pathattr.families.svd import SVD
from pathattr.families.wavelet import Wavelet

FAMILIES: dict[str, Callable[[], PathFamily]] = {
    "linear": Linear,
    "svd": SVD,
    "svd-joint": lambda: SVD(channels="joint"),
    "dct": DCT,
    "wavelet": Wavelet,
    "wavelet-coefficients": lambda: Wavelet(components="coefficients"),
    "laplacian": Laplacian,
}

__all__ = [
    "DCT",
    "FAMILIES",
    "PROMISES",
    "SVD",
    "Decomposition",
    "Factor",
    "Laplacian",
    "Linear",
    "PathFamily",
    "Term",
    "Transform",
    "Wavelet",
]
