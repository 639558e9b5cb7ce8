"""A pretrained SqueezeNet and photographs, where PATHATTR_REAL names the folder that has them."""

import numpy as np
import pytest

import pathattr as pa
import real_models

pytestmark = pytest.mark.skipif(
    real_models.folder() is None, reason="PATHATTR_REAL is not set: no pretrained models and photographs here"
)


# float64: sums in another order through 26 layers. float32: an activation that rounding moves across a kink moves the
# gradient of everything before it; 2% of a map was the most that this came to, 3% on the Haar path, whose piecewise
# constant pictures give the max poolings exact ties, in float64 too.
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 5e-2)])
def test_squeezenet_agrees_in_torch_keras_and_jax(dtype, tolerance):
    for name, families in real_models.run(dtype).items():
        for family, found in families.items():
            assert max(found) < (5e-2 if family == "wavelet" else tolerance), (name, family, found)


def test_the_gap_of_a_real_network_shrinks_with_steps():
    model = real_models.torch_models().resnet20()
    images, _ = real_models.torch_models().cifar10()
    gaps = [np.median(pa.PathExplainer(model, steps=steps)(images[:8]).relative_gap) for steps in (10, 320)]
    assert gaps[1] < gaps[0] / 4  # 1/steps would be 1/32; the median of eight images wavers
