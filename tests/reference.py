"""The published spectral path attribution, written out for small images: an oracle for the package.

A direct transcription of the definitions in float64, independent of the package and in no way fast. Every
component is held as an image, so keep the sides at 16 pixels or fewer.
"""

from itertools import product

import numpy as np
import pywt

FAMILIES = ("linear", "svd", "svd-joint", "dct", "wavelet", "laplacian")
RAMPS = ("linear", "cosine", "sigmoid", "step")


def decompose(difference, family, *, levels=4):
    """Components of an image (C, H, W): (K, C, H, W), summing to it, and their strengths (K, C)."""
    difference = np.asarray(difference, dtype=np.float64)
    channels = difference.shape[0]
    if family == "linear":
        return difference[None].copy(), np.ones((1, channels))
    if family == "svd":
        return _svd_per_channel(difference)
    if family == "svd-joint":
        return _svd_joint(difference)
    if family == "dct":
        return _dct(difference)
    if family == "wavelet":
        components = _haar(difference, levels)
    elif family == "laplacian":
        components = _laplacian(difference, levels)
    else:
        raise ValueError(f"expected one of {FAMILIES}, got {family!r}")
    # The published strength of a band is its place in the list, whatever it contains.
    strengths = np.linspace(1.0, 0.0, len(components))
    return components, np.repeat(strengths[:, None], channels, axis=1)


def _relative(singular_values):
    """Singular values over the largest; 0 where all are 0."""
    if singular_values[0] == 0.0:
        return np.zeros_like(singular_values)
    return singular_values / singular_values[0]


def _svd_per_channel(difference):
    channels, height, width = difference.shape
    count = min(height, width)
    components = np.zeros((count, channels, height, width))
    strengths = np.zeros((count, channels))
    for c in range(channels):
        u, s, vt = np.linalg.svd(difference[c], full_matrices=False)
        strengths[:, c] = _relative(s)
        for k in range(count):
            components[k, c] = s[k] * np.outer(u[:, k], vt[k])
    return components, strengths


def _svd_joint(difference):
    """One SVD of the channels stacked on top of each other, a (C·H, W) matrix."""
    channels, height, width = difference.shape
    u, s, vt = np.linalg.svd(difference.reshape(channels * height, width), full_matrices=False)
    components = np.zeros((len(s), channels, height, width))
    for k in range(len(s)):
        components[k] = (s[k] * np.outer(u[:, k], vt[k])).reshape(channels, height, width)
    return components, np.repeat(_relative(s)[:, None], channels, axis=1)


def dct_vector(k, n):
    """The k-th orthonormal DCT-II basis vector of length n."""
    scale = np.sqrt((1.0 if k == 0 else 2.0) / n)
    return scale * np.cos(np.pi * k * (2 * np.arange(n) + 1) / (2 * n))


def _dct(difference):
    """One component per frequency (p, q), at index p·W + q, of strength 1 − radius."""
    channels, height, width = difference.shape
    rows, columns = np.linspace(0.0, 1.0, height), np.linspace(0.0, 1.0, width)
    largest = np.hypot(rows[-1], columns[-1])
    components = np.zeros((height * width, channels, height, width))
    strengths = np.zeros((height * width, channels))
    for p in range(height):
        for q in range(width):
            wave = np.outer(dct_vector(p, height), dct_vector(q, width))
            k = p * width + q
            for c in range(channels):
                components[k, c] = np.sum(wave * difference[c]) * wave
            # A single pixel has one frequency, the lowest: its radius is 0, not 0 / 0.
            strengths[k] = 1.0 - np.hypot(rows[p], columns[q]) / largest if largest > 0.0 else 1.0
    return components, strengths


