"""With the published settings the package equals a direct transcription of the method's description."""

import numpy as np
import pytest

import pathattr as pa
import reference

FAMILIES = {
    "linear": pa.Linear(),
    "svd": pa.SVD(),
    "svd-joint": pa.SVD(channels="joint"),
    "dct": pa.DCT(),
    "wavelet": pa.Wavelet(),
    "laplacian": pa.Laplacian(),
}

# The bound; both sides compute in float64 and differ by rounding, about 1e-15.
TOLERANCE = 1e-10


# 200 points, as published: on that grid no band of a step ramp opens exactly at a node, where rounding would decide.
@pytest.mark.parametrize("ramp", reference.RAMPS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(3, 16, 8), (2, 7, 11), (1, 12, 10)])
def test_attributions_equal_the_transcription(family, ramp, shape):
    model = reference.SmoothModel(shape, seed=3)
    rng = np.random.default_rng(5)
    inputs, baseline = rng.normal(size=(2, 2, *shape))
    explainer = pa.PathExplainer(
        pa.NumpyModel(model.value, model.vjp),
        family=FAMILIES[family],
        schedule=ramp,
        baseline=baseline,
        preset="published",
        batch_size=23,
    )
    result = explainer(inputs, target=[1, 2])
    for example, target in enumerate((1, 2)):
        expected = reference.published(
            lambda x, target=target: model.gradient(x, target), inputs[example], baseline[example], family, ramp
        )
        error = np.abs(result.attributions[example] - expected).max() / np.abs(expected).max()
        assert error < TOLERANCE


@pytest.mark.parametrize("overlap", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_overlaps_equal_the_transcription(family, overlap):
    model = reference.SmoothModel((2, 8, 8), seed=1)
    rng = np.random.default_rng(2)
    x, baseline = rng.normal(size=(2, 2, 8, 8))
    explainer = pa.PathExplainer(
        pa.NumpyModel(model.value, model.vjp),
        family=FAMILIES[family],
        schedule=pa.LinearRamp(overlap=overlap),
        baseline=baseline,
        preset="published",
    )
    expected = reference.published(lambda p: model.gradient(p, 0), x, baseline, family, overlap=overlap)
    error = np.abs(explainer(x[None], 0).attributions[0] - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE


def test_a_channel_without_difference_takes_no_part():
    model = reference.SmoothModel((2, 8, 6), seed=4)
    x, baseline = np.random.default_rng(3).normal(size=(2, 2, 8, 6))
    x[0] = baseline[0]
    explainer = pa.PathExplainer(pa.NumpyModel(model.value, model.vjp), baseline=baseline, preset="published")
    expected = reference.published(lambda p: model.gradient(p, 0), x, baseline, "svd")
    error = np.abs(explainer(x[None], 0).attributions[0] - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE
