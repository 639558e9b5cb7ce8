"""Seeded pictures of one textured object among distractors, with the object's exact mask.

The class is the object's shape and texture together. Everything else (backdrop, distractors, place, size,
orientation, colours, texture period) is drawn before the class is looked at, so nothing outside the mask
tells the class.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pathattr.errors import InvalidInput

SIZE = 96
"""Height and width of every picture, in pixels."""

_Field = NDArray[np.float64]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Scenes:
    """Pictures with their classes and masks.

    `images`: float32 (N, 96, 96, 3), RGB in [0, 1], each value a multiple of 1/255, so that an 8-bit PNG
    keeps it. `labels`: int64 (N,), indices into `CLASSES`. `masks`: bool (N, 96, 96), the pixels that the
    object touches at all, its anti-aliased edge included: outside the mask a picture is exactly the one
    without the object.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


def generate(count: int, *, seed: int = 0, start: int = 0) -> Scenes:
    """Return pictures `start` to `start + count − 1` of the endless series that `seed` names.

    Picture i depends on the seed and i alone (processors that round sines otherwise may differ in rare
    values, by 1/255). Its class is i mod 10, so any ten in a row show every class once. Raises InvalidInput
    unless all three are integers, `count` ≥ 1 and the others ≥ 0.
    """
    count = _whole("count", count, least=1)
    seed, start = _whole("seed", seed, least=0), _whole("start", start, least=0)
    images = np.empty((count, SIZE, SIZE, 3), np.float32)
    masks = np.empty((count, SIZE, SIZE), np.bool_)
    labels = np.arange(start, start + count, dtype=np.int64) % len(CLASSES)
    for row, label in enumerate(labels):
        layers = _paint(seed, start + row, int(label))
        images[row], masks[row] = _quantise(layers.picture()), layers.coverage > 0
    return Scenes(images, labels, masks)


def _whole(name: str, value: int, *, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidInput(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise InvalidInput(f"{name} must be at least {least}, got {number}")
    return number


# --- Shapes: signed distance to the edge in pixels, negative inside, of extent r about the origin ---------


def _disc(u: _Field, v: _Field, r: float) -> _Field:
    return np.hypot(u, v) - 0.85 * r


def _square(u: _Field, v: _Field, r: float) -> _Field:
    return np.maximum(np.abs(u), np.abs(v)) - r / math.sqrt(2)


def _triangle(u: _Field, v: _Field, r: float) -> _Field:
    return np.maximum(np.abs(u) * math.sqrt(0.75) - v / 2, v) - r / 2


def _ring(u: _Field, v: _Field, r: float) -> _Field:
    return np.abs(np.hypot(u, v) - 0.64 * r) - 0.21 * r


def _cross(u: _Field, v: _Field, r: float) -> _Field:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(u, v) - 0.92 * r, np.minimum(u, v) - 0.3 * r)


# --- Textures: share of the second colour in [0, 1], half on average, edges about a pixel wide ------------


def _striped(u: _Field, v: _Field, period: float) -> _Field:
    return _steep(np.sin(2 * np.pi * u / period), period)


def _checked(u: _Field, v: _Field, period: float) -> _Field:
    # A check's side is half of its period; 1.25 times the stripes' period keeps small checks legible.
    period = 1.25 * period
    return _steep(np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period), period)


def _steep(wave: _Field, period: float) -> _Field:
    return np.clip(0.5 + wave * period / (2 * np.pi), 0, 1)


_SHAPES: dict[str, Callable[[_Field, _Field, float], _Field]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
    "cross": _cross,
}
_TEXTURES: dict[str, Callable[[_Field, _Field, float], _Field]] = {"striped": _striped, "checked": _checked}

CLASSES: tuple[str, ...] = tuple(f"{texture} {shape}" for texture in _TEXTURES for shape in _SHAPES)
"""The ten classes, in the order of the labels."""


# --- One picture ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Layers:
    """A picture before composition: backdrop and paint (3, 96, 96), object coverage (96, 96) in [0, 1]."""

    backdrop: _Field
    paint: _Field
    coverage: _Field

    def picture(self) -> _Field:
        return self.backdrop + self.coverage * (self.paint - self.backdrop)


def _paint(seed: int, index: int, label: int) -> _Layers:
    """Return picture `index` of `seed` with an object of class `label`; the label changes nothing else."""
    # A spawn key, unlike the entropy list [seed, index], keeps pairs apart when a seed exceeds 32 bits.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    ground = rng.uniform(0.2, 0.8, (3, 1, 1))
    backdrop = ground + _pink_noise(rng)
    for _ in range(rng.integers(4, 8)):
        _DISTRACTORS[rng.integers(len(_DISTRACTORS))](backdrop, rng)
    radius = rng.uniform(13, 24)
    u, v = _centred(rng, radius)
    s, t = _turned(u, v, rng.uniform(0, 2 * np.pi))
    p, q = _turned(u, v, rng.uniform(0, 2 * np.pi))
    period, phase = rng.uniform(5.5, 8.5), rng.uniform(0, 8.5, 2)
    first, second = _colours(rng, ground.ravel())

    texture, shape = CLASSES[label].split()
    coverage = _coverage(_SHAPES[shape](s, t, radius))
    share = _TEXTURES[texture](p + phase[0], q + phase[1], period)
    return _Layers(np.clip(backdrop, 0, 1), first + share * (second - first), coverage)


