"""Whatever metrics, pictures and results refuse says what to do, and doing it works."""

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from advising import Refusal, check, completeness, tabled
from pathattr import metrics
from pathattr.common.files import path_of, write_atomically, write_json
from pathattr.metrics import (
    explaining,
    imputation,
    infidelity,
    localisation,
    plots,
    removal,
    roar,
    scores,
    sensitivity,
    statistics,
)  # fmt: skip
from pathattr.pictures.image_model import prepare
from pathattr.pictures.reading import read_picture
from pathattr.results import figures as rendering
from pathattr.scenes import generate, generator
from pathattr.testing.models import TanhNetwork

SHAPE = (2, 4, 4)
MODEL = TanhNetwork.random(SHAPE, classes=3).model()
X = np.random.default_rng(0).normal(size=(2, *SHAPE))
MAPS = np.random.default_rng(1).normal(size=X.shape)
MASKS = np.random.default_rng(2).random((2, 4, 4)) > 0.5
PICTURE = np.random.default_rng(3).random((4, 4, 3))
EXPLAINER = pa.PathExplainer(MODEL, family="linear", steps=4)
CALLBACK = pa.GradientCallback(lambda x, t: x)
SERIES = pa.PathExplainer(TanhNetwork.random((5,), classes=3).model(), family="linear", channel_axis=None, steps=4)(
    np.ones((2, 5)), 1
)
IMAGES = np.random.default_rng(4).random((4, *SHAPE))
LABELS = np.array([0, 1, 0, 1])


def subject(model=MODEL, x=X, target=1, **options):
    return metrics.Subject(model, x, target, **options)


def judged(metric, maps=MAPS, **options):
    return metric(subject(**options), maps)


def one_class(images, labels, seed):
    return lambda pictures: np.zeros(len(pictures), int)


def no_class(images, labels, seed):
    return lambda pictures: pictures


def roar_of(train=one_class, images=IMAGES, labels=LABELS, maps=None, test_maps=None):
    maps = {"a": np.abs(IMAGES)} if maps is None else maps
    protocol = metrics.ROAR(train, ratios=(0.5,), runs=1)
    test = metrics.Labelled(IMAGES, LABELS, maps if test_maps is None else test_maps)
    return protocol(metrics.Labelled(images, labels, maps), test)


def random_models(rng):
    yield TanhNetwork.random(SHAPE, classes=3, seed=1).model()


def compared(other):
    return judged(metrics.Sparseness()).compare(other)


