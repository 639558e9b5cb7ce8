"""What is refused of Keras models, and by their loaders, says what to do, and doing it works."""

import sys
import zipfile

import keras
import numpy as np
import pytest

import pathattr as pa
import pathattr_keras
from advising import Refusal, check, completeness, modules_of, randomisation, tabled
from pathattr.models.specs import load_model

LAYERS = keras.layers
X = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
WEIGHTS = [np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32), np.zeros(3, np.float32)]
PICTURE = np.random.default_rng(2).random((1, 8, 8, 3)).astype(np.float32)

# Keras hands NumPy 2 its variables without the `copy` that it asks for.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def filled(model):
    model.set_weights(WEIGHTS)
    return model


MODEL = filled(keras.Sequential([keras.Input((6,)), LAYERS.Dense(3)]))


def explain(model=MODEL, x=X, target=1, call=None):
    return pa.PathExplainer(model, channel_axis=None, family="linear", steps=2)(x, target, **(call or {}))


def same(*found):
    """Assert that these are the attributions of the plain call, but for the order of sums in float32."""
    expected = explain().numpy()
    for one in found:
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-5, atol=1e-7)


def unbuilt():
    return keras.Sequential([LAYERS.Dense(3)])


def called(model):
    model(X)
    return filled(model)


def marked(model):
    """Return a model that says it is built, and the layers in it are not."""
    model.built = True
    return model


def by_name():
    """Return a model that takes a dict: the first of its inputs and nothing of the second."""
    first, second = keras.Input((6,), name="first"), keras.Input((6,), name="mask")
    outputs = MODEL(first) + 0 * keras.ops.sum(second, axis=1, keepdims=True)
    return keras.Model({"first": first, "mask": second}, outputs)


NAMED = by_name()


