"""The DCT, which PyTorch does not have, by its FFT of the same length (Makhoul, IEEE Trans. ASSP 28, 1980)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def dct(x: Tensor, axis: int) -> Tensor:
    """Return the orthonormal DCT-II along an axis."""
    x = x.movedim(axis, -1)
    size = x.shape[-1]
    # Even places in order, then odd ones backwards: X[k] = Re(turn[k]·V[k]) and X[size − k] = −Im(turn[k]·V[k]).
    folded = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], -1)
    turned = torch.fft.rfft(folded) * _turns(size, x.dtype, x.device)
    rest = -turned.imag[..., 1 : (size + 1) // 2].flip(-1)
    return torch.cat([turned.real, rest], -1).movedim(-1, axis)


def idct(x: Tensor, axis: int) -> Tensor:
    """Return the inverse, and adjoint, of `dct`."""
    x = x.movedim(axis, -1)
    size = x.shape[-1]
    half = size // 2 + 1
    # X[size − k] for k = 0, 1, ...; there is no X[size].
    mirrored = torch.cat([torch.zeros_like(x[..., :1]), x[..., size - half + 1 :].flip(-1)], -1)
    folded = torch.fft.irfft(torch.complex(x[..., :half], -mirrored) / _turns(size, x.dtype, x.device), size)
    whole = torch.empty_like(folded)
    whole[..., ::2] = folded[..., : (size + 1) // 2]
    whole[..., 1::2] = folded[..., (size + 1) // 2 :].flip(-1)
    return whole.movedim(-1, axis)


@lru_cache(maxsize=16)
def _turns(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return exp(−iπk/2·size) for k = 0 ... size/2, scaled to an orthonormal transform."""
    turns = np.sqrt(2 / size) * np.exp(-0.5j * np.pi * np.arange(size // 2 + 1) / size)
    turns[0] = np.sqrt(1 / size)
    return torch.tensor(turns, dtype=torch.complex64 if dtype == torch.float32 else torch.complex128, device=device)