SUBJECTS = {
    "callback": Refusal(lambda: subject(CALLBACK), r"pass the model itself, or NumpyModel\(value, vjp\)", subject),
    "contrast": Refusal(lambda: subject(target=pa.Contrast(0, 1)), "pass its first as target",
                        lambda: subject(target=0)),
    "object": Refusal(
        lambda: judged(metrics.MassInside()), r"Subject\(\.\.\., masks=\.\.\.\) or boxes=\.\.\.",
        lambda: [judged(metrics.MassInside(), masks=MASKS), judged(metrics.MassInside(), boxes=[[0, 0, 2, 2]] * 2)],
    ),
    "both": Refusal(lambda: subject(masks=MASKS, boxes=[[0, 0, 2, 2]] * 2), "not by both: leave one out",
                    lambda: [subject(masks=MASKS), subject(boxes=[[0, 0, 2, 2]] * 2)]),
    "mask shape": Refusal(lambda: subject(masks=MASKS[0]), r"shape \(4, 4\); expected one per example, \(2, 4, 4\)",
                          lambda: subject(masks=MASKS)),
    "soft masks": Refusal(lambda: subject(masks=MASKS * 0.7), "threshold soft masks first",
                          lambda: subject(masks=MASKS * 0.7 > 0.5)),
    "boxes": Refusal(lambda: subject(boxes=[[0, 0, 2]] * 2), r"boxes are \(batch, 4\).*got \(2, 3\)",
                     lambda: subject(boxes=[[0, 0, 2, 2]] * 2)),
    "box": Refusal(lambda: subject(boxes=[[0, 0, 5, 2]] * 2), r"4 × 4 pixels: expected top, left, bottom, right",
                   lambda: subject(boxes=[[0, 0, 4, 2]] * 2)),
    "maps": Refusal(lambda: judged(metrics.Sparseness(), MAPS[:, :, 0]),
                    r"expected the inputs' shape, or one map each, \(2, 4",
                    lambda: [judged(metrics.Sparseness(), m) for m in (MAPS, MAPS.sum(axis=1))]),
    "no file": Refusal(lambda: judged(metrics.Sparseness(), "nowhere.npy"),
                       "cannot read nowhere.npy: .*; check the path",
                       lambda: judged(metrics.Sparseness(), MAPS)),
    "explainer": Refusal(lambda: metrics.MaxSensitivity(MODEL), r"such as PathExplainer\(model\); got NumpyModel",
                         lambda: judged(metrics.MaxSensitivity(EXPLAINER, samples=1), EXPLAINER(X, 1))),
    "radius": Refusal(lambda: metrics.MaxSensitivity(EXPLAINER, radius=0), "above 0, in the units.*got 0",
                      lambda: metrics.MaxSensitivity(EXPLAINER, radius=0.1)),
    "ratios": Refusal(lambda: metrics.DiffID(ratios=(0.5, 0.1)), r"rising ratios.*such as \(.*got \(0\.5, 0\.1\)",
                      lambda: judged(metrics.DiffID(ratios=(0.1, 0.5)))),
    "noise": Refusal(lambda: metrics.NoisyLinear(noise=-1), "noise of 0 or more.*got -1",
                     lambda: judged(metrics.ROAD(imputer=metrics.NoisyLinear(noise=0)))),
    "axes": Refusal(
        lambda: metrics.NoisyLinear().prepare(np.ones((1, 5)), None, np.random.default_rng(0)),
        "two spatial axes, and the inputs have 1: use imputer='fixed'",
        lambda: judged(metrics.ROAD(imputer="fixed")),
    ),
    "squares": Refusal(lambda: metrics.Squares(2), r"above 0 and up to 1 \(the whole\); got 2",
                       lambda: judged(metrics.Infidelity(metrics.Squares(1), samples=2))),
    "std": Refusal(lambda: metrics.Noise(0), "above 0; got 0",
                   lambda: judged(metrics.Infidelity(metrics.Noise(0.1), samples=2))),
    "baseline": Refusal(lambda: metrics.Infidelity(baseline=X), "one baseline for every example; got array",
                        lambda: judged(metrics.Infidelity(baseline="mean", samples=2))),
    "tolerance": Refusal(lambda: metrics.PointingGame(0), "above 0 .*got 0",
                         lambda: judged(metrics.PointingGame(1), masks=MASKS)),
    "areas": Refusal(lambda: metrics.IoU(areas=0.5), "areas, several numbers above 0 and up to 1; got 0.5",
                     lambda: judged(metrics.IoU(areas=(0.5, 1)), masks=MASKS)),
    "layers": Refusal(lambda: metrics.Randomisation(EXPLAINER, layers="fc"), "a sequence of names.*got 'fc'",
                      lambda: metrics.Randomisation(EXPLAINER, layers=["fc"])),
    "layers and models": Refusal(
        lambda: metrics.Randomisation(EXPLAINER, layers=["fc"], models=random_models), "pass it or layers, not both",
        lambda: judged(metrics.Randomisation(EXPLAINER, models=random_models), EXPLAINER(X, 1)),
    ),
    "no models": Refusal(
        lambda: judged(metrics.Randomisation(EXPLAINER, models=lambda rng: ()), EXPLAINER(X, 1)),
        "expected one randomised model",
        lambda: judged(metrics.Randomisation(EXPLAINER, models=random_models), EXPLAINER(X, 1)),
    ),
    "cannot shuffle": Refusal(
        lambda: judged(metrics.Randomisation(EXPLAINER), EXPLAINER(X, 1)),
        "numpy backend cannot shuffle.*Pass models=, a function",
        lambda: judged(metrics.Randomisation(EXPLAINER, models=random_models), EXPLAINER(X, 1)),
    ),
    "column": Refusal(lambda: judged(metrics.Sparseness())["gini"], "has no 'gini'; it has sparseness",
                      lambda: judged(metrics.Sparseness())["sparseness"]),
    "compare what": Refusal(lambda: compared(MAPS), "two Scores; got ndarray: judge it first",
                            lambda: compared(judged(metrics.Sparseness()))),
    "compare whom": Refusal(
        lambda: compared(judged(metrics.Sparseness(), MAPS[:1], x=X[:1])),
        "of 2 examples and .* of 1; judge the same examples",
        lambda: compared(judged(metrics.Sparseness())),
    ),
    "join": Refusal(
        lambda: scores.Scores.join([judged(metrics.Sparseness()), judged(metrics.DiffID())]),
        "only scores of one metric.*DiffID",
        lambda: scores.Scores.join([judged(metrics.Sparseness())] * 2),
    ),
    "confidence": Refusal(lambda: metrics.bootstrap(np.arange(5.0), confidence=95), "between 0 and 1; got 95",
                          lambda: metrics.bootstrap(np.arange(5.0), confidence=0.95)),
    "band": Refusal(lambda: plots.band(np.eye(3), 95), "between 0 and 1; got 95", lambda: plots.band(np.eye(3), 0.95)),
    "no curves": Refusal(lambda: judged(metrics.Sparseness()).plot(), "with curves; Sparseness.* has none",
                         lambda: judged(metrics.DiffID()).plot()),
}  # fmt: skip