def _quantise(picture: _Field) -> NDArray[np.float32]:
    levels = np.rint(picture * 255).astype(np.float32)
    return levels.transpose(1, 2, 0) / np.float32(255)


def _coverage(distance: _Field) -> _Field:
    """Return how much of each pixel lies inside, from the signed distance of its centre to the edge."""
    return np.clip(0.5 - distance, 0, 1)


def _centred(rng: np.random.Generator, margin: float) -> tuple[_Field, _Field]:
    """Return pixel coordinates about a random centre at least `margin` and a pixel from every side."""
    x, y = rng.uniform(margin + 1, SIZE - 2 - margin, 2)
    pixels = np.arange(SIZE, dtype=np.float64)
    return pixels[None, :] - x, pixels[:, None] - y


def _turned(u: _Field, v: _Field, angle: float) -> tuple[_Field, _Field]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * u + sin * v, cos * v - sin * u


def _colours(rng: np.random.Generator, ground: _Field) -> tuple[_Field, _Field]:
    """Return two colours (3, 1, 1) that differ in luminance and stand out from the backdrop's mean."""
    first, second = rng.uniform(0.05, 0.95, (2, 32, 3))
    contrast = np.abs((first - second) @ (0.299, 0.587, 0.114)) / 0.25
    apart = np.minimum(np.linalg.norm(first - ground, axis=1), np.linalg.norm(second - ground, axis=1)) / 0.3
    # The first pair that meets both bounds or, failing all 32, the pair that comes nearest.
    best = np.argmax(np.minimum(np.minimum(contrast, apart), 1))
    return first[best, :, None, None], second[best, :, None, None]


@cache
def _log_frequencies() -> _Field:
    grid: _Field = np.hypot(fft.fftfreq(SIZE)[:, None], fft.rfftfreq(SIZE)[None, :])
    grid[0, 0] = np.inf  # no constant part: the mean colour is drawn apart
    return np.log(grid)


def _pink_noise(rng: np.random.Generator) -> _Field:
    """Return (3, 96, 96) noise of amplitude 1/fᵃ: shared luminance and weaker noise per channel."""
    height, width = _log_frequencies().shape
    spectra = rng.standard_normal((4, height, 2 * width)).view(np.complex128)
    spectra *= np.exp(-rng.uniform(0.9, 1.4) * _log_frequencies())
    fields: _Field = fft.irfft2(spectra, s=(SIZE, SIZE), overwrite_x=True)
    fields /= fields.std(axis=(1, 2), keepdims=True)
    return rng.uniform(0.06, 0.14) * fields[:1] + rng.uniform(0.01, 0.05) * fields[1:]


# --- Distractors: drawn into the backdrop, in place -------------------------------------------------------


def _soft_blob(canvas: _Field, rng: np.random.Generator) -> None:
    u, v = _turned(*_centred(rng, 0), rng.uniform(0, np.pi))
    wide, high = rng.uniform(5, 16, 2)
    alpha = rng.uniform(0.4, 0.9) * np.exp(-((u / wide) ** 2 + (v / high) ** 2) / 2)
    canvas += alpha * (_colour(rng) - canvas)


def _line(canvas: _Field, rng: np.random.Generator) -> None:
    u, v = _turned(*_centred(rng, 0), rng.uniform(0, np.pi))
    half_length, half_width = rng.uniform(8, 30), rng.uniform(0.6, 1.6)
    distance = np.hypot(np.maximum(np.abs(u) - half_length, 0), v) - half_width
    canvas += _coverage(distance) * (_colour(rng) - canvas)


def _plain_shape(canvas: _Field, rng: np.random.Generator) -> None:
    alpha = _any_shape(rng)
    canvas += alpha * (_colour(rng) - canvas)


def _grained_shape(canvas: _Field, rng: np.random.Generator) -> None:
    alpha = _any_shape(rng)
    grain = _colour(rng) + 0.15 * rng.standard_normal((SIZE, SIZE))
    canvas += alpha * (grain - canvas)


def _colour(rng: np.random.Generator) -> _Field:
    return rng.uniform(0.05, 0.95, (3, 1, 1))


def _any_shape(rng: np.random.Generator) -> _Field:
    radius = rng.uniform(7, 18)
    u, v = _turned(*_centred(rng, 0), rng.uniform(0, 2 * np.pi))
    shape = list(_SHAPES.values())[rng.integers(len(_SHAPES))]
    return _coverage(shape(u, v, radius))


_DISTRACTORS = (_soft_blob, _line, _plain_shape, _grained_shape)