class Own(keras.Model):
    """Cannot be made again from a configuration: it does not say which layer it is made of."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


OWN = Own(LAYERS.Dense(3))
OWN(X)


def randomised(model=MODEL, layers=None, **settings):
    return randomisation(
        pa.PathExplainer(model, channel_axis=None, family="linear", steps=2), X, 1, layers=layers, **settings
    )


def other_models(rng):
    yield pathattr_keras.randomised(MODEL, pathattr_keras.layers(MODEL), rng)


MODELS = {
    "not built": Refusal(
        lambda: explain(unbuilt()), r"a keras\.Input as its first layer, or call it once on an example; then load",
        lambda: same(explain(), explain(called(unbuilt()))),
    ),
    "not built, of a class": Refusal(lambda: explain(Own(LAYERS.Dense(3))), "call it once on an example; then load its",
                                     lambda: same(explain(called(Own(LAYERS.Dense(3)))))),
    "built by name alone": Refusal(lambda: explain(marked(Own(LAYERS.Dense(3)))), "it has no weights yet.*call it once",
                                   lambda: same(explain(called(Own(LAYERS.Dense(3)))))),
    "by name": Refusal(
        lambda: explain(NAMED, call={"args": (X,)}), "inputs first, mask, by name .*say input_name='first'.* in kwargs",
        lambda: same(explain(NAMED, call={"input_name": "first", "kwargs": {"mask": X}})),
    ),
    "no clone": Refusal(lambda: randomised(OWN), r"cannot be cloned \(\w+: .*\)\. Pass models=",
                        lambda: randomised(OWN, models=other_models)),
    "layer": Refusal(lambda: randomised(layers=["conv"]), r"no layer 'conv' with weights; it has \S*dense",
                     lambda: randomised(layers=pathattr_keras.layers(MODEL))),
}  # fmt: skip


# Loaders


def pictured(made):
    """Explain a picture by a loaded model."""
    axis = made.channel_axis if made.channel_axis in (1, -1) else -1
    x = PICTURE if axis == -1 else PICTURE.transpose(0, 3, 1, 2)
    settings = {"family": "linear", "steps": 2, "channel_axis": axis, "backend": keras.config.backend()}
    return pa.PathExplainer(made.model, **settings)(x, 1)


def by_module(folder, body):
    """Explain a picture by what a function in a module returns, as module:callable."""
    folder.mkdir(exist_ok=True)
    (folder / "mine_of_keras.py").write_text(f"import keras, pathattr\ndef made():\n{body}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        try:
            return pictured(load_model("mine_of_keras:made"))
        finally:
            sys.modules.pop("mine_of_keras", None)


LAST = "    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])\n"
OF_PICTURES = (
    "    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])\n"
    "    return lambda x: inner(keras.ops.mean(x, axis=(1, 2)))\n"
)
FIRST = (
    "    model = keras.Sequential([keras.Input((3, 8, 8)), keras.layers.Flatten(), keras.layers.Dense(3)])\n"
    "    return pathattr.ImageModel(model, 8, channel_axis=1)\n"
)


def file(folder, *layers, shape=(8, 8, 3), name="model.keras"):
    """Save a model of these layers, or of Flatten and Dense, in a file; return the spec of it."""
    folder.mkdir(exist_ok=True)
    made = keras.Sequential([keras.Input(shape), *(layers or (LAYERS.Flatten(), LAYERS.Dense(3)))])
    made.save(folder / name)
    return f"keras-file:{folder / name}"


def text(folder, name):
    (folder / name).write_text("no archive")
    return f"keras-file:{folder / name}"


def archive(folder):
    with zipfile.ZipFile(folder / "empty.keras", "w") as made:
        made.writestr("nothing", "")
    return f"keras-file:{folder / 'empty.keras'}"


def exported(folder):
    """Export a model as a SavedModel, and load that."""
    keras.Sequential([keras.Input((8, 8, 3)), LAYERS.Flatten(), LAYERS.Dense(3)]).export(folder, verbose=False)
    return pictured(load_model(f"savedmodel:{folder}"))


class Doubled(LAYERS.Layer):
    def call(self, x):
        return 2 * x


WITHOUT_CODE = r"cannot be loaded without running code from it \(\w+: .*\): .*in Python and pass module:callable"


def refused(spec, said, mended):
    """Return the function of a folder that gives the refusal of a spec, both functions of a folder."""
    return lambda out: Refusal(lambda: load_model(spec(out)), said, lambda: mended(out))


FILES = {
    "missing": refused(lambda out: f"keras-file:{out / 'a.keras'}", r"no Keras file .*a\.keras: check the path",
                       lambda out: pictured(load_model(file(out)))),
    "no archive": refused(lambda out: text(out, "a.keras"), r"save the model again with model\.save\('name\.keras'\)",
                          lambda out: pictured(load_model(file(out, name="name.keras")))),
    "old": refused(
        lambda out: text(out, "a.h5"), r"model\.save\('name\.keras'\); a SavedModel folder is savedmodel:FOLDER",
        lambda out: [pictured(load_model(file(out, name="name.keras"))), exported(out / "saved")],
    ),
    "damaged": refused(archive, WITHOUT_CODE, lambda out: by_module(out, LAST)),
    "Lambda": refused(lambda out: file(out, LAYERS.Lambda(lambda x: 2 * x), LAYERS.Flatten()), WITHOUT_CODE,
                      lambda out: by_module(out, LAST)),
    "own layer": refused(lambda out: file(out, Doubled(), LAYERS.Flatten()), WITHOUT_CODE,
                         lambda out: by_module(out, LAST)),
    "flat": refused(
        lambda out: file(out, LAYERS.Dense(3), shape=(3,)),
        r"takes the shape \(None, 3\): wrap it in Python in a function of pictures, and pass module:callable",
        lambda out: by_module(out, OF_PICTURES),
    ),
    "channels": refused(
        lambda out: file(out, shape=(3, 8, 8)),
        r"\(None, 3, 8, 8\) cannot be known: .* module:callable that returns an ImageModel with channel_axis=1 or -1",
        lambda out: by_module(out, FIRST),
    ),
}  # fmt: skip


def application(spec="keras:VGG16", fails=False, preprocess=None, missing=False):
    """Load an application of Keras, for which a tiny network stands in."""

    def tiny(weights="imagenet"):
        if fails:
            raise Exception(f"URL fetch failure on {weights}: None -- no network")  # as Keras does
        return keras.Sequential([keras.Input((8, 8, 3)), LAYERS.Flatten(), LAYERS.Dense(3)])

    with pytest.MonkeyPatch.context() as patch:
        for name in ("VGG16", "MobileNetV2"):
            stands_in = lambda weights="imagenet": tiny(weights)  # noqa: E731 - one each, of its own module
            stands_in.__module__ = getattr(keras.applications, name).__module__
            patch.setattr(keras.applications, name, stands_in)
        if preprocess is not None:
            patch.setattr(sys.modules[keras.applications.VGG16.__module__], "preprocess_input", preprocess)
        if missing:
            patch.setitem(sys.modules, "keras", None)  # as if not installed
        return load_model(spec)


APPLICATIONS = {
    "close": lambda _: Refusal(lambda: application("keras:mobilenetv2"), r"did you mean 'MobileNetV2'\?",
                               lambda: pictured(application("keras:MobileNetV2"))),
    "unknown": lambda _: Refusal(lambda: application("keras:zzz"), r"no model 'zzz'; it has .*, VGG16, ",
                                 lambda: pictured(application("keras:VGG16"))),
    "not loaded": lambda out: Refusal(
        lambda: application(fails=True),
        r"\(Exception: URL fetch .*\): try again where its weights can be downloaded, or make .* module:callable",
        lambda: [pictured(application()), by_module(out, LAST)],
    ),
    "preprocessing": lambda out: Refusal(
        lambda: application(preprocess=lambda x: x**2),
        "more than a scale and a shift .* module:callable that returns an ImageModel with the preprocessing inside",
        lambda: by_module(out, "    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(),\n"
                               "                              keras.layers.Dense(3)])\n"
                               "    return pathattr.ImageModel(lambda x: model(x**2), 8, channel_axis=-1)\n"),
    ),
    "no Keras": lambda _: Refusal(lambda: application(missing=True), "need Keras 3, .*: pip install keras and the fr",
                                  lambda: pictured(application()), pa.MissingExtra),
}  # fmt: skip

LOADERS = tabled({"file": FILES, "application": APPLICATIONS})


@pytest.mark.parametrize("name", MODELS)
def test_following_the_advice_of_a_refusal_works(name):
    check(MODELS[name])


@pytest.mark.parametrize("name", LOADERS)
def test_following_the_advice_of_a_loader_works(name, tmp_path):
    check(LOADERS[name](tmp_path))


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: [*MODELS.values(), *(made(factory.mktemp("case")) for made in LOADERS.values())],
    modules_of(pathattr_keras),
)
