"""The contract of a backend, check by check, against the NumPy reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

from pathattr.common.ops import NumpyOps, Ops
from pathattr.errors import InvalidInput
from pathattr.families import FAMILIES
from pathattr.integration.sums import Sum
from pathattr.methods.path_explainer import PathExplainer
from pathattr.models.backend import Backend, Call
from pathattr.models.numpy_backend import LINK_FUNCTIONS, NumpyBackend
from pathattr.models.targets import LINKS, Contrast, Objective
from pathattr.testing.models import TanhNetwork

UNIT = np.finfo(np.float64).eps

# Equations of the kinds that families use: hadamard, matrix products with and without a batch, reductions.
EQUATIONS = (
    "bnck,bchk->bnchk",
    "bnchk,bckw->bnchw",
    "bnck,bckhw->bnchw",
    "bncpq,ph->bnchq",
    "bnchw,bckhw->bnck",
    "bnchk,bchk->bnck",
    "bnchw,bchw->bn",
    "bn,bchw->bnchw",
)
SIZES = {"b": 2, "n": 3, "c": 2, "k": 4, "h": 5, "w": 6, "p": 5, "q": 6}
SHAPE = (2, 6, 5)


@dataclass(frozen=True)
class Contract:
    """A backend under test: how it makes the test network and arrays, and how closely it must agree.

    `tolerance` is relative to the largest number of the result.
    """

    backend: type[Backend]
    network: Callable[[TanhNetwork], Any]
    array: Callable[[NDArray[Any]], Any]
    dtype: str
    tolerance: float

    @cached_property
    def oracle(self) -> TanhNetwork:
        """The network to be built."""
        return TanhNetwork.random(SHAPE)

    @cached_property
    def inputs(self) -> NDArray[Any]:
        """A batch of inputs, in the dtype under test."""
        return np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(self.dtype)

    def wrapped(self) -> Backend:
        """Return the backend around the test network."""
        return self.backend(self.network(self.oracle), self.array(self.inputs), Call(), self.backend.options)

    def close(self, found: Any, expected: NDArray[Any]) -> None:
        """Fail unless two arrays agree in shape and, to the tolerance, in value."""
        found = np.asarray(found)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0.0) <= self.tolerance * max(
            np.abs(expected).max(initial=0.0), 1e-300
        )

    def explainer(self, **settings: Any) -> PathExplainer:
        """Return an explainer of the test network on this backend, channels first."""
        return PathExplainer(self.network(self.oracle), backend=self.backend, channel_axis=1, **settings)


def backend_suite(
    backend: type[Backend],
    *,
    network: Callable[[TanhNetwork], Any],
    array: Callable[[NDArray[Any]], Any],
    dtype: str = "float64",
    tolerance: float = 1e-10,
) -> Callable[..., None]:
    """Return a pytest test that runs the whole contract: `test_mine = backend_suite(Mine, network=..., array=...)`.

    `network(spec)` builds the `TanhNetwork` in the framework, in `dtype`; `array(numpy_array)` makes the framework's
    array. `tolerance` bounds differences from the NumPy reference relative to the largest number: 1e-10 in float64
    (only the order of sums differs), 1e-4 in float32 (increments between points carry its 6e-8 some hundredfold).
    """
    contract = Contract(backend, network, array, dtype, tolerance)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check: Callable[[Contract], None]) -> None:
        check(contract)

    return test_contract


def recognises_its_own(contract: Contract) -> None:
    """Its arrays are its own and NumPy's are not, unless it is NumPy; devices are told and checked."""
    assert contract.backend.recognises_array(contract.array(contract.inputs))
    if not issubclass(contract.backend, NumpyBackend):
        assert not contract.backend.recognises_array(contract.inputs)
    assert not contract.backend.recognises_array([1.0])
    assert not contract.backend.recognises_model(3)
    devices = contract.backend.devices()
    assert devices
    assert all(isinstance(device, str) for device in devices)
    with pytest.raises(InvalidInput, match="no-such-device"):
        contract.backend.place(contract.network(contract.oracle), "no-such-device")


def arrays_go_there_and_back(contract: Contract) -> None:
    """Narrow arrays have the model's dtype, wide ones the widest; results come back as the inputs came."""
    backend = contract.wrapped()
    values = np.linspace(-2, 2, 24).reshape(2, 3, 4)
    narrow, wide = backend.asarray(values), backend.wide(values)
    assert backend.to_numpy(narrow).dtype == contract.dtype
    assert backend.to_numpy(wide).dtype == (np.float64 if backend.has_float64 else np.float32)
    assert backend.to_numpy(backend.narrow(wide)).dtype == contract.dtype
    assert backend.to_numpy(backend.wide(narrow)).dtype == backend.to_numpy(wide).dtype
    contract.close(backend.to_numpy(narrow), values)
    native = contract.array(contract.inputs)
    restored = backend.restore(contract.inputs.astype(np.float64), native)
    assert contract.backend.recognises_array(restored)
    assert np.array_equal(backend.to_numpy(restored), contract.inputs)
    single = backend.restore(values, values.astype(np.float32))
    assert isinstance(single, np.ndarray)
    assert single.dtype == np.float32


