"""Blur IG as gates on cosine coefficients: the gate, the baseline, the path and the preset."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pathattr import InvalidInput, PathExplainer, scenes, verify
from pathattr.families import DCT, SVD, Linear
from pathattr.paths.baselines import Context, Diffused
from pathattr.paths.diffusion import eigenvalues
from pathattr.paths.orderings import Diffusion, Facts, Shuffled
from pathattr.paths.schedules import HeatRamp
from pathattr.testing import TanhNetwork, frameworks

SIGMA = 35.0
# Sampling a Gaussian of σ >= 2 folds exp(−π²σ²/2) = 3e-9 of the finest waves over; its tail beyond 8σ is nothing.
SAMPLED = 1e-8


def pictures(size=48):
    made = scenes.generate(2, seed=3).images
    return np.moveaxis(made[:, :size, : size + 5].astype(float), -1, 1)  # sides of different lengths


def blurred(x, sigma):
    """The pictures blurred over their spatial axes by SciPy's kernel in space, borders mirrored."""
    return ndimage.gaussian_filter(x, sigma, mode="reflect", truncate=8, axes=tuple(range(2, x.ndim)))


# The gate


def exact(alpha, c):
    """(exp(−(1−α)²c) − exp(−c)) / (1 − exp(−c)) in extended precision, as a product in which nothing cancels."""
    alpha, c = np.longdouble(alpha), np.longdouble(c)
    left = (1 - alpha) ** 2
    with np.errstate(under="ignore"):
        return np.exp(-left * c) * np.expm1(-alpha * (2 - alpha) * c) / np.expm1(-c)


@given(st.floats(1e-3, 0.999), st.floats(1e-12, 1e8))
def test_the_gate_is_that_of_deblurring(alpha, c):
    strength = 1 / (1 + c)
    c = (1 - np.longdouble(strength)) / np.longdouble(strength)  # as far as the strength can tell
    found = HeatRamp().gates(np, np.asarray(alpha), np.asarray(strength))
    # Some ten operations on numbers of at most 1; an exponent of order c loses c·1e-16 where the gate is exp(−z)·z ≤ 1.
    assert abs(found - exact(alpha, c)) < 3e-15


@pytest.mark.parametrize("c", [0.0, 1e-300, 1e-17, 1e-8])
def test_what_blurring_hardly_touches_opens_like_a_parabola(c):
    alpha = np.linspace(0, 1, 101)
    # The gate differs from its limit by less than c.
    np.testing.assert_allclose(
        HeatRamp().gates(np, alpha, np.full(101, 1 / (1 + c))), 1 - (1 - alpha) ** 2, rtol=0, atol=1e-15 + c
    )


def test_there_is_no_seam_where_the_series_ends():
    z = 0.2 * (1 + np.linspace(-1e-9, 1e-9, 2001))
    gates = HeatRamp().gates(np, np.full(2001, 0.5), 1 / (1 + 4 * z))  # (1 − α)²c = z
    assert np.abs(np.diff(gates, 2)).max() < 1e-15  # a straight line at this distance


def test_strength_0_is_late_and_finite():
    gates = HeatRamp().gates(np, np.array([0.0, 0.5, 0.999, 0.99999, 1.0]), np.zeros(5))
    assert gates[:3].tolist() == [0, 0, 0]  # exp(−1e-6·1e9) is 0 to rounding
    assert 0 < gates[3] < 1
    assert gates[4] == 1


@pytest.mark.parametrize("overlap", [0.0, 0.4, 0.999])
def test_there_are_no_windows(overlap):
    with pytest.raises(InvalidInput, match="HeatRamp has no windows that could overlap: leave overlap at 1"):
        HeatRamp(overlap)


# Strengths


def test_strengths_tell_how_much_of_a_component_blurring_leaves():
    facts = DCT().decompose(np.ones((2, 6, 9))).facts
    strengths = Diffusion(sigma=3.0).strengths(facts, np.random.default_rng(0)).reshape(2, 6, 9)
    for p, q in np.ndindex(6, 9):
        c = 9 / 2 * ((np.pi * p / 6) ** 2 + (np.pi * q / 9) ** 2)
        np.testing.assert_allclose(strengths[:, p, q], 1 / (1 + c), rtol=1e-14)
        assert HeatRamp().gates(np, np.asarray(0.0), strengths[0, p, q]) == 0


@pytest.mark.parametrize("family", [SVD(), Linear()])
def test_families_without_a_decay_refuse_diffusion_and_say_what_they_take(family):
    with pytest.raises(InvalidInput, match=r"have a decay: DCT\(\) components do.*takes Energy\(\)"):
        Diffusion().strengths(family.decompose(np.ones((2, 4, 4))).facts, np.random.default_rng(0))


def test_joined_facts_keep_their_decay():
    table = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(Facts(table, decay=table).joined().decay, table.reshape(1, 6))


@pytest.mark.parametrize("sigma", [0, -1.0, np.nan, np.inf, "35"])
@pytest.mark.parametrize("make", [Diffusion, Diffused])
def test_a_sigma_that_is_none_is_refused_at_once(make, sigma):
    with pytest.raises(InvalidInput, match="needs sigma > 0, in pixels"):
        make(sigma=sigma)


# The baseline


@pytest.mark.parametrize("sigma", [2.0, 5.0, SIGMA, 200.0])
def test_the_baseline_is_scipys_blur(sigma):
    x = pictures()
    found = np.stack([Diffused(sigma)(example, Context(None, np.random.default_rng(0))) for example in x])
    np.testing.assert_allclose(found, blurred(x, sigma), rtol=0, atol=SAMPLED)


