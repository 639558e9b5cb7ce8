"""What the TensorFlow adapter refuses says what to do, and doing it works."""

import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

import pathattr as pa
import pathattr_tensorflow
from advising import Refusal, check, completeness, modules_of, randomisation, tabled
from pathattr.models.specs import load_model
from pathattr_tensorflow import TensorFlowBackend, surgery

X = tf.constant(np.random.default_rng(0).normal(size=(2, 6)), tf.float32)
WEIGHTS = tf.constant(np.random.default_rng(1).normal(size=(6, 3)), tf.float32)
DEVICES = TensorFlowBackend.devices()


class Model(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(WEIGHTS)

    def __call__(self, x):
        return tf.tanh(x @ self.w)


MODEL = Model()


def explain(model=MODEL, x=X, target=1, call=None, **settings):
    settings = {"channel_axis": None, "family": "linear", "steps": 2} | settings
    return pa.PathExplainer(model, **settings)(x, target, **(call or {}))


def same(*found):
    """Assert that these are the attributions of the plain call, but for the order of sums in float32."""
    expected = explain().numpy()
    for one in found:
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-5, atol=1e-7)


def returning(change):
    """Return the model as a function, its outputs changed."""
    return lambda x: change(MODEL(x))


def attributions(x):
    return explain(x=x).attributions


class Normalised(tf.Module):
    """Batch statistics, kept in a variable."""

    def __init__(self):
        super().__init__()
        self.mean = tf.Variable(tf.zeros(3))

    def __call__(self, x, training=True):
        out = MODEL(x)
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(out, 0))
        return out - self.mean

    def pure(self, x):
        """Return what it would write beside its outputs."""
        out = MODEL(x)
        return {"logits": out - self.mean, "mean": 0.9 * self.mean + 0.1 * tf.reduce_mean(out, 0)}


NORMALISED = Normalised()
LEAVING = r"cannot be traced by TensorFlow \(\w+: .*\): does it call \.numpy\(\).*Make it of TensorFlow's operations"


def leaving(model):
    return Refusal(lambda: explain(model), LEAVING,
                   lambda: same(explain(lambda x: tf.tanh(x @ MODEL.w))), pa.ModelError)  # fmt: skip


MODELS = {
    "inside tf.function": Refusal(
        lambda: tf.function(attributions, autograph=False)(X), r"being traced: call the explainer outside tf\.function",
        lambda: same(explain()),
    ),
    "option": Refusal(lambda: explain(backend_options={"jit": True}), "no option jit; it has jit_compile",
                      lambda: same(explain(backend_options={"jit_compile": True}))),
    ".numpy()": leaving(lambda x: tf.constant(np.tanh(x.numpy() @ WEIGHTS.numpy()))),
    ".tolist()": leaving(lambda x: tf.tanh(tf.constant(x.tolist()) @ WEIGHTS)),
    "NumPy": leaving(lambda x: tf.constant(np.tanh(x))),
    "bool": leaving(lambda x: MODEL(x) if bool(x[0, 0] > -9) else x[:, :3]),
    "new variables": Refusal(lambda: explain(lambda x: Model()(x)), "build it once, outside of the function",
                             lambda: same(explain(MODEL), explain(lambda x: MODEL(x))), pa.ModelError),
    "writes": Refusal(
        lambda: explain(NORMALISED),
        r"writes to its own variables .*inference \(training=False\), or pass a model that returns what it would write",
        lambda: same(explain(lambda x: NORMALISED(x, training=False)),
                     explain(NORMALISED.pure, head="logits")), pa.ModelError,
    ),
}  # fmt: skip


def shapeless(x):
    return tf.reshape(tf.image.resize(tf.reshape(x, (-1, 2, 3, 1)), (1, 2), method="area"), (-1, 2))


def undifferentiable(model, said="not differentiable with respect to the input", output="raw"):
    return Refusal(lambda: explain(model, output=output), said + r".*before any argmax",
                   lambda: explain(output=output), pa.ModelError)  # fmt: skip