def einsum_equals_numpy(contract: Contract) -> None:
    """Every kind of product that families need."""
    backend, rng = contract.wrapped(), np.random.default_rng(2)
    for equation in EQUATIONS:
        left, right = (
            rng.normal(size=[SIZES[label] for label in labels]) for labels in equation.split("->")[0].split(",")
        )
        product = backend.einsum(equation, backend.asarray(left), backend.asarray(right))
        contract.close(backend.to_numpy(product), np.einsum(equation, left, right))


def elementwise_operations_equal_numpy(contract: Contract) -> None:
    """What gates are made of, Python numbers among the operands."""
    backend = contract.wrapped()
    values = np.linspace(-1, 2, 12).reshape(3, 4)
    x = backend.wide(values)
    contract.close(backend.to_numpy(backend.clip(x, 0.0, 1.0)), np.clip(values, 0, 1))
    contract.close(backend.to_numpy(backend.cos(x)), np.cos(values))
    contract.close(backend.to_numpy(backend.exp(x)), np.exp(values))
    contract.close(backend.to_numpy(backend.where(x >= 0.5, 1.0, x)), np.where(values >= 0.5, 1.0, values))
    contract.close(backend.to_numpy(backend.where(x <= 0.5, 0.0, 1.0 - x)), np.where(values <= 0.5, 0.0, 1 - values))
    contract.close(backend.to_numpy((1.0 - 0.3) * (1.0 - x) / 0.4), 0.7 * (1 - values) / 0.4)
    contract.close(backend.to_numpy(x[:, None][:, :, 1:3] - x[:, None][:, :, :2]), np.diff(values)[:, None, :2])


def arrays_are_cut_and_joined(contract: Contract) -> None:
    """Reshape, concat, take, finite and select."""
    backend = contract.wrapped()
    values = np.arange(24.0).reshape(4, 3, 2)
    x = backend.asarray(values)
    contract.close(backend.to_numpy(backend.reshape(x, (2, 2, 3, 2))), values.reshape(2, 2, 3, 2))
    contract.close(backend.to_numpy(backend.concat([x, x[:, :1]], 1)), np.concatenate([values, values[:, :1]], 1))
    rows = np.array([2, 0, 0, 3], dtype=np.intp)
    contract.close(backend.to_numpy(backend.take(x, rows)), values[rows])
    index = np.array([[2, 1], [0, 0], [1, 1], [2, 0]], dtype=np.intp)
    contract.close(backend.to_numpy(backend.select(x, index)), values[np.arange(4), index[:, 0], index[:, 1]])
    values[0, 1, 0], values[1, 2, 1], values[3, 0, 0] = -np.inf, np.nan, np.inf
    assert backend.to_numpy(backend.finite(backend.asarray(values))).tolist() == [False, False, True, False]


@dataclass(frozen=True)
class _Waves:
    """Something to apply: along one axis into cosines, along another back out of them, times a constant."""

    there: int
    back: int

    def __call__(self, ops: Ops, x: Any) -> Any:
        return ops.idct(ops.dct(ops.constant(np.full((1, 1, 1), 0.5), x) * x, self.there), self.back)


def transforms_equal_numpy(contract: Contract) -> None:
    """The DCT and its inverse along any axis, alone and in a function that is applied; sizes 1, 2, odd and even."""
    backend, rng = contract.wrapped(), np.random.default_rng(3)
    for shape in ((1, 2, 5), (7, 1, 4), (3, 8, 2)):
        values = rng.normal(size=shape)
        x = backend.asarray(values)
        for axis in range(3):
            contract.close(backend.to_numpy(backend.dct(x, axis)), fft.dct(values, norm="ortho", axis=axis))
            contract.close(backend.to_numpy(backend.idct(x, axis)), fft.idct(values, norm="ortho", axis=axis))
            waves = _Waves(axis, (axis + 1) % 3)
            contract.close(backend.to_numpy(backend.apply(waves, x)), waves(NumpyOps(), values))


