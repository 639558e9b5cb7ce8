"""ROAR: what is removed, by loops; the protocol, with trainers that only look at what they are given."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr.errors import InvalidInput
from pathattr.metrics.fills import ZeroFill
from pathattr.metrics.roar import ROAR, Labelled
from pathattr.testing.strategies import SEEDS


def constant(images, labels, seed):
    return lambda test: np.zeros(len(test), int)


def nearest_mean(images, labels, seed):
    """A classifier that learns: the class whose mean training image is nearest."""
    flat = images.reshape(len(images), -1)
    means = np.stack([flat[labels == k].mean(axis=0) for k in np.unique(labels)])
    return lambda test: ((test.reshape(len(test), 1, -1) - means) ** 2).sum(axis=2).argmin(axis=1)


def pictures(seed=0, count=4, shape=(2, 3, 5), maps=("ours",)):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(count, *shape)).astype(np.float32)
    return Labelled(images, np.arange(count) % 2, {name: np.round(rng.normal(size=images.shape), 1) for name in maps})


def naive(images, maps, ratio, fill):
    """Return images without their top pixels, channels first; `fill(image, removed)` gives a value per channel."""
    found = images.copy()
    for image, own, map_ in zip(images, found, maps, strict=True):
        places = [(i, j) for i in range(image.shape[1]) for j in range(image.shape[2])]
        ranked = sorted(places, key=lambda p: -sum(abs(map_[c, p[0], p[1]]) for c in range(len(image))))
        removed = set(ranked[: int(ratio * len(places))])
        values = fill(image, removed)
        for i, j in removed:
            own[:, i, j] = values
    return found


@given(SEEDS, st.sampled_from([0.1, 0.3, 0.5, 0.95]))
def test_removed_pixels_get_the_training_images_channel_means(seed, ratio):
    train, test = pictures(seed), pictures(seed + 1, count=3)
    means = train.images.astype(float).mean(axis=(0, 2, 3))
    for split, own in enumerate((train, test)):
        found = ROAR(constant).without(own, "ours", ratio, of=train, split=split)
        expected = naive(own.images, own.maps["ours"], ratio, lambda image, removed: means)
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # means are rounded to float32
        assert found.dtype == own.images.dtype


@given(SEEDS, st.sampled_from([0.1, 0.3, 0.5, 0.95]))
def test_the_published_variant_fills_with_the_mean_of_what_remains(seed, ratio):
    def remaining(image, removed):
        return np.mean(
            [image[c, i, j] for c, i, j in np.ndindex(image.shape) if (i, j) not in removed], dtype=np.float64
        )

    train = pictures(seed)
    found = ROAR.published(constant).without(train, "ours", ratio, of=train)
    np.testing.assert_allclose(found, naive(train.images, train.maps["ours"], ratio, remaining), rtol=1e-5, atol=1e-7)


@given(SEEDS)
def test_channels_may_be_last_or_absent(seed):
    train = pictures(seed)
    first = ROAR(constant).without(train, "ours", 0.5, of=train)
    last = Labelled(np.moveaxis(train.images, 1, -1), train.labels, {"ours": np.moveaxis(train.maps["ours"], 1, -1)})
    np.testing.assert_array_equal(
        ROAR(constant, channel_axis=-1).without(last, "ours", 0.5, of=last), np.moveaxis(first, 1, -1)
    )
    summed = Labelled(train.images, train.labels, {"ours": np.abs(train.maps["ours"]).sum(axis=1)})
    np.testing.assert_array_equal(ROAR(constant).without(summed, "ours", 0.5, of=summed), first)
    plain = Labelled(train.images[:, 0], train.labels, {"ours": train.maps["ours"][:, 0]})
    single = Labelled(train.images[:, :1], train.labels, {"ours": train.maps["ours"][:, :1]})
    np.testing.assert_array_equal(
        ROAR(constant, channel_axis=None).without(plain, "ours", 0.5, of=plain),
        ROAR(constant).without(single, "ours", 0.5, of=single)[:, 0],
    )


def test_the_random_ranking_is_uniform_nested_and_the_images_own():
    train = Labelled(np.ones((200, 1, 4, 5), np.float32), np.zeros(200, int))
    roar = ROAR(constant, fill="zero")
    few, many = (roar.without(train, "random", ratio, of=train) == 0 for ratio in (0.25, 0.5))
    assert (few.sum(axis=(1, 2, 3)) == 5).all()
    assert (few <= many).all()
    # 200 draws of 1/4: a standard deviation of 0.031 per pixel; the farthest of 20 lies within 4.
    assert np.abs(few.mean(axis=0) - 0.25).max() < 0.12
    assert len(np.unique(few.reshape(200, -1), axis=0)) > 190
    fewer = Labelled(train.images[:3], train.labels[:3])
    np.testing.assert_array_equal(roar.without(fewer, "random", 0.25, of=train) == 0, few[:3])
    assert (roar.without(fewer, "random", 0.25, of=train, split=1) != few[:3]).any()


@pytest.mark.parametrize("test_images", ["modified", "unmodified"])
def test_what_the_trainer_is_given_and_judged_on(test_images):
    train, test, calls = pictures(1), pictures(2, count=3), []

    def recorded(images, labels, seed):
        assert labels.tolist() == train.labels.tolist()
        calls.append([images, seed, None])

        def predict(given_images):
            calls[-1][2] = given_images
            return np.zeros(len(given_images), int)

        return predict

    roar = ROAR(recorded, (0.3, 0.6), 2, test=test_images, seed=7)
    found = roar(train, test)
    expected = [("intact", 0.0)] + [(name, ratio) for name in ("ours", "random") for ratio in (0.3, 0.6)]
    assert len(calls) == 2 * len(expected)
    for place, (images, seed, judged) in enumerate(calls):
        name, ratio = expected[place // 2]
        assert seed == 7 + place % 2
        np.testing.assert_array_equal(images, roar.without(train, name, ratio, of=train))
        whole = test.images if test_images == "unmodified" else roar.without(test, name, ratio, of=train, split=1)
        np.testing.assert_array_equal(judged, whole)
    np.testing.assert_allclose(found.accuracy["ours"], np.full((2, 2), 2 / 3))
    assert found.intact.tolist() == [2 / 3, 2 / 3]


def signal(count, seed):
    """Labelled whose class is told by the first column alone, with a map that knows and one that does not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.normal(size=(count, 1, 4, 8)).astype(np.float32)
    images[:, 0, :, 0] += 4 * labels[:, None] - 2
    knows, blind = np.zeros(images.shape), np.zeros(images.shape)
    knows[..., 0], blind[..., 1:] = 1, 1
    return Labelled(images, labels, {"knows": knows, "blind": blind})