@pytest.mark.parametrize("shape", [(2, 30), (1, 6, 9, 7), (3, 1, 12)])
def test_series_and_volumes_are_blurred_along_all_their_axes(shape):
    x = np.random.default_rng(0).normal(size=(1, *shape))
    found = Diffused(2.0)(x[0], Context(None, np.random.default_rng(0)))
    np.testing.assert_allclose(found, blurred(x, 2.0)[0], rtol=0, atol=SAMPLED)


def test_the_blurred_baseline_of_256_pixels_is_not_flat():
    assert np.exp(-(SIGMA**2) * eigenvalues((256,))[1] / 2) == pytest.approx(0.91, abs=0.005)


def test_eigenvalues_of_one_pixel_are_0():
    assert eigenvalues((1, 1)).tolist() == [[0]]


# The path


def test_every_point_is_the_picture_blurred_by_what_is_left_of_sigma():
    x = pictures()
    explainer = PathExplainer(TanhNetwork.random(x.shape[1:]).model(), preset="blur-ig")
    alpha = [0.0, 0.3, 0.8, 0.94, 1.0]
    points = explainer.path(x, alpha)
    for i, a in enumerate(alpha):
        expected = blurred(x, SIGMA * (1 - a)) if a < 1 else x
        np.testing.assert_allclose(points[:, i], expected, rtol=0, atol=SAMPLED)
    np.testing.assert_array_equal(points[:, -1], x)


def test_attributions_are_those_of_deblurring_in_space():
    x, steps = pictures(20), 40
    network = TanhNetwork.random(x.shape[1:], classes=2)
    found = PathExplainer(network.model(), preset="blur-ig", steps=steps, output="logit")(x, 1)
    sigmas = SIGMA * (1 - np.arange(steps) / steps)
    edges = [*(blurred(x, sigma) for sigma in sigmas), x]
    expected, cotangent = np.zeros_like(x), np.tile([0.0, 1.0], (len(x), 1))
    for low, high in pairwise(edges):
        expected += network.vjp((low + high) / 2, cotangent) * (high - low)
    # A sampled Gaussian of less than a pixel folds fine waves over: it is SciPy's last edge that is off.
    np.testing.assert_allclose(found.attributions, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert found.evaluations.tolist() == [steps] * len(x)


def test_the_error_falls_with_the_square_of_the_steps_and_so_does_the_gap():
    x = pictures(20)
    model = TanhNetwork.random(x.shape[1:]).model()
    truth, *found = (PathExplainer(model, preset="blur-ig", steps=steps)(x, 1) for steps in (5120, 80, 320))
    errors = [np.abs(each.attributions - truth.attributions).max() for each in found]
    gaps = [np.abs(each.gap).max() for each in found]
    assert errors[1] < errors[0] / 10  # a sixteenth as steps become small
    assert gaps[1] < gaps[0] / 10


def test_a_tolerance_instead_of_steps():
    x = pictures(20)
    network = TanhNetwork.random(x.shape[1:])
    found = PathExplainer(network.model(), preset="blur-ig", steps="auto", tolerance=0.01)(x, 1)
    truth = PathExplainer(network.model(), preset="blur-ig", steps=2000)(x, 1)
    off = np.linalg.norm((found.attributions - truth.attributions).reshape(2, -1), axis=1)
    assert (off < 0.01 * np.linalg.norm(truth.attributions.reshape(2, -1), axis=1)).all()
    assert (found.error < 0.01).all()


def test_the_axioms_hold():
    x = pictures(8)
    report = verify(PathExplainer(TanhNetwork.random(x.shape[1:]).model(), preset="blur-ig"), x, 1)
    assert report.passed, str(report)
    verdicts = {row.axiom: row.verdict for row in report.rows}
    assert verdicts["recovery of IG"] == "does not apply"  # there is no ω
    assert {verdicts[name] for name in ("completeness", "flips", "transposition", "distance")} == {"holds"}


@pytest.mark.parametrize("name", frameworks.names(None))
def test_every_framework_finds_the_same(name):
    frameworks.assert_equals_the_closed_form(name, (3, 8, 9), preset="blur-ig")


# The preset


def test_the_preset_is_its_parts():
    x = pictures(16)
    model = TanhNetwork.random(x.shape[1:]).model()
    parts = {"family": "dct", "ordering": "diffusion", "schedule": HeatRamp(), "baseline": "diffused"}
    preset, made = PathExplainer(model, preset="blur-ig"), PathExplainer(model, **parts)
    assert repr(preset) == repr(made)
    assert "steps=200, nodes=Uniform(), rule='midpoint', baseline=Diffused(sigma=35.0)" in repr(preset)
    np.testing.assert_array_equal(preset(x, 0).attributions, made(x, 0).attributions)


def test_what_is_passed_besides_the_preset_holds():
    model = TanhNetwork.random((1, 4, 4)).model()
    other = PathExplainer(
        model, preset="blur-ig", ordering=Diffusion(sigma=50), baseline=Diffused(50), steps=7, rule="left"
    )
    assert other.ordering == Diffusion(sigma=50)
    assert (other.baseline, other.steps, other.rule) == (Diffused(50), 7, "left")
    assert other.but(steps=8).schedule == HeatRamp()


def test_shuffled_components_of_diffusion_are_a_control():
    x = pictures(16)
    model = TanhNetwork.random(x.shape[1:]).model()
    found = PathExplainer(model, preset="blur-ig", ordering=Shuffled(of=Diffusion()))(x, 1)
    assert np.abs(found.gap).max() < 1e-3
    assert np.abs(found.attributions - PathExplainer(model, preset="blur-ig")(x, 1).attributions).max() > 1e-4