def running_sums_are_exact(contract: Contract) -> None:
    """Sums over nodes: the same to the bit in blocks of any size, of products that were rounded first."""
    backend, nodes = contract.wrapped(), 1000
    values = np.random.default_rng(4).uniform(0.5, 1.0, size=(2, 2, nodes, 33))  # enough for vectors of a processor
    a, b = (backend.asarray(part) for part in values)
    sums = []
    for size in (8, 125, nodes):
        total = Sum(backend, (2, 33))
        for first in range(0, nodes, size):
            total.add(a[:, first : first + size], b[:, first : first + size])
        sums.append(total.numpy())
    assert (sums[0] == sums[1]).all()
    assert (sums[0] == sums[2]).all()
    products = backend.to_numpy(a) * backend.to_numpy(b)
    # Roundings of float64, or of two floats in its place; a sum in float32 would be off by about 3e-7.
    np.testing.assert_allclose(sums[0], products.sum(axis=1, dtype=np.float64), rtol=nodes * UNIT)


def links_equal_numpy(contract: Contract) -> None:
    """Every link, far from saturation and deep in it."""
    backend = contract.wrapped()
    logits = np.array([[0.3, -1.2, 2.0], [25.0, -25.0, 0.0]])
    for name, function in LINK_FUNCTIONS.items():
        values = np.exp(logits - 26) if name == "log" else logits
        contract.close(backend.to_numpy(backend.link(name, backend.asarray(values), 1)), function(values, 1))


def outputs_and_gradients_equal_the_oracle(contract: Contract) -> None:
    """Scores and gradients of every output and link, of single classes and of contrasts."""
    backend = contract.wrapped()
    oracle = NumpyBackend(contract.oracle.model(), contract.inputs.astype(np.float64), Call())
    points, rows = contract.inputs.astype(np.float64), np.arange(3)
    with backend.running():
        native = backend.asarray(points)
        contract.close(backend.to_numpy(backend.outputs(native, rows)), oracle.outputs(points, rows))
        for link in sorted({name for (output, link), name in LINKS.items() if link in ("softmax", "sigmoid")}):
            objective = Objective("any", link, 1)
            for targets in (np.array([[[0]], [[2]], [[3]]]), np.array([[[0], [1]], [[2], [0]], [[3], [2]]])):
                found = backend.gradient(native, objective, targets, rows)
                expected = oracle.gradient(points, objective, targets, rows)
                for ours, theirs in zip(found, expected, strict=True):
                    contract.close(backend.to_numpy(ours), theirs)
                contract.close(backend.to_numpy(backend.scores(native, objective, targets, rows)), expected[0])
        assert np.array_equal(backend.to_numpy(native), contract.inputs)


def attributions_equal_the_oracle(contract: Contract) -> None:
    """The whole run, for every family, features and components, blocks that do not fit evenly."""
    for family in FAMILIES:
        settings: dict[str, Any] = {"family": family, "steps": 11, "batch_size": 4}
        expected = PathExplainer(contract.oracle.model(), **settings)(contract.inputs.astype(np.float64), [0, 1, 2])
        found = contract.explainer(**settings)(contract.array(contract.inputs), [0, 1, 2])
        contract.close(found.numpy(), expected.attributions)
        contract.close(found.score, expected.score)
        assert found.evaluations.tolist() == expected.evaluations.tolist()
        assert found.components is not None
        assert expected.components is not None
        for ours, theirs in zip(found.components.attributions, expected.components.attributions, strict=True):
            contract.close(ours, theirs)


def targets_and_containers_come_through(contract: Contract) -> None:
    """The predicted class is resolved at the input; NumPy inputs give NumPy attributions."""
    explainer = contract.explainer(steps=3, output="logit")
    result = explainer(contract.inputs)
    assert isinstance(result.attributions, np.ndarray)
    assert result.attributions.dtype == contract.dtype
    assert result.target.tolist() == contract.oracle.value(contract.inputs.astype(float)).argmax(1).tolist()
    native = explainer(contract.array(contract.inputs), Contrast(None, 0))
    assert contract.backend.recognises_array(native.attributions)
    assert native.attributions.dtype == contract.array(contract.inputs).dtype


def batch_mates_do_not_matter(contract: Contract) -> None:
    """One image alone, and in a batch with blocks of another size, to rounding."""
    together = contract.explainer(steps=6, batch_size=64)(contract.array(contract.inputs), [0, 1, 2])
    alone = contract.explainer(steps=6, batch_size=2)(contract.array(contract.inputs[1:2]), 1)
    contract.close(alone.numpy()[0], together.numpy()[1])


CHECKS = (
    recognises_its_own,
    arrays_go_there_and_back,
    einsum_equals_numpy,
    elementwise_operations_equal_numpy,
    arrays_are_cut_and_joined,
    transforms_equal_numpy,
    running_sums_are_exact,
    links_equal_numpy,
    outputs_and_gradients_equal_the_oracle,
    attributions_equal_the_oracle,
    targets_and_containers_come_through,
    batch_mates_do_not_matter,
)