def test_a_ranking_that_knows_leaves_nothing_to_learn_and_random_lies_between():
    found = ROAR(nearest_mean, (0.125, 0.5), 1)(signal(400, 0), signal(400, 1))
    assert found.intact[0] > 0.95
    assert found.accuracy["knows"][0, 0] < 0.6  # the first column is an eighth: chance
    assert found.accuracy["blind"][0].min() > 0.95
    assert found.area("knows")[0] < found.area("random")[0] < found.area("blind")[0]


def test_the_area_is_the_mean_height_of_the_curve():
    found = ROAR(constant, (0.1, 0.2, 0.6), 2, intact=False)(*(signal(10, seed) for seed in (0, 1)))
    found.accuracy["knows"][:] = [[0.8, 0.6, 0.2], [0.5, 0.5, 0.5]]
    np.testing.assert_allclose(found.area("knows"), [(0.07 + 0.16) / 0.5, 0.5])
    one = ROAR(constant, (0.3,), 1, intact=False)(*(signal(10, seed) for seed in (0, 1)))
    assert one.area("blind").tolist() == one.accuracy["blind"][:, 0].tolist()


def test_a_run_that_was_broken_off_goes_on():
    train, test, count = pictures(1), pictures(2), 0

    def failing(images, labels, seed):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return nearest_mean(images, labels, seed)

    known = {}
    with pytest.raises(KeyboardInterrupt):
        ROAR(failing, (0.3, 0.6), 2)(train, test, told=known.__setitem__)
    assert len(known) == 3
    resumed = ROAR(failing, (0.3, 0.6), 2)(train, test, known=known)
    assert count == 4 + 10 - 3
    straight = ROAR(nearest_mean, (0.3, 0.6), 2)(train, test)
    assert resumed.record()["accuracy"] == straight.record()["accuracy"]


