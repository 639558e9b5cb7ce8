"""The same networks from the same weights give the same attributions in every framework."""

import numpy as np
import pytest

import parity

# float64: only the order of sums inside products and convolutions differs, 1e-13 at most in what was measured.
# float32: points and increments carry 6e-8; increments between 20 to 40 points, normalisations and the sums of a
# convolution multiply it by up to about a hundred.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parity.run("torch", "float64", str(tmp_path_factory.mktemp("parity") / "torch.npz"))


def test_the_oracle_agrees_with_torch(reference, tmp_path):
    oracle = parity.run("numpy", "float64", str(tmp_path / "numpy.npz"))
    assert set(oracle) == {name for name in reference if name.startswith("mlp/")}
    assert np.max(list(parity.differences(oracle, reference).values())) < TOLERANCES["float64"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("framework", [name for name in parity.FRAMEWORKS if name != "numpy"])
def test_every_framework_agrees_with_torch_in_float64(reference, framework, dtype, tmp_path):
    found = parity.run(framework, dtype, str(tmp_path / "found.npz"))
    assert set(found) == set(reference)
    measured = parity.differences(found, reference)
    # On JAX and torch, Keras multiplies float64 matrices in float32: its own promotion of types.
    tolerance = TOLERANCES["float32" if framework in ("keras-jax", "keras-torch") else dtype]
    wrong = {
        name: difference
        for name, difference in measured.items()
        if not name.startswith(parity.WITH_TIES) and max(difference) > tolerance
    }
    assert not wrong