ROAR = {
    "ragged": Refusal(lambda: roar_of(images=[IMAGES[0], IMAGES[1, 0]]),
                      "images of one shape and one label each", roar_of),
    "labels": Refusal(lambda: roar_of(labels=LABELS[:2]), r"float64 of shape \(4, 2, 4, 4\) and labels of shape \(2,\)",
                      lambda: roar_of(labels=LABELS)),
    "unnamed": Refusal(lambda: metrics.Labelled(IMAGES, LABELS, MAPS), r"by name, \{name: maps\}; got ndarray",
                       lambda: metrics.Labelled(IMAGES, LABELS, {"name": IMAGES})),
    "name": Refusal(lambda: roar_of(maps={"random": IMAGES}), "ROAR's own: give the maps another name",
                    lambda: roar_of(maps={"other": IMAGES})),
    "train": Refusal(lambda: metrics.ROAR(3), r"\(images, labels, seed\) -> predict; got 3",
                     lambda: metrics.ROAR(one_class)),
    "test maps": Refusal(lambda: roar_of(test_maps={}),
                         "expected maps of a for both, got none for the test images", roar_of),
    "predict": Refusal(lambda: roar_of(no_class),
                       r"to class indices: expected shape \(4,\), got \(4, 2, 4, 4\)", roar_of),
    "shape": Refusal(lambda: roar_of(maps={"a": IMAGES[:, 0, 0]}),
                     r"the maps 'a' have shape \(4, 4\).*or one number a pixel, \(4, 4, 4",
                     lambda: roar_of(maps={"a": IMAGES[:, 0]})),
}  # fmt: skip

DRAWING = {
    "percentile": Refusal(lambda: SERIES.heatmap(percentile=0), r"in \(0, 100\], or be None; got 0",
                          lambda: [SERIES.heatmap(percentile=p) for p in (100, None)]),
    "index": Refusal(lambda: SERIES.plot(0.5), "a whole number; got 0.5", lambda: SERIES.plot(0)),
    "no example": Refusal(lambda: SERIES.plot(2), "no example 2 in a batch of 2", lambda: SERIES.plot(1)),
    "picture of a series": Refusal(lambda: SERIES.plot(picture=PICTURE), "plot it without a picture", SERIES.plot),
    "scale": Refusal(lambda: rendering.scale_of(MAPS, 0), r"in \(0, 100\]; got 0",
                     lambda: rendering.scale_of(MAPS, 100)),
    "no map": Refusal(lambda: rendering.scale_of([]), "at least one signed map with values; got none",
                      lambda: rendering.scale_of([MAPS])),
    "vector": Refusal(lambda: rendering.bars(np.eye(2)), r"of shape \(n,\); got \(2, 2\)",
                      lambda: rendering.bars(np.ones(2))),
    "not finite": Refusal(lambda: rendering.signed(np.full((2, 2), np.nan)), "look for it in the model's output",
                          lambda: rendering.signed(np.ones((2, 2)))),
    "channels": Refusal(lambda: rendering.signed(MAPS[0]), r"got \(2, 4, 4\): sum over channels first",
                        lambda: rendering.signed(MAPS[0].sum(axis=0))),
    "3 × 3": Refusal(lambda: rendering.overlay(np.ones((3, 3, 3)), np.ones((3, 3))), r"give it in grey, \(3, 3\)",
                     lambda: rendering.overlay(np.ones((3, 3)), np.ones((3, 3)))),
    "several": Refusal(lambda: rendering.overlay(PICTURE[None], MAPS[0, 0]), r"got \(1, 4, 4, 3\): give one picture",
                       lambda: rendering.overlay(PICTURE, MAPS[0, 0])),
    "two sizes": Refusal(lambda: rendering.overlay(PICTURE[:2], MAPS[0, 0]),
                         r"got \(2, 4\) and \(4, 4\): give the picture as",
                         lambda: rendering.overlay(PICTURE, MAPS[0, 0])),
    "range": Refusal(lambda: rendering.overlay(PICTURE * 255, MAPS[0, 0]), "undo .* first, or divide by 255",
                     lambda: rendering.overlay(PICTURE * 255 / 255, MAPS[0, 0])),
    "names": Refusal(lambda: rendering.bars(np.ones(2), names=["a"]), "one name for each of 2; got 1 names",
                     lambda: rendering.bars(np.ones(2), names=["a", "b"])),
    "rows": Refusal(lambda: rendering.grid([]), "at least one input with at least one method each; got none",
                    lambda: rendering.grid([rendering.FigureRow(PICTURE, "a", [rendering.Panel("b", MAPS[0, 0])])])),
}  # fmt: skip