def test_the_table_and_the_record_hold_it_all():
    found = ROAR(constant, (0.3, 0.6), 2)(*(signal(10, seed) for seed in (0, 1)))
    found.accuracy["knows"][:] = [[0.8, 0.6], [0.5, 0.3]]
    lines = found.table().splitlines()
    assert lines[0] == "| ranking | 30% removed | 60% removed | area |"
    assert lines[2] == "| knows | 0.650 (0.500-0.800) | 0.450 (0.300-0.600) | 0.550 (0.400-0.700) |"
    assert lines[-1] == "Whole images: 0.500 (0.500-0.500)."
    assert json.loads(json.dumps(found.record()))["accuracy"]["knows"] == [[0.8, 0.6], [0.5, 0.3]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ROAR("resnet"), "train is a function"),
        (lambda: ROAR(constant, (0.3, 0.1)), "rising ratios between 0 and 1"),
        (lambda: ROAR(constant, (1.0,)), "between 0 and 1"),
        (lambda: ROAR(constant, runs=0), "runs must be"),
        (lambda: ROAR(constant, test="train"), "test must be one of"),
        (lambda: ROAR(constant, fill="grey"), "unknown fill"),
        (lambda: Labelled(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2)), "images of floats"),
        (lambda: Labelled(np.zeros((2, 1, 2, 2)), np.zeros(3)), "one label each"),
        (lambda: Labelled(np.zeros((2, 1, 2, 2)), np.zeros(2), {"random": 0}), "give the maps another name"),
    ],
)
def test_settings_and_pictures_are_checked(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_maps_and_predictions_are_checked():
    train, test = pictures(1), pictures(2)
    bad = Labelled(train.images, train.labels, {"ours": np.zeros((4, 7))})
    with pytest.raises(InvalidInput, match=r"have shape \(4, 7\); expected the images'"):
        ROAR(constant)(bad, test)
    with pytest.raises(InvalidInput, match="expected maps of ours for both, got none"):
        ROAR(constant)(train, Labelled(test.images, test.labels))
    with pytest.raises(InvalidInput, match=r"expected shape \(4,\), got \(4, 10\)"):
        ROAR(lambda images, labels, seed: lambda test: np.zeros((len(test), 10)))(train, test)
    assert ROAR(constant, (0.5,), 1, fill=ZeroFill(), test="unmodified")(
        train, Labelled(test.images, test.labels)
    ).intact


def test_the_example_runs_and_goes_on(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    path = Path(__file__).parents[2] / "examples" / "roar_scenes.py"
    spec = importlib.util.spec_from_file_location("roar_scenes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flags = ["--methods", "linear,random", "--ratios", "0.5", "--count", "50", "--test", "10"]
    flags += ["--steps", "1", "--epochs", "1", "--out"]
    out = tmp_path / "roar"
    module.main([*flags, str(out)])
    first = json.loads(out.with_suffix(".json").read_text())
    assert set(first["result"]["accuracy"]) == {"linear", "random"}
    assert "| linear |" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".png").stat().st_size
    capsys.readouterr()
    module.main([*flags, str(out)])
    assert "removed, run" not in capsys.readouterr().out  # nothing was trained again
    assert json.loads(out.with_suffix(".json").read_text()) == first
    module.main([*flags, str(tmp_path / "places"), "--protocol", "places"])
    assert json.loads((tmp_path / "places.json").read_text())["result"]["intact"] == []  # there is nothing but places


def test_every_map_is_looked_at_before_the_first_training():
    train, test = pictures(1, maps=("ours", "theirs")), pictures(2, maps=("ours", "theirs"))
    test.maps["theirs"][0, 0, 0, 0] = np.nan

    def never(images, labels, seed):
        raise AssertionError("trained with a map that is no map")

    with pytest.raises(InvalidInput, match="the maps 'theirs' must be finite"):
        ROAR(never)(train, test)


def test_pictures_are_checked():
    images, labels = pictures().images, np.zeros(4, int)
    for bad, message in (
        ((np.where(images > 1, np.nan, images), labels), "the images must be finite"),
        (([np.zeros((2, 3)), np.zeros((3, 2))], labels[:2]), "images of one shape"),
        ((images[:0], labels[:0]), "images of floats"),
        ((images, labels, images), "maps are given by name"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Labelled(*bad)
    with pytest.raises(InvalidInput, match="takes rising ratios"):
        ROAR(constant, 0.5)
    assert ROAR(constant, np.array([0.25, 0.5])) == ROAR(constant, (0.25, 0.5))


def test_a_figure_has_a_line_for_each_ranking():
    pytest.importorskip("matplotlib")
    axes = ROAR(constant, (0.3, 0.6), runs=2)(pictures(1), pictures(2)).plot().axes[0]
    assert [line.get_label() for line in axes.lines] == ["ours", "random", "whole images"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.3, 0.6])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.5, 0.5])  # half of the labels are what is guessed
