"""Whatever studies refuse, their data and their grids, says what to do, and doing it works."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from advising import Refusal, check, completeness, tabled
from pathattr import verify
from pathattr.metrics import Infidelity, IoU, Sparseness
from pathattr.studies import Arrays, Grid, Setting, Study, collect, collected, combined, fitness, grid, summarised
from pathattr.studies.grid import listed, numbers_of
from pathattr.testing.models import TanhNetwork

SHAPE = (3, 8, 8)
NETWORK = TanhNetwork.random(SHAPE, classes=3).model()
X = np.random.default_rng(0).normal(size=(2, *SHAPE))
MASKS = np.random.default_rng(1).random((2, 8, 8)) > 0.5
MODEL = pa.ImageModel(NETWORK, 8, classes=["cat", "dog", "dog"])
# The scores of three classes, the first entries of each row of the first channel, and those of the first row alone.
DENSE = pa.NumpyModel(lambda x: x[:, 0, :, :3], lambda x, c: np.pad(c[:, None], ((0, 0), (0, 2), (0, 0), (0, 5))))
PLACE = pa.NumpyModel(lambda x: x[:, 0, 0, :3], lambda x, c: np.pad(c[:, None, None], ((0, 0), (0, 2), (0, 7), (0, 5))))


def explainer(model=NETWORK, **changes):
    return pa.PathExplainer(model, **{"family": "linear", "steps": 2} | changes)


def setting(name="ig", **changes):
    return Setting(name, lambda: explainer(**changes))


def study(out, settings=None, metrics=None, data=None, **options):
    made = Study(Arrays(X, [0, 1]) if data is None else data, [setting()] if settings is None else settings,
                 {"sparseness": Sparseness()} if metrics is None else metrics, out, **options)  # fmt: skip
    made.run()
    return made


def gridded(**given):
    return combined(Grid(**{"steps": 2} | given), NETWORK, X[:1], {})


def picture(path, size=9, value=100, mode=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, mode)).save(path)


def folder(out, *names):
    for name in names:
        picture(out / name)
    return collected(str(out), MODEL, 1)


def table(out, *lines):
    for name in ("a.png", "b.png"):
        picture(out / name)
    picture(out / "m.png", value=255)
    picture(out / "small.png", size=5, value=255)
    picture(out / "black.png", value=0)
    (out / "data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return collected(str(out / "data.csv"), MODEL, 1)


def latin(path):
    path.write_bytes("path\né.png".encode("latin-1"))
    return collected(str(path), MODEL, 1)


def class_of(name, classes=("cat", "dog", "dog")):
    return collect.class_index(name, classes)


OF_A_PICTURE = "path,mask,top,left,bottom,right"
ONE = ["path", "a.png"]

GRIDS = {
    "list": lambda _: Refusal(lambda: listed("--f", "a,,b"), "--f takes a comma-separated list; got 'a,,b'",
                              lambda: listed("--f", "a,b")),
    "numbers": lambda _: Refusal(lambda: numbers_of("--o", "0:1"), "ranges start:stop:step; got '0:1'",
                                 lambda: numbers_of("--o", "0:1:0.5")),
    "never": lambda _: Refusal(lambda: numbers_of("--o", "0:1:-1"), "its step must lead from start to stop",
                               lambda: numbers_of("--o", "0:1:1")),
    "many": lambda _: Refusal(lambda: numbers_of("--o", "0:1:1e-9"), "more than 1000 values: take larger steps",
                              lambda: numbers_of("--o", "0:1:1e-2")),
    "empty": lambda _: Refusal(gridded, r"a family or a method: families=\['svd'\], or methods=\['ig'\]",
                               lambda: [gridded(families=["svd"]), gridded(methods=["ig"])]),
    "tolerance": lambda _: Refusal(
        lambda: gridded(families=["svd"], tolerance=0.1),
        r"here 2, aims at none: say steps='auto', or .*\(tolerance=None\)",
        lambda: [gridded(families=["svd"], tolerance=0.1, steps="auto"), gridded(families=["svd"], tolerance=None)],
    ),
    "nothing left": lambda _: Refusal(
        lambda: gridded(families=["svd"], orderings=["frequency"]),
        r"svd.*: ordering by frequency needs.*takes Energy\(\)",
        lambda: gridded(families=["svd"], orderings=["energy"]),
    ),
}  # fmt: skip

STUDIES = {
    "nothing": lambda out: Refusal(lambda: study(out / "a", settings=[]), "at least one setting and one metric",
                                   lambda: study(out / "b")),
    "twice": lambda out: Refusal(lambda: study(out / "a", [setting(), setting()]),
    "two settings are called 'ig'.*another",
                                 lambda: study(out / "b", [setting(), setting("other")])),
    "no labels": lambda out: Refusal(
        lambda: study(out / "a", data=Arrays(X), target="label"), "take target='predicted'",
        lambda: [study(out / "b", data=Arrays(X), target="predicted"), study(out / "c", target="label")],
    ),
    "unknown": lambda out: Refusal(lambda: study(out / "a").found("svd"), "no setting is called 'svd'; there are ig",
                                   lambda: study(out / "b").found("ig")),
    "summary": lambda out: Refusal(
        lambda: summarised(study(out / "a").results(), "svd"),
        "no setting is called 'svd'; .*'ig'",
        lambda: summarised(study(out / "b").results(), "ig"),
    ),
    "masks": lambda out: Refusal(
        lambda: study(out / "a", metrics={"iou": IoU()}), "iou must know.*2 of 2.*give theirs, or leave the metric out",
        lambda: [study(out / "b", metrics={"iou": IoU()}, data=Arrays(X, masks=MASKS)), study(out / "c")],
    ),
    "baselines": lambda out: Refusal(
        lambda: study(out / "a", [setting(), setting("m", baseline="mean")], {"infidelity": Infidelity(samples=2)}),
        r"m \(from Mean\(\)\)\. Judge them in a study of their own",
        lambda: [study(out / "b", metrics={"i": Infidelity(samples=2)}),
                 study(out / "c", [setting("m", baseline="mean")], {"i": Infidelity(samples=2, baseline="mean")})],
    ),
    "another": lambda out: Refusal(
        lambda: [study(out / "a"), study(out / "a", seed=1)], "another study: .*seed.*Give another --out, or go on",
        lambda: [study(out / "b", seed=1), study(out / "a")],
    ),
    "facts": lambda out: Refusal(lambda: study(out / "a", facts={"x": np.nan}), "plain values: .*finite numbers",
                                 lambda: study(out / "b", facts={"x": 1.0})),
    "lengths": lambda _: Refusal(lambda: Arrays(X, [0]), "labels has 1 entries for 2 examples: one each is needed",
                                 lambda: Arrays(X, [0, 1])),
    "labels": lambda _: Refusal(lambda: Arrays(X, [0.5, 1]), r"whole numbers.*indices of the classes; got shape \(2,\)",
                                lambda: Arrays(X, [0, 1])),
    "soft masks": lambda _: Refusal(lambda: Arrays(X, masks=MASKS * 0.7), "threshold soft masks first",
                                    lambda: Arrays(X, masks=MASKS * 0.7 > 0.5)),
    "axes": lambda out: Refusal(
        lambda: study(out / "a", [Setting("d", lambda: explainer(model=DENSE))], data=Arrays(X)),
        r"outputs of shape \(8, 3\).* or a model that returns the scores of one place",
        lambda: study(out / "b", [Setting("d", lambda: explainer(model=PLACE))], data=Arrays(X)),
    ),
    "nothing moves": lambda _: Refusal(
        lambda: verify(explainer(), np.zeros((2, *SHAPE)), 0), "Choose another baseline",
        lambda: verify(explainer(baseline=1.0), np.zeros((2, *SHAPE)), 0),
    ),
}  # fmt: skip

DATA = {
    "nowhere": lambda out: Refusal(
        lambda: collected(str(out / "none"), MODEL, 1), "expected scenes, a folder .*, or a CSV file with the columns",
        lambda: [folder(out / "a", "cat/1.png"), table(out / "b", *ONE), collected("scenes", MODEL, 1, limit=1)],
    ),
    "scenes": lambda _: Refusal(lambda: collected("scenes:x", MODEL, 1), "or scenes:SEED with a whole number",
                                lambda: collected("scenes:3", MODEL, 1, limit=1)),
    "class": lambda _: Refusal(lambda: class_of("ct"),
    "none of the model's 3 classes, such as 'cat'.* an index will do",
                               lambda: [class_of("cat"), class_of("0")]),
    "two classes": lambda _: Refusal(lambda: class_of("dog"), "2 classes are called so; give an index instead",
                                     lambda: class_of("2")),
    "range": lambda _: Refusal(lambda: class_of("3"), "the model has 3 classes, from 0", lambda: class_of("2")),
    "no names": lambda _: Refusal(lambda: class_of("cat", None), "names no classes, so a class is its index",
                                  lambda: class_of("0", None)),
    "no picture": lambda out: Refusal(lambda: collected(str(out), MODEL, 1), "one folder a class with pictures",
                                      lambda: folder(out, "cat/1.png")),
    "folder": lambda out: Refusal(lambda: folder(out / "a", "cow/1.png"),
    "folder .*cow: class 'cow' is none.*index will do",
                                  lambda: folder(out / "b", "0/1.png")),
    "bare": lambda out: Refusal(lambda: folder(out / "a", "cat/1.png", "2.png"), "2.png: move those into the folder of",
                                lambda: folder(out / "b", "cat/1.png", "cat/2.png")),
    "no path": lambda out: Refusal(lambda: table(out, "file", "a.png"),
    "no column path; .*path alone will do.*got file",
                                   lambda: table(out, *ONE)),
    "columns": lambda out: Refusal(lambda: table(out, "path,size", "a.png,3"),
    r"\['size'\]; those known: path, label, mask",
                                   lambda: table(out, *ONE)),
    "not UTF-8": lambda out: Refusal(lambda: latin(out / "l.csv"),
                                     "as a CSV file in UTF-8", lambda: table(out, *ONE)),
    "no line": lambda out: Refusal(lambda: table(out, "path"), "one line each is needed below the header",
                                   lambda: table(out, *ONE)),
    "some labels": lambda out: Refusal(lambda: table(out, "path,label", "a.png,cat", "b.png,"),
    "such as b.png: label all or none",
                                       lambda: [table(out, "path,label", "a.png,cat", "b.png,1"), table(out, "path",
                                       "a.png", "b.png")]),
    "cells": lambda out: Refusal(lambda: table(out, "path", "a.png,cat"), "as many cells as the header has",
                                 lambda: table(out, "path,label", "a.png,cat")),
    "label": lambda out: Refusal(lambda: table(out, "path,label", "a.png,ct"), "line 2: class 'ct' is none",
    lambda: table(out, *ONE)),
    "both": lambda out: Refusal(lambda: table(out, OF_A_PICTURE, "a.png,m.png,0,0,2,2"),
    "by a mask or by a box, not by both",
                                lambda: [table(out, OF_A_PICTURE, line) for line in ("a.png,m.png,,,,",
                                "a.png,,0,0,2,2")]),
    "box": lambda out: Refusal(lambda: table(out, OF_A_PICTURE, "a.png,,0,0,2,x"),
    r"four numbers.*got \['0', '0', '2', 'x'\]",
                               lambda: table(out, OF_A_PICTURE, "a.png,,0,0,2,2")),
    "box beyond": lambda out: Refusal(lambda: table(out, OF_A_PICTURE, "a.png,,0,0,2,99"),
    "of 9 × 9 pixels: expected top, left",
                                      lambda: table(out, OF_A_PICTURE, "a.png,,0,0,2,9")),
    "mask's size": lambda out: Refusal(lambda: table(out, "path,mask", "a.png,small.png"),
    "5 × 5 pixels .* 9 × 9: .* one size",
                                       lambda: table(out, "path,mask", "a.png,m.png")),
    "black mask": lambda out: Refusal(lambda: table(out, "path,mask", "a.png,black.png"),
    "are those that are not black",
                                      lambda: table(out, "path,mask", "a.png,m.png")),
    "sizes": lambda out: Refusal(
        lambda: sized(out, pa.ImageModel(NETWORK)),
        r"of any size .*\(5, 5\), \(9, 9\).*say --size \(or ImageModel\(size=",
        lambda: sized(out, pa.ImageModel(NETWORK, size=8)),
    ),
}  # fmt: skip


def sized(out, model):
    picture(out / "s" / "0" / "a.png")
    picture(out / "s" / "0" / "b.png", size=5)
    return collected(str(out / "s"), replace(model), 1)


TABLE = tabled({"grid": GRIDS, "study": STUDIES, "data": DATA})


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name, tmp_path):
    check(TABLE[name](tmp_path))


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: [made(factory.mktemp("case")) for made in TABLE.values()], [collect, fitness, grid]
)