PICTURES = {
    "size": Refusal(lambda: pa.ImageModel(None, 1.5), r"one whole number, \(height, width\) or None; got 1\.5",
                    lambda: [pa.ImageModel(None, size) for size in (2, (2, 3), None)]),
    "crop": Refusal(lambda: pa.ImageModel(None, 8, crop=2), r"in \(0, 1\], such as 0\.875; got 2",
                    lambda: pa.ImageModel(None, 8, crop=0.875)),
    "crop type": Refusal(lambda: pa.ImageModel(None, 8, crop="half"), r"such as 0\.875; got 'half'",
                         lambda: pa.ImageModel(None, 8, crop=0.875)),
    "crop of any": Refusal(lambda: pa.ImageModel(None, crop=0.5), r"with crop=0\.5 give size as well",
                           lambda: pa.ImageModel(None, 8, crop=0.5)),
    "axis": Refusal(lambda: pa.ImageModel(None, channel_axis=None), 'a whole number or "auto"; got None',
                    lambda: [pa.ImageModel(None, channel_axis=axis) for axis in (1, "auto")]),
    "channels": Refusal(lambda: pa.ImageModel(None, channels=4), r"channels=1 \(grey\), 3 \(colour\) or None; got 4",
                        lambda: [pa.ImageModel(None, channels=c) for c in (1, 3, None)]),
    "classes": Refusal(lambda: pa.ImageModel(None, classes="cat"),
                       r"a list of names; got the text 'cat': pass \['cat'\]",
                       lambda: pa.ImageModel(None, classes=["cat"])),
    "shape": Refusal(lambda: prepare(PICTURE[..., 0], pa.ImageModel(None)), r"of shape \(H, W, 3\); got \(4, 4\)",
                     lambda: prepare(np.stack([PICTURE[..., 0]] * 3, axis=2), pa.ImageModel(None))),
    "8 bits": Refusal(lambda: prepare(PICTURE * 255, pa.ImageModel(None)), "divide 8-bit pixels by 255",
                      lambda: prepare(PICTURE * 255 / 255, pa.ImageModel(None))),
    "scenes": Refusal(lambda: generate("two"), "count must be an integer, got 'two'", lambda: generate(1)),
    "no scene": Refusal(lambda: generate(0), "count must be at least 1, got 0", lambda: generate(1)),
}  # fmt: skip

TABLE = tabled({"subject": SUBJECTS, "ROAR": ROAR, "drawing": DRAWING, "pictures": PICTURES})


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name):
    check(TABLE[name])


WHOLLY = (
    explaining, generator, imputation, infidelity, localisation, removal, roar, scores, sensitivity, statistics,
)  # fmt: skip


test_every_refusal_of_a_module_is_in_the_table = completeness(lambda factory: list(TABLE.values()), WHOLLY)


def test_files_that_are_no_pictures(tmp_path):
    good, wrong, cut, empty = (tmp_path / f"{name}.png" for name in ("good", "wrong", "cut", "empty"))
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(good)
    wrong.write_text("not a picture")
    cut.write_bytes(good.read_bytes()[:-30])
    empty.touch()
    for path, said in ((wrong, "one of the formats .* convert it to PNG"), (cut,
    "damaged or cut off .* write or download"),
                       (empty, "an empty file: write or download"), (tmp_path,
                       r"name the pictures in it, such as .*\*\.png"),
                       (tmp_path / "none.png", "check the path")):  # fmt: skip
        check(Refusal(lambda path=path: read_picture(path), said, lambda: read_picture(good)))


def test_files_that_cannot_be_written(tmp_path):
    check(Refusal(lambda: write_atomically(tmp_path, b""), "it is a folder; give the name of a file",
                  lambda: write_atomically(tmp_path / "a", b"")))  # fmt: skip
    check(Refusal(lambda: write_json(tmp_path / "a", {1: np.nan}),
    "as JSON: .*; give text, finite numbers, lists and dicts",
                  lambda: write_json(tmp_path / "a", {"1": 2.0})))  # fmt: skip
    check(Refusal(lambda: path_of("load", 3), "load takes the path of a file, as text or a Path; got 3",
                  lambda: [path_of("load", given) for given in ("a", tmp_path)]))  # fmt: skip


def test_results_that_cannot_be_read(tmp_path):
    place, other = tmp_path / "a.npz", tmp_path / "b.npz"
    SERIES.save(place)
    np.savez(other, x=np.ones(3))
    load = pa.Attribution.load
    check(Refusal(lambda: load(tmp_path / "none"), "give a file of Attribution.save", lambda: load(place)))
    check(Refusal(lambda: load(other),
    "not a file that Attribution.save wrote, or .*; save or copy it again",
                  lambda: [SERIES.save(other), load(other)]))  # fmt: skip
    check(Refusal(lambda: load(place, max_bytes=1), r"more than the 1 that are allowed; .* allow more with max_bytes",
                  lambda: load(place, max_bytes=10**6)))  # fmt: skip