OUTPUTS = {
    "rows": Refusal(
        lambda: explain(returning(lambda z: tf.reduce_sum(z, 0, keepdims=True))),
        r"shape \(1, 3\) for \d points: expected one row for each", explain, pa.ModelError,
    ),
    "nothing": Refusal(lambda: explain(returning(lambda z: z[:, :0])), r"of shape \(\d, 0\)\. Return its scores",
                       explain, pa.ModelError),
    "complex": Refusal(
        lambda: explain(returning(lambda z: tf.signal.fft(tf.cast(z, tf.complex64))), output="raw"),
        r"returned complex64, .* explain tf\.abs, tf\.math\.real or tf\.math\.imag of it",
        lambda: [explain(returning(lambda z, part=part: part(tf.signal.fft(tf.cast(z, tf.complex64)))), output="raw")
                 for part in (tf.abs, tf.math.real, tf.math.imag)], pa.ModelError,
    ),
    "complex score": Refusal(
        lambda: explain(output=lambda z: tf.cast(z[:, 1], tf.complex64), target=None), "explained score is complex64",
        lambda: explain(output=lambda z: tf.math.real(tf.cast(z[:, 1], tf.complex64)), target=None), pa.ModelError,
    ),
    "whole": undifferentiable(returning(lambda z: tf.argmax(z, 1)[:, None]), "returned int64, which is not diff"),
    "whole logits": undifferentiable(returning(lambda z: tf.cast(z, tf.int32)), "int32, which is not", "probability"),
    "stopped": undifferentiable(lambda x: MODEL(tf.stop_gradient(x))),
    "rounded": undifferentiable(returning(tf.round)),
    "of no input": undifferentiable(lambda x: tf.zeros((x.shape[0], 3))),
    "cast": undifferentiable(returning(lambda z: tf.cast(tf.cast(z, tf.int32), tf.float32))),
    "by NumPy": undifferentiable(returning(lambda z: tf.numpy_function(np.tanh, [z], tf.float32))),
    "no gradient": Refusal(
        lambda: explain(shapeless, output="raw"), r"and an output before any argmax \(LookupError: No gradient .*Area",
        lambda: explain(lambda x: tf.reshape(tf.image.resize(tf.reshape(x, (-1, 2, 3, 1)), (1, 2)), (-1, 2)),
                        output="raw"), pa.ModelError,
    ),
}  # fmt: skip


