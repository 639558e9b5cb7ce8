"""Planned pairwise contractions against np.einsum, and what they cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.common.einsum import PLANNED_NODES, contraction
from pathattr.families import DCT, FAMILIES, SVD, Wavelet
from pathattr.models.backend import Call
from pathattr.models.numpy_backend import NumpyBackend, NumpyModel
from pathattr.testing.strategies import splits

BACKEND = NumpyBackend(NumpyModel(lambda points: points, lambda points, cotangent: points), np.zeros((1, 1)), Call())
# Products and sums of at most a few thousand float64 numbers, relative to the sum of their magnitudes.
ROUNDING = 1e-13


def directions(family, difference):
    """Labels of operands, output labels and sizes of every term: synthesis, then adjoint; two images, three nodes."""
    decomposition = family.decompose(difference)
    for term in decomposition.terms:
        factors = ["b" + factor.labels if not factor.shared else factor.labels for factor in term.factors]
        sizes = decomposition.sizes(term) | {"b": 2, "n": 3}
        gates, points = "bn" + term.gates, "bn" + (term.spectrum or decomposition.labels)
        yield [gates, *factors], points, sizes
        yield [points, *factors], gates, sizes


def computed(size, labels):
    return int(np.prod([size[label] for label in labels], dtype=object))


@given(splits(), st.integers(0, 2**32 - 1))
def test_planned_contractions_equal_einsum(split, seed):
    rng = np.random.default_rng(seed)
    for inputs, output, sizes in directions(*split):
        operands = [rng.normal(size=[sizes[label] for label in labels]) for labels in inputs]
        equation = ",".join(inputs) + "->" + output
        expected = np.einsum(equation, *operands)
        bound = ROUNDING * np.einsum(equation, *map(np.abs, operands)).max()
        plan = contraction(inputs, output, sizes)
        assert plan.equation == equation
        assert len(plan.steps) == len(inputs) - 1
        for einsum in (np.einsum, BACKEND.einsum):
            np.testing.assert_allclose(plan(einsum, operands), expected, rtol=0, atol=bound)


@pytest.mark.parametrize(
    "equation",
    ["ab,bc->ac", "bnk,bkhw->bnhw", "bnchw,bckhw->bnck", "bnhwc,bckhw->bnkc", "n,chw->nchw", "bn,bw->nbw", "hw,hw->",
     "ab,cd->dbca", "abc,abc->cab", "bnij,jq->bniq"],
)  # fmt: skip
def test_numpys_product_of_two_operands_equals_einsum(equation):
    rng = np.random.default_rng(0)
    sizes = dict(zip("abcdhijknqw", range(2, 13), strict=True))
    left, right = (rng.normal(size=[sizes[q] for q in labels]) for labels in equation.split("->")[0].split(","))
    product = BACKEND.einsum(equation, left, right)
    np.testing.assert_allclose(product, np.einsum(equation, left, right), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_plan_whatever_the_number_of_nodes_and_images(name):
    for inputs, output, sizes in directions(FAMILIES[name](), np.ones((3, 12, 9))):
        plans = {contraction(inputs, output, sizes | {"b": b, "n": n}) for b in (1, 7) for n in (1, 8, 1000)}
        assert len(plans) == 1


SEPARABLE = {1: ("cw", "cq", "qw"), 2: ("chw", "cpq", "ph", "qw"), 3: ("cdhw", "crpq", "rd", "ph", "qw")}


@pytest.mark.parametrize(
    "shape", [(3, 224, 224), (1, 32, 8), (3, 300, 2), (2, 5, 1), (1, 16, 24, 16), (3, 500), (1, 1)]
)
def test_a_separable_plan_makes_nothing_larger_than_the_points(shape):
    points, coefficients, *matrices = SEPARABLE[len(shape) - 1]
    sizes = dict(zip(points, shape, strict=True)) | dict(zip(coefficients, shape, strict=True)) | {"b": 1}
    sizes["n"] = PLANNED_NODES
    limit = computed(sizes, "n" + points)
    # One product with the coefficients and one matrix per axis: the cost of a plain separable transform.
    cost = limit * (1 + sum(shape[1:]))
    for first, last in ((coefficients, points), (points, coefficients)):
        plan = contraction(["bn" + first, "b" + coefficients, *matrices], "bn" + last, sizes)
        products = [equation.split("->") for _, _, equation in plan.steps]
        assert max(computed(sizes, output) for _, output in products) <= limit
        assert sum(computed(sizes, set(inputs) - {","}) for inputs, _ in products) <= cost


def test_the_families_own_separable_terms_make_nothing_larger_than_the_points():
    for family in (DCT(), Wavelet("db2", components="coefficients", levels=2)):
        for inputs, output, sizes in directions(family, np.ones((2, 12, 9))):
            sizes = sizes | {"n": PLANNED_NODES, "b": 1}
            plan = contraction(inputs, output, sizes)
            points = PLANNED_NODES * 2 * 12 * 9
            assert max(computed(sizes, equation.split("->")[1]) for _, _, equation in plan.steps) <= points


def test_operands_of_length_one_are_contracted_in_pairs_too():
    for inputs, output, sizes in directions(SVD(), np.ones((1, 1, 1))):
        sizes = sizes | {"b": 1, "n": 1}
        plan = contraction(inputs, output, sizes)
        operands = [np.full([sizes[label] for label in labels], 3.0) for labels in inputs]
        assert plan(np.einsum, operands).ravel().tolist() == [27.0]


def test_a_separable_transform_leaves_every_axis_in_its_place():
    """Products in another order of axes would be copied before the next."""
    sizes = dict(zip("bnchwpq", (1, 1, 3, 12, 9, 12, 9), strict=True))
    for inputs, output in ((("bncpq", "ph", "qw"), "bnchw"), (("bnchw", "ph", "qw"), "bncpq")):
        for _, _, equation in contraction(inputs, output, sizes).steps:
            a, b, product = equation.replace(",", " ").replace("->", " ").split()
            stack = max(a, b, key=len)
            assert sum(one != other for one, other in zip(stack, product, strict=True)) == 1
