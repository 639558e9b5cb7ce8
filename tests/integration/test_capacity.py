"""Blocks that fit the memory: automatic sizes, errors of memory, and a peak that does not grow with the steps."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pathattr import InvalidInput, ModelError, NumpyModel, PathExplainer
from pathattr.models.backend import Memory
from pathattr.models.memory import ON_DEVICE, ON_HOST, fitting
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.testing import TanhNetwork

SHAPE = (2, 6, 5)


def small_device(room, seen=None):
    """A network on a device that holds so many points at once."""
    network = TanhNetwork.random(SHAPE)

    def value(points):
        if seen is not None:
            seen.append(len(points))
        if len(points) > room:
            raise MemoryError("no room")
        return network.value(points)

    return NumpyModel(value, network.vjp)


def inputs():
    return np.random.default_rng(0).normal(size=(3, *SHAPE))


@pytest.mark.parametrize("room", [1, 2, 7])
@pytest.mark.parametrize("family", ["svd", "dct"])
def test_an_error_of_memory_halves_the_block_and_changes_nothing(room, family):
    seen = []
    expected = PathExplainer(small_device(100), family=family, steps=11, batch_size=20)(inputs(), 1)
    found = PathExplainer(small_device(room, seen), family=family, steps=11, batch_size=20)(inputs(), 1)
    np.testing.assert_allclose(found.attributions, expected.attributions, rtol=0, atol=1e-13)  # products of other sizes
    np.testing.assert_allclose(found.components[0], expected.components[0], rtol=0, atol=1e-13)
    assert found.evaluations.tolist() == expected.evaluations.tolist()
    # Once it is known what fits, nothing larger is tried: 20, 10, ... and never again.
    assert sum(count > room for count in seen) <= 5


class Cramped(NumpyBackend):
    """A device on which points of more than a few nodes cannot be made."""

    room = 0

    def einsum(self, equation, left, right):
        made = super().einsum(equation, left, right)
        if made.size > self.room * 60:
            raise MemoryError("no room")
        return made


@pytest.mark.parametrize("room", [5, 8, 50])  # five hold the products of the factors alone
@pytest.mark.parametrize("options", [{"steps": 11}, {"steps": 40, "nodes": "refined"}, {"steps": 11, "rule": "right"}])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_points_that_there_is_no_room_to_make_are_made_a_few_at_a_time(room, options, batch_size):
    settings = {"family": "svd", "batch_size": batch_size, "components": False, **options}
    expected = PathExplainer(small_device(1000), **settings)(inputs(), 1)
    cramped = type("Cramped", (Cramped,), {"room": room})
    found = PathExplainer(small_device(1000), backend=cramped, **settings)(inputs(), 1)
    np.testing.assert_allclose(found.attributions, expected.attributions, rtol=0, atol=1e-13)  # products of other sizes
    assert found.evaluations.tolist() == expected.evaluations.tolist()


@pytest.mark.parametrize("options", [{"steps": 11}, {"steps": 40, "nodes": "refined"}])
def test_a_point_that_there_is_no_room_to_make_is_a_sentence(options):
    with pytest.raises(ModelError, match="the path runs out of memory on a single point"):
        PathExplainer(small_device(1000), family="svd", backend=Cramped, components=False, **options)(inputs(), 1)


def test_a_point_that_does_not_fit_alone_is_a_sentence():
    with pytest.raises(ModelError, match=r"out of memory on a single point of shape \(2, 6, 5\)"):
        PathExplainer(small_device(0), steps=3)(inputs(), 1)


def test_other_errors_of_the_model_come_through():
    def value(points):
        raise KeyError("layer")

    with pytest.raises(KeyError, match="layer"):
        PathExplainer(NumpyModel(value, value), steps=3)(inputs(), 1)


class Device:
    """What `fitting` asks of a backend: a device on which points need some memory each."""

    def __init__(self, free, each, on_host=False):
        self.free, self.each, self.on_host, self.peak = free, each, on_host, 0

    def call(self, count):
        self.peak = max(self.peak, 50 + count * self.each)

    def memory(self):
        return Memory(self.free, self.peak)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (Device(free=1000, each=10), 32),  # half of 1000 / 10 is 50: the power of two below
        (Device(free=1000, each=1), ON_DEVICE),
        (Device(free=10**6, each=1, on_host=True), ON_HOST),
        (Device(free=5, each=10), 1),  # an error of memory will tell
        (Device(free=1000, each=0), ON_DEVICE),  # the peak was higher before: nothing is known
    ],
)
def test_what_fits_is_told_by_the_growth_of_the_peak(device, expected):
    assert fitting(device, device.call) == expected


def test_automatic_blocks_give_the_same_attributions():
    expected = PathExplainer(small_device(100), steps=11, batch_size=ON_HOST)(inputs(), 1)
    explainer = PathExplainer(small_device(100), steps=11, batch_size="auto")
    for _ in range(2):  # measured, then remembered
        np.testing.assert_allclose(explainer(inputs(), 1).attributions, expected.attributions, rtol=0, atol=1e-13)
    with pytest.raises(InvalidInput, match="batch_size"):
        PathExplainer(small_device(1), batch_size="many")


PEAK = """
import resource, sys
import torch
import pathattr as pa
torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, padding=1, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    torch.nn.Linear(8, 5)).eval()
pa.PathExplainer(model, family=sys.argv[1], steps=int(sys.argv[2]), batch_size=20)(torch.randn(2, 3, 48, 48), 0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
# By default glibc raises the size from which an array has pages of its own, and what is smaller leaves holes between
# arrays that stay: its heap then creeps up by some percent though nothing more is alive. A fixed size turns that off.
OWN_PAGES = {"MALLOC_MMAP_THRESHOLD_": "65536"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module: the peak cannot be read there")
@pytest.mark.parametrize("family", ["svd", "dct"])
def test_the_peak_of_memory_does_not_grow_with_the_steps(family):
    def peak(steps):
        run = subprocess.run(
            [sys.executable, "-c", PEAK, family, str(steps)],
            capture_output=True, text=True, check=True, timeout=300, env=os.environ | OWN_PAGES,
        )  # fmt: skip
        return int(run.stdout)

    # Blocks are of 20 points whatever the steps: other sizes would compare other activations. In a process of 280 MB,
    # holding the gradients of 2000 steps would take 55 MB more.
    assert peak(2000) < 1.05 * peak(20)