def elsewhere(model=MODEL):
    """Ask for a model on the CPU whose variables say that they are on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surgery, "device_name", lambda device: "gpu:0")
        TensorFlowBackend.place(model, "cpu")


def built_there():
    with tf.device("cpu"):
        return Model()


PLACES = {
    "unknown": Refusal(
        lambda: TensorFlowBackend.place(MODEL, "gpu:77"), f"no device 'gpu:77' here; it has {', '.join(DEVICES)}$",
        lambda: same(explain(TensorFlowBackend.place(MODEL, "cpu"))),
    ),
    "elsewhere": Refusal(elsewhere, r"on gpu:0, and .*build or load the model under `with tf\.device\('cpu'\):`",
                         lambda: same(explain(TensorFlowBackend.place(built_there(), "cpu")))),
}  # fmt: skip


def randomised(model=MODEL, layers=None, **settings):
    explainer = pa.PathExplainer(model, channel_axis=None, family="linear", steps=2)
    return randomisation(explainer, X, 1, layers=layers, **settings)


def other_models(rng):
    yield TensorFlowBackend.randomised(MODEL, ["w"], rng)


def locked():
    made = Model()
    made.lock = threading.Lock()
    return made


RANDOMISING = {
    "function": Refusal(lambda: randomised(returning(tf.tanh)), r"function is no tf\.Module\. Pass models=",
                        lambda: randomised(returning(tf.tanh), models=other_models)),
    "no copy": Refusal(lambda: randomised(locked()), r"cannot be copied \(.*'_thread\.lock' object\)\. Pass models=",
                       lambda: randomised(locked(), models=other_models)),
    "layer": Refusal(lambda: randomised(layers=["v"]), "no layer 'v' with weights; it has w$",
                     lambda: randomised(layers=["w"])),
}  # fmt: skip

PLAIN = tabled({"model": MODELS, "outputs": OUTPUTS, "device": PLACES, "randomising": RANDOMISING})


# SavedModels, and their pictures


def saved(folder, name="serving_default", spec=(6,), names=("x",)):
    """Return a SavedModel, loaded, that cannot be called but through a signature of this name."""
    module = tf.Module()
    module.w = tf.Variable(WEIGHTS)

    def serve(first, *others):
        rest = sum(map(tf.reduce_sum, others))
        return {"logits": tf.tanh(tf.reshape(first, (-1, np.prod(spec)))[:, :6] @ module.w) + 0 * rest}

    specs = [tf.TensorSpec([None, *spec], tf.float32, name=one) for one in names]
    tf.saved_model.save(module, folder, {name: tf.function(serve).get_concrete_function(*specs)})
    return tf.saved_model.load(folder)


def by_signature(model, name):
    return lambda x: model.signatures[name](x=x)["logits"]


OTHER = tf.constant(np.random.default_rng(2).normal(size=(2, 6)), tf.float32)
PICTURE = tf.constant(np.random.default_rng(0).random((1, 4, 4, 3)), tf.float32)


def pictured(spec):
    """Explain a picture by what a spec names."""
    made = load_model(spec)
    return pa.PathExplainer(made.model, family="linear", steps=2, channel_axis=-1)(PICTURE, 1)


def of_pictures(folder):
    saved(folder, spec=(4, 4, 3))
    return pictured(f"savedmodel:{folder}")


def by_module(folder, body):
    """Explain a picture by a function of pictures that a function in a module returns, as module:callable."""
    folder.mkdir(exist_ok=True)
    (folder / "mine_of_tf.py").write_text(f"import tensorflow as tf\ndef made():\n{body}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        try:
            return pictured("mine_of_tf:made")
        finally:
            sys.modules.pop("mine_of_tf", None)


def loading(folder, call):
    return f"    model = tf.saved_model.load({str(folder)!r})\n    return lambda x: {call}\n"


def damaged(folder):
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"not a graph")
    return folder


SAVED = {
    "no signature": lambda out: Refusal(
        lambda: explain(saved(out / "a", "other"), backend="tensorflow"),
        r"cannot be called, .*\(it has 'other'\): .*lambda x: model\.signatures\['name'\]\(x=x\)\['logits'\]",
        lambda: same(explain(by_signature(saved(out / "b", "other"), "other"))),
    ),
    "several inputs": lambda out: Refusal(
        lambda: explain(saved(out / "a", names=("x", "z")), call={"args": (OTHER,)}),
        r"inputs x, z, by name and in no order: .*explainer\(x, input_name='x', kwargs=\{'z': \.\.\.\}\)",
        lambda: same(explain(saved(out / "b", names=("x", "z")), call={"input_name": "x", "kwargs": {"z": OTHER}})),
    ),
    "no folder": lambda out: Refusal(
        lambda: load_model(f"savedmodel:{out}"), r"name a folder with a file saved_model\.pb; a .* is keras-file:PATH",
        lambda: of_pictures(out / "b"),
    ),
    "damaged": lambda out: Refusal(
        lambda: load_model(f"savedmodel:{out / 'a' if (out / 'a').exists() else damaged(out / 'a')}"),
        r"could not be loaded \(.*\): save it again, or load it in Python and pass module:callable",
        lambda: [of_pictures(out / "b"),
                 by_module(out / "c", loading(out / "b", "model.signatures['serving_default'](x=x)['logits']"))],
    ),
    "not of pictures": lambda out: Refusal(
        lambda: [saved(out / "a"), load_model(f"savedmodel:{out / 'a'}")],
        r"has 4 axes, .* takes \(None, 6\): wrap it in Python in a function of pictures, and pass module:callable",
        lambda: by_module(out / "b", loading(out / "a", "model.signatures['serving_default']("
                                             "x=tf.reshape(x, (-1, 48))[:, :6])['logits']")),
    ),
    "no signature to load": lambda out: Refusal(
        lambda: [saved(out / "a", "other", (4, 4, 3)), load_model(f"savedmodel:{out / 'a'}")],
        r"has no signature 'serving_default' \(it has 'other'\): save it again with one, or load it in Python",
        lambda: [of_pictures(out / "b"),
                 by_module(out / "c", loading(out / "a", "model.signatures['other'](x=x)['logits']"))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_following_the_advice_of_a_refusal_works(name):
    check(PLAIN[name])


@pytest.mark.parametrize("name", SAVED)
def test_following_the_advice_of_a_refused_saved_model_works(name, tmp_path):
    check(SAVED[name](tmp_path))


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: [*PLAIN.values(), *(made(factory.mktemp("case")) for made in SAVED.values())],
    modules_of(pathattr_tensorflow),
)
