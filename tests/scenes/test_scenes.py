"""The embedded task: reproducible pictures, exact masks, and a classifier that any framework can build."""

import sys
from importlib import resources

import numpy as np
import pytest

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.scenes import (
    CLASSES,
    LAYERS,
    PREPROCESSING,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    ReLU,
    forward,
    generate,
    load_weights,
    weight_shapes,
)
from pathattr.scenes.generator import SIZE, _paint, _quantise

FRESH = 20_260  # a seed used neither in training nor to choose the network


def inputs(images):
    return np.stack([PREPROCESSING.normalise(image.transpose(2, 0, 1)) for image in images])


def test_scenes_have_the_documented_types_shapes_and_ranges():
    scenes = generate(20, start=7)
    assert scenes.images.shape == (20, SIZE, SIZE, 3)
    assert scenes.masks.shape == (20, SIZE, SIZE)
    assert (scenes.images.dtype, scenes.labels.dtype, scenes.masks.dtype) == (np.float32, np.int64, np.bool_)
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 1
    assert scenes.labels.tolist() == [i % 10 for i in range(7, 27)]
    assert len(set(CLASSES)) == 10


def test_eight_bits_keep_a_picture_exactly():
    images = generate(3).images
    stored = np.rint(images * 255).astype(np.uint8)
    np.testing.assert_array_equal(stored.astype(np.float32) / np.float32(255), images)


def test_a_picture_depends_on_seed_and_index_alone():
    whole, part = generate(9, seed=3), generate(4, seed=3, start=5)
    np.testing.assert_array_equal(whole.images[5:], part.images)
    np.testing.assert_array_equal(whole.labels[5:], part.labels)
    np.testing.assert_array_equal(whole.masks[5:], part.masks)


def test_seeds_and_indices_give_different_pictures():
    pictures = [*generate(3, seed=0).images, *generate(3, seed=1).images, *generate(3, seed=2**32).images]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  (the legacy state is what must not change)
    generate(2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("label", range(10))
def test_outside_the_mask_a_picture_is_the_one_without_the_object(label):
    for index in range(4):
        layers = _paint(FRESH, index, label)
        with_object, without = _quantise(layers.picture()), _quantise(layers.backdrop)
        mask = layers.coverage > 0
        np.testing.assert_array_equal(with_object[~mask], without[~mask])
        # Where the object covers a pixel whole, only its paint shows.
        np.testing.assert_array_equal(with_object[layers.coverage == 1], _quantise(layers.paint)[layers.coverage == 1])


def test_nothing_outside_the_object_depends_on_the_class():
    for index in range(4):
        layers = [_paint(FRESH, index, label) for label in range(10)]
        for other in layers[1:]:
            np.testing.assert_array_equal(layers[0].backdrop, other.backdrop)
        for texture in range(2):  # the five shapes of a texture are cut from the same paint ...
            for shape in range(1, 5):
                np.testing.assert_array_equal(layers[5 * texture].paint, layers[5 * texture + shape].paint)
        for shape in range(5):  # ... and both textures fill the same outline with the same two colours
            np.testing.assert_array_equal(layers[shape].coverage, layers[5 + shape].coverage)
        for extreme in (np.min, np.max):
            striped, checked = extreme(layers[0].paint, axis=(1, 2)), extreme(layers[5].paint, axis=(1, 2))
            np.testing.assert_array_equal(striped, checked)


def test_generate_returns_the_mask_of_the_layers():
    scenes = generate(10, seed=FRESH)
    for index in range(10):
        layers = _paint(FRESH, index, index)
        np.testing.assert_array_equal(scenes.masks[index], layers.coverage > 0)
        np.testing.assert_array_equal(scenes.images[index], _quantise(layers.picture()))


def test_objects_lie_whole_inside_the_picture_and_are_neither_tiny_nor_dominant():
    masks = generate(200, seed=FRESH).masks
    assert not masks[:, [0, -1], :].any()
    assert not masks[:, :, [0, -1]].any()
    # Radii are 13 to 24 pixels and areas 1.3 r² (triangle) to 2.3 r² (disc): 0.024 to 0.142 of the picture,
    # plus up to half a pixel of edge all around.
    share = masks.mean(axis=(1, 2))
    assert share.min() > 0.02
    assert share.max() < 0.16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 2.5}, "count must be an integer, got 2.5"),
        ({"count": 1, "seed": -1}, "seed must be at least 0, got -1"),
        ({"count": 1, "seed": None}, "seed must be an integer, got None"),
        ({"count": 1, "start": -3}, "start must be at least 0, got -3"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        generate(**arguments)


def test_weights_match_the_layers_and_stay_below_a_megabyte():
    weights = load_weights()
    assert {name: array.shape for name, array in weights.items()} == weight_shapes()
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values())
    assert len(resources.files("pathattr.scenes").joinpath("weights.safetensors").read_bytes()) < 1_000_000


def test_missing_safetensors_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtra, match=r"pathattr\[torch\]"):
        load_weights()


def test_forward_names_a_wrong_shape():
    with pytest.raises(InvalidInput, match=r"\(2, 96, 96, 3\)"):
        forward({}, np.zeros((2, 96, 96, 3)))


def test_the_classifier_is_right_on_fresh_pictures():
    weights, scenes = load_weights(), generate(200, seed=FRESH)
    guesses = np.concatenate(
        [forward(weights, inputs(batch)).argmax(axis=1) for batch in np.array_split(scenes.images, 20)]
    )
    # The promise of the task. At the 99.6% measured on 5000 others, more than 10 wrong in 200 has a
    # chance below one in a million.
    assert (guesses == scenes.labels).mean() >= 0.95


def test_forward_equals_a_torch_build():
    torch = pytest.importorskip("torch")
    modules, channels = [], 3
    for layer in LAYERS:
        match layer:
            case Conv(name, filters, kernel, stride, padding):
                modules.append((name, torch.nn.Conv2d(channels, filters, kernel, stride, padding)))
                channels = filters
            case Dense(name, units):
                modules.append((name, torch.nn.Linear(channels, units)))
            case ReLU():
                modules.append((f"relu{len(modules)}", torch.nn.ReLU()))
            case MaxPool(size):
                modules.append((f"pool{len(modules)}", torch.nn.MaxPool2d(size)))
            case GlobalAveragePool():
                modules.append(("average", torch.nn.AdaptiveAvgPool2d(1)))
                modules.append(("flat", torch.nn.Flatten()))
    model = torch.nn.Sequential()
    for name, module in modules:
        model.add_module(name, module)
    weights = load_weights()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    model.double()

    x = inputs(generate(10, seed=FRESH).images)
    expected = forward(weights, x)
    with torch.no_grad():
        logits = model(torch.from_numpy(x)).numpy()
    # Both add in float64, in different orders: sums of up to 576 terms through six layers stay within about
    # 1e3 roundings of 1e-16 of logits of order 10.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-11)