def _haar_forward(image):
    """Orthonormal Haar on 2×2 blocks: (low, difference along width, along height, along both)."""
    a, b = image[:, 0::2, 0::2], image[:, 0::2, 1::2]
    c, d = image[:, 1::2, 0::2], image[:, 1::2, 1::2]
    return (a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2


def _haar_inverse(low, along_width, along_height, along_both):
    channels, height, width = low.shape
    image = np.zeros((channels, 2 * height, 2 * width))
    image[:, 0::2, 0::2] = (low + along_width + along_height + along_both) / 2
    image[:, 0::2, 1::2] = (low - along_width + along_height - along_both) / 2
    image[:, 1::2, 0::2] = (low + along_width - along_height - along_both) / 2
    image[:, 1::2, 1::2] = (low - along_width - along_height + along_both) / 2
    return image


def _haar(difference, levels):
    """Components [LL, then for each level from the finest: along width, along height, along both]."""
    low, details = difference, []  # details[l] holds the three bands of level l, the finest at l = 0
    while len(details) < levels and low.shape[1] % 2 == 0 and low.shape[2] % 2 == 0:
        low, *bands = _haar_forward(low)
        details.append(bands)

    def to_image(image, above):
        """Invert the `above` finest levels with nothing in their details."""
        for _ in range(above):
            image = _haar_inverse(image, *[np.zeros_like(image)] * 3)
        return image

    components = [to_image(low, len(details))]
    for level, bands in enumerate(details):
        for place in range(3):
            inputs = [np.zeros_like(bands[0]) for _ in range(4)]
            inputs[1 + place] = bands[place]
            components.append(to_image(_haar_inverse(*inputs), level))
    return np.stack(components)


def pool(image):
    """Average pairs along each axis longer than 1 (2×2 blocks), dropping an odd last row or column."""
    if image.shape[1] > 1:
        half = image.shape[1] // 2
        image = (image[:, 0 : 2 * half : 2] + image[:, 1 : 2 * half : 2]) / 2
    if image.shape[2] > 1:
        half = image.shape[2] // 2
        image = (image[:, :, 0 : 2 * half : 2] + image[:, :, 1 : 2 * half : 2]) / 2
    return image


def bilinear_matrix(size_in, size_out):
    """Linear interpolation of one axis (size_out, size_in): half-pixel centres, clamped at the borders."""
    matrix = np.zeros((size_out, size_in))
    for i in range(size_out):
        source = max((i + 0.5) * size_in / size_out - 0.5, 0.0)
        lower = int(np.floor(source))
        upper = min(lower + 1, size_in - 1)
        matrix[i, lower] += 1.0 - (source - lower)
        matrix[i, upper] += source - lower
    return matrix


def upsample(image, height, width):
    """Bilinear upsampling of (C, h, w) to (C, height, width), corners not aligned."""
    rows, columns = bilinear_matrix(image.shape[1], height), bilinear_matrix(image.shape[2], width)
    return np.stack([rows @ channel @ columns.T for channel in image])


def _laplacian(difference, levels):
    """Components [low, then the residuals from the finest to the coarsest]."""
    low, residuals = difference, []
    while len(residuals) < levels and max(low.shape[1:]) > 1:
        coarser = pool(low)
        residuals.append(low - upsample(coarser, *low.shape[1:]))
        low = coarser
    components = []
    for kept in range(1 + len(residuals)):  # collapse the pyramid with every band but one closed
        gates = [float(k == kept) for k in range(1 + len(residuals))]
        image = gates[0] * low
        for level in reversed(range(len(residuals))):
            image = upsample(image, *residuals[level].shape[1:]) + gates[1 + level] * residuals[level]
        components.append(image)
    return np.stack(components)


def gate(alpha, strength, ramp, overlap):
    """How far a component of this strength is open at alpha (Eq. 6-8); arguments broadcast."""
    alpha, strength = np.broadcast_arrays(np.asarray(alpha, dtype=np.float64), np.asarray(strength, dtype=np.float64))
    start = (1.0 - overlap) * (1.0 - strength)
    if overlap > 0.0:
        progress = np.clip((alpha - start) / overlap, 0.0, 1.0)
    else:  # the window has no length: the component jumps where it would start
        progress = np.where(alpha >= start, 1.0, 0.0)
    if ramp == "linear":
        value = progress
    elif ramp == "cosine":
        value = 0.5 - 0.5 * np.cos(np.pi * progress)
    elif ramp == "sigmoid":
        at, first, last = (1.0 / (1.0 + np.exp(-12.0 * (p - 0.5))) for p in (progress, 0.0, 1.0))
        value = (at - first) / (last - first)
    elif ramp == "step":
        value = np.where(progress >= 0.5, 1.0, 0.0)
    else:
        raise ValueError(f"expected one of {RAMPS}, got {ramp!r}")
    return np.where(alpha <= 0.0, 0.0, np.where(alpha >= 1.0, 1.0, value))


def points(x, baseline, family, ramp, overlap, count, *, levels=4):
    """The points of the path at alpha = j/(count − 1): (count, C, H, W), from the baseline to x."""
    x, baseline = np.asarray(x, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    components, strengths = decompose(x - baseline, family, levels=levels)
    if family == "linear":
        overlap = 1.0  # one component and no order: its window is [0, 1]
    path = np.zeros((count, *x.shape))
    for j in range(count):
        gates = gate(j / (count - 1), strengths, ramp, overlap)
        path[j] = baseline
        for k in range(len(components)):
            path[j] += gates[k][:, None, None] * components[k]
    path[0], path[-1] = baseline, x  # exactly, not up to the rounding of the synthesis
    return path


def published(gradient, x, baseline, family, ramp="linear", overlap=0.4, count=200, *, levels=4):
    """Attributions (C, H, W) by the left rule: Σ_j (X_{j+1} − X_j) ⊙ gradient(X_j)."""
    path = points(x, baseline, family, ramp, overlap, count, levels=levels)
    total = np.zeros(path.shape[1:])
    for j in range(count - 1):
        total += (path[j + 1] - path[j]) * gradient(path[j])
    return total


class SmoothModel:
    """Softmax over W2·tanh(W1·x + b1) + b2 for images of one shape (C, H, W), derivatives in closed form.

    Logits have a standard deviation of about 2 on standard normal images: probabilities move, unsaturated.
    """

    def __init__(self, shape, classes=4, hidden=12, seed=0):
        rng = np.random.default_rng(seed)
        self.shape = tuple(shape)
        size = int(np.prod(self.shape))
        self.w1 = rng.normal(size=(hidden, size)) / np.sqrt(size)
        self.b1 = 0.3 * rng.normal(size=hidden)
        self.w2 = 3.0 * rng.normal(size=(classes, hidden)) / np.sqrt(hidden)
        self.b2 = 0.3 * rng.normal(size=classes)

    def value(self, points):
        """Logits (P, classes) of points (P, C, H, W)."""
        flat = np.asarray(points, dtype=np.float64).reshape(len(points), -1)
        return np.tanh(flat @ self.w1.T + self.b1) @ self.w2.T + self.b2

    def vjp(self, points, cotangent):
        """Σ_k cotangent[:, k] ∂logit_k/∂x at each point: (P, C, H, W)."""
        flat = np.asarray(points, dtype=np.float64).reshape(len(points), -1)
        hidden = np.tanh(flat @ self.w1.T + self.b1)
        pulled = ((cotangent @ self.w2) * (1.0 - hidden**2)) @ self.w1
        return pulled.reshape(len(points), *self.shape)

    def logits(self, x):
        """Logits (classes,) of one image (C, H, W)."""
        return self.value(np.asarray(x)[None])[0]

    def probabilities(self, x):
        """Softmax probabilities (classes,) of one image."""
        logits = self.logits(x)
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    def probability(self, x, target):
        """Softmax probability of the target class at one image."""
        return float(self.probabilities(x)[target])

    def gradient(self, x, target):
        """∂probability(x, target)/∂x: (C, H, W). ∂p_t/∂logit_k = p_t (δ_tk − p_k)."""
        p = self.probabilities(x)
        cotangent = p[target] * ((np.arange(len(p)) == target) - p)
        return self.vjp(np.asarray(x)[None], cotangent[None])[0]


def dct_matrix(size):
    """The orthonormal DCT-II matrix (frequency, position)."""
    return np.array([dct_vector(k, size) for k in range(size)])


def wavelet_step(name, mode, size):
    """One level's synthesis matrices (size, coefficients), low-pass and high-pass; None where it shortens nothing."""
    count = pywt.dwt_coeff_len(size, pywt.Wavelet(name).dec_len, mode)
    if count >= size:
        return None
    unit, zero = np.eye(count), np.zeros((count, count))
    pairs = ((unit, zero), (zero, unit))
    # An odd side comes back one longer.
    return [pywt.idwt(low, high, name, mode, axis=0)[:size] for low, high in pairs]


def wavelet_bands(name, mode, sides, levels):
    """Every band's synthesis, one matrix (size, coefficients) per axis: approximation, then details, coarsest first."""
    whole, details = [np.eye(side) for side in sides], []
    while len(details) < levels:
        steps = [wavelet_step(name, mode, matrix.shape[1]) for matrix in whole]
        if not any(steps):
            break
        parts = [[m] if step is None else [m @ part for part in step] for m, step in zip(whole, steps, strict=True)]
        whole, *others = product(*parts)
        details.append(others)
    return [list(whole), *(list(band) for level in reversed(details) for band in level)]


def separable(coefficients, matrices):
    """Σ over coefficients of (channels, *positions), one matrix (size, positions) per axis."""
    for axis, matrix in enumerate(matrices, start=1):
        coefficients = np.moveaxis(np.tensordot(matrix, coefficients, axes=(1, axis)), 0, axis)
    return coefficients
