"""What is refused of a model, of what it returns, and of what is asked of it says what to do, and doing it works."""

import numpy as np
import pytest

import pathattr as pa
from advising import Refusal, check, completeness, randomisation, tabled
from pathattr.models import finiteness, heads, numpy_backend, outputs, returned, surgery, targets
from pathattr.models.arguments import Call
from pathattr.models.numpy_backend import NumpyBackend
from pathattr.models.specs import scenes_model

X = np.random.default_rng(0).normal(size=(2, 6))
WEIGHTS = np.random.default_rng(1).normal(size=(6, 4))
LINEAR = pa.NumpyModel(lambda x: x @ WEIGHTS, lambda x, c: c @ WEIGHTS.T)


def explain(model=LINEAR, x=X, target=1, *, call=None, explainer=pa.PathExplainer, **settings):
    usual = {"family": "linear", "steps": 4} if explainer is pa.PathExplainer else {}
    return explainer(model, **{"channel_axis": None, **usual, **settings})(x, target, **call or {})


def returning(change, vjp=None):
    """Return the linear model with its outputs changed; the gradient stays that of the outputs as they were."""
    return pa.NumpyModel(lambda x: change(x @ WEIGHTS), vjp or (lambda x, c: c @ WEIGHTS.T))


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def dense(x):
    return np.tanh(x[:, :, None]) * np.arange(1, 5)


DENSE = pa.NumpyModel(dense, lambda x, c: (c * np.arange(1, 5)).sum(axis=2) * (1 - np.tanh(x) ** 2))
ONE = pa.NumpyModel(lambda x: x.sum(axis=1), lambda x, c: np.ones_like(x) * c.reshape(-1, 1))
MANY = pa.NumpyModel(lambda x: sigmoid(np.tile(x, 2)), lambda x, c: x * 0 + 1.0)
CALLBACK = pa.GradientCallback(lambda x, t: np.ones_like(x) * WEIGHTS[:, t], lambda x, t: x @ WEIGHTS[:, t])
PAIR = (lambda x: x.sum(axis=1), lambda x: np.ones_like(x))

OUTPUTS = {
    "which axis": Refusal(
        lambda: explain(DENSE, target=(2, 1)),
        r"shape \(6, 4\).*class_axis=1 \(6 classes\).*class_axis=2 \(4 classes\).*link='sigmoid'.*output='raw'",
        lambda: [explain(DENSE, target=(2, 1), **s)
                 for s in ({"class_axis": 1}, {"class_axis": 2}, {"link": "sigmoid"}, {"output": "raw"})],
    ),
    "axis type": Refusal(lambda: explain(class_axis="last"), "must be an int; got 'last'",
                         lambda: explain(class_axis=-1)),
    "axis range": Refusal(lambda: explain(class_axis=2),
                          r"class_axis=2 is not an axis after the batch of outputs \(2, 4\)",
                          lambda: explain(class_axis=1)),
    "one output": Refusal(
        lambda: explain(ONE, target=0, output="probability"),
        "output='probability'.*link='sigmoid'; a probability already: link='already'; a regression: output='raw'",
        lambda: [explain(ONE, target=0, output="probability", link="sigmoid"),
                 explain(pa.NumpyModel(lambda x: sigmoid(x.sum(axis=1)), lambda x, c: x), target=0, link="already"),
                 explain(ONE, target=0, output="raw")],
    ),
    "softmax of one": Refusal(
        lambda: explain(ONE, target=0, link="softmax"), r"say link='sigmoid' \(binary\) or output='raw'",
        lambda: [explain(ONE, target=0, link="sigmoid"), explain(ONE, target=0, output="raw")],
    ),
    "no probabilities": Refusal(
        lambda: explain(link="already"), r"run from -\d.* to \d.*: say link='softmax' or 'sigmoid'",
        lambda: [explain(link=link) for link in ("softmax", "sigmoid")],
    ),
    "probabilities": Refusal(
        lambda: explain(returning(softmax)), "Say link='already'.*or link='softmax' if they are logits all the same",
        lambda: explain(returning(softmax), link="already"),
    ),
    "many in [0, 1]": Refusal(
        lambda: explain(MANY, x=3 * X), r"12 outputs.*link='already'; if they are logits, link='softmax'.*output='raw'",
        lambda: [explain(MANY, x=3 * X, **s) for s in ({"link": "already"}, {"link": "softmax"}, {"output": "raw"})],
    ),
    "link": Refusal(lambda: explain(link="softmx"), r"link must be one of .*'softmax'.*got 'softmx'",
                    lambda: explain(link="softmax")),
    "output": Refusal(lambda: explain(output="prob"), r"one of .*'probability'.*got 'prob'",
                      lambda: explain(output="probability")),
    "logit of probabilities": Refusal(
        lambda: explain(returning(softmax), link="already", output="logit"),
        "output='probability' or 'log_probability', or pass the model without its last activation",
        lambda: [explain(returning(softmax), link="already", output=o) for o in ("probability", "log_probability")]
        + [explain(LINEAR, output="logit")],
    ),
    "probability of no classes": Refusal(
        lambda: explain(link="identity", output="probability"),
        r"\(link='identity'\): explain output='raw', or say link='softmax' or 'sigmoid'",
        lambda: [explain(link="identity", output="raw")]
        + [explain(link=link, output="probability") for link in ("softmax", "sigmoid")],
    ),
}  # fmt: skip

TARGETS = {
    "range": Refusal(lambda: explain(target=4), "target 4 is out of range: the model has 4 outputs, 0 to 3",
                     lambda: [explain(target=t) for t in (0, 3)]),
    "count": Refusal(lambda: explain(target=[0, 1, 2]),
                     r"2 of them \(one per example\).*Contrast\(a, b\) or None; got \[0",
                     lambda: [explain(target=t) for t in (0, [0, 1], pa.Contrast(0, 1), None)]),
    "fraction": Refusal(lambda: explain(target=1.5), r"whole numbers, class indices; got 1\.5",
                        lambda: explain(target=1)),
    "dense": Refusal(lambda: explain(DENSE, target=None, output="raw"),
                     r"shape \(6, 4\).*pass target=\(\.\.\.\), one index",
                     lambda: explain(DENSE, target=(2, 1), output="raw")),
    "too few": Refusal(lambda: explain(DENSE, target=2, output="raw"), r"shape \(6, 4\).*has 2 indices; got 2",
                       lambda: explain(DENSE, target=(2, 1), output="raw")),
    "one-hot": Refusal(
        lambda: explain(target=np.eye(4)[:2]), r"each of the 4 classes.*numpy\.asarray\(target\)\.argmax\(-1\); got",
        lambda: explain(target=np.asarray(np.eye(4)[:2]).argmax(-1)),
    ),
    "sparse": Refusal(
        lambda: explain(target=tensor().to_sparse()), "Tensor whose numbers cannot be read.*as a dense array or a list",
        lambda: [explain(target=t) for t in (np.array([1, 0]), [1, 0])],
    ),
    "of a callable": Refusal(
        lambda: explain(output=lambda z: z[:, 0]), "pass target=None with it",
        lambda: outputs_of_torch(lambda z: z[:, 0], None),
    ),
    "callable in NumPy": Refusal(
        lambda: explain(output=lambda z: z[:, 0], target=None), "NumpyModel's value return the score.*output='raw'",
        lambda: explain(pa.NumpyModel(lambda x: x @ WEIGHTS[:, 0],
        lambda x, c: c[:, None] * WEIGHTS[:, 0]), target=None,
                        output="raw"),
    ),
    "a callback's output": Refusal(
        lambda: explain(CALLBACK, output="logit"), "output='logit' of a GradientCallback.*output='raw'",
        lambda: explain(CALLBACK, output="raw"),
    ),
    "a callback's class": Refusal(lambda: explain(CALLBACK, target=None), "pass target=",
                                  lambda: explain(CALLBACK, target=1)),
    "a callback's index": Refusal(lambda: explain(CALLBACK, target=-1), "class index of 0 or more; got -1",
                                  lambda: explain(CALLBACK, target=1)),
    "callable's shape": Refusal(
        lambda: outputs_of_torch(lambda z: z, None), r"one score a row, shape \(2,\); it returned .*2, 4",
        lambda: outputs_of_torch(lambda z: z[:, 0], None), pa.ModelError,
    ),
}  # fmt: skip


def outputs_of_torch(output, target):
    import torch

    weights = torch.tensor(WEIGHTS)
    return explain(lambda x: x @ weights, x=torch.tensor(X), target=target, output=output)


def several(x):
    return {"scores": x @ WEIGHTS, "hidden": x}


SEVERAL = pa.NumpyModel(several, lambda x, c: c @ WEIGHTS.T)

HEADS = {
    "not clear": Refusal(
        lambda: explain(SEVERAL), r"a dict with 'scores' \(shape \(\d, 4\)\), 'hidden' .*say head='scores' or another",
        lambda: explain(SEVERAL, head="scores"), pa.ModelError,
    ),
    "no array": Refusal(
        lambda: heads.chosen("scores", NumpyBackend.recognises_array), "returned str, not an array: pass a function",
        lambda: explain(), pa.ModelError,
    ),
    "unknown": Refusal(lambda: explain(SEVERAL, head="score"), r"no head 'score'.*'scores' .*as it stands there",
                       lambda: explain(SEVERAL, head="scores")),
    "type": Refusal(lambda: explain(SEVERAL, head=1.5), "the name or the number of one of .*; got 1.5",
                    lambda: explain(SEVERAL, head="scores")),
}  # fmt: skip


def with_text(text):
    return lambda z: z.astype(object) + text


NUMPY = {
    "no gradient": Refusal(
        lambda: explain(lambda x: x @ WEIGHTS),
        r"got function\. Pass a module, say backend='torch'.*NumpyModel\(value, vjp\)",
        lambda: explain(LINEAR),
    ),
    "arrays": Refusal(lambda: NumpyBackend(LINEAR, X.tolist(), Call()), "takes NumPy arrays; got .*list",
                      lambda: explain()),
    "by name": Refusal(lambda: explain(call={"input_name": "x"}), "takes its points first: input_name is for", explain),
    "further": Refusal(
        lambda: explain(CALLBACK, call={"args": (2.0,)}), "put further inputs into the callback",
        lambda: explain(pa.GradientCallback(lambda x, t: CALLBACK.gradient(x, t) * 2.0)),
    ),
    "rows": Refusal(
        lambda: explain(returning(lambda z: z[:1])), r"shape \(1, 4\) for \d points: expected one row for each",
        explain, pa.ModelError,
    ),
    "nothing": Refusal(lambda: explain(returning(lambda z: z[:, :0])), r"of shape \(\d, 0\)\. Return its scores",
                       explain, pa.ModelError),
    "labels": Refusal(
        lambda: explain(returning(lambda z: np.rint(z).astype(int))),
        r"returned int64.*return outputs\.astype\(float\)",
        lambda: explain(returning(lambda z: np.rint(z).astype(int).astype(float))), pa.ModelError,
    ),
    "vjp's shape": Refusal(
        lambda: explain(returning(lambda z: z, lambda x, c: c)),
        r"vjp returned shape \(\d, 4\); expected .*, \(\d, 6\)",
        explain, pa.ModelError,
    ),
    "callback's shape": Refusal(
        lambda: explain(pa.GradientCallback(lambda x, t: WEIGHTS[:, t])), r"returned shape \(6,\); expected \(\d, 6\)",
        lambda: explain(CALLBACK), pa.ModelError,
    ),
    "functions": Refusal(lambda: pa.NumpyModel(WEIGHTS, None),
                         r"NumpyModel\(value, vjp\) takes functions.*its value is",
                         lambda: explain(LINEAR)),
    "masked": Refusal(
        lambda: explain(returning(lambda z: np.ma.masked_less(z, 0))), r"masked array.*return found\.filled\(value\)",
        lambda: explain(returning(lambda z: np.ma.masked_less(z, 0).filled(-9.0))), pa.ModelError,
    ),
    "ragged": Refusal(
        lambda: explain(returning(lambda z: [z[0], z[1, :2]])), "no array of numbers|several|which one to explain",
        explain, pa.ModelError,
    ),
    "foreign": Refusal(
        lambda: explain(returning(lambda z: Stubborn())), "Stubborn, which is no array of numbers: none here",
        explain, pa.ModelError,
    ),
    "text": Refusal(
        lambda: explain(returning(lambda z: z.astype(str))), "of <U.*: expected an array of real numbers",
        lambda: explain(returning(lambda z: z.astype(str).astype(float))), pa.ModelError,
    ),
    "pair's scores": Refusal(
        lambda: explain((lambda x: x @ WEIGHTS, lambda x: x), target=0),
        r"shape \(\d, 4\) for \d points: expected one score for each, \(\d,\)\. For several .* NumpyModel\(",
        lambda: [explain(PAIR, target=0), explain(LINEAR)], pa.ModelError,
    ),
    "pair's gradient": Refusal(
        lambda: explain((PAIR[0], lambda x: x.sum(axis=1)), target=0),
        r"shape \(\d,\); expected that of the points, \(\d, 6\)",
        lambda: explain(PAIR, target=0), pa.ModelError,
    ),
}  # fmt: skip


class Stubborn:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("none here")


class Frame:
    def __init__(self, array):
        self.array = array

    def to_numpy(self):
        return self.array


def of_torch(x, returned=lambda z: z, **settings):
    import torch

    weights = torch.tensor(WEIGHTS)
    return explain(lambda x: returned(torch.as_tensor(x) @ weights), x=x, **settings)


MODELS = {
    "class": Refusal(lambda: explain(Frame), r"the class Frame: pass an object of it, Frame\(\.\.\.\)",
                     lambda: explain(LINEAR)),
    "backend": Refusal(lambda: explain(backend=3), r"a name \(jax, .*\) or a Backend class; got 3",
                       lambda: [explain(backend=b) for b in ("numpy", NumpyBackend)]),
    "backend's name": Refusal(lambda: explain(backend="numpi"), "unknown backend 'numpi'; the names are jax, numpy",
                              lambda: explain(backend="numpy")),
    "list": Refusal(lambda: explain(x=X.tolist()),
                    r"list belong to no backend.*pass np\.asarray\(inputs, dtype=float\)",
                    lambda: explain(x=np.asarray(X.tolist(), dtype=float))),
    "frame": Refusal(lambda: explain(x=Frame(X)),
                     r"Frame belong to .*pass inputs\.to_numpy\(\)\.astype\(float\), batch",
                     lambda: explain(x=Frame(X).to_numpy().astype(float))),
    "two frameworks": Refusal(
        lambda: explain(LINEAR, x=tensor()), "a numpy model with inputs of type .*Tensor: pass inputs of numpy",
        lambda: explain(LINEAR, x=tensor().numpy()),
    ),
    "no model": Refusal(lambda: explain(3), "the model is a .*int: pass a module or a callable of your framework",
                        explain),
    "option": Refusal(lambda: explain(backend_options={"compile": True}),
                      "numpy backend has no option compile; it has none",
                      lambda: explain(backend_options={})),
    "complex": Refusal(
        lambda: of_torch(tensor(), lambda z: z + 0j), r"complex128, and .*explain \.abs\(\), \.real or \.imag of it",
        lambda: of_torch(tensor(), lambda z: (z + 0j).real), pa.ModelError,
    ),
    "whole": Refusal(lambda: of_torch(tensor(), lambda z: z.int()), "int32, which is not .*output before any argmax",
                     lambda: of_torch(tensor(), lambda z: z), pa.ModelError),
    "input_name": Refusal(
        lambda: of_torch(tensor(), call={"input_name": "y"}), r"no argument 'y' \(input_name\).*by name are x",
        lambda: of_torch(tensor(), call={"input_name": "x"}),
    ),
}  # fmt: skip


def randomised(**settings):
    return randomisation(pa.PathExplainer(LINEAR, channel_axis=None, family="linear", steps=2), X, 1, **settings)


def random_models(rng):
    yield pa.NumpyModel(lambda x: x @ WEIGHTS[::-1], lambda x, c: c @ WEIGHTS[::-1].T)


SURGERY = {
    "device": Refusal(lambda: NumpyBackend.place(LINEAR, "cuda"), "numpy backend has no device 'cuda'; it has cpu",
                      lambda: NumpyBackend.place(LINEAR, "cpu")),
    "scenes": Refusal(lambda: scenes_model("numpy"), "numpy backend does not build.*say backend='torch'",
                      lambda: scenes_model("torch")),
    "layers": Refusal(randomised, "numpy backend cannot shuffle.*Pass models=, a function",
                      lambda: randomised(models=random_models)),
    "layers that are named": Refusal(lambda: randomised(layers=["fc"]), "numpy backend cannot shuffle.*Pass models=",
                                     lambda: randomised(models=random_models)),
    "no layer": Refusal(lambda: list(surgery.chosen({"fc": [1]}, ["conv"])), "no layer 'conv' with weights; it has fc",
                        lambda: list(surgery.chosen({"fc": [1]}, ["fc"]))),
}  # fmt: skip


def tensor():
    import torch

    return torch.tensor(X)


def beyond(limit, grad=False):
    """Return a model that is not finite where an entry is larger than the limit, or whose gradient is not."""

    def value(x):
        return x @ WEIGHTS if grad else np.where(x.max(axis=1, keepdims=True) > limit, np.nan, x @ WEIGHTS)

    def vjp(x, c):
        return np.where(grad and x.max() > limit, np.nan, c @ WEIGHTS.T)

    return pa.NumpyModel(value, vjp)


# The first of the classes has all the probability.
CERTAIN = pa.NumpyModel(lambda x: x[:, :1] * 0 + np.eye(4)[0], lambda x, c: x * 0)

FINITE = {
    "at the input": Refusal(
        lambda: explain(beyond(0.1), output="raw"), r"image 0: .* is not finite at α = 1, the input itself.*look at",
        lambda: explain(beyond(9.0), output="raw"), pa.ModelError,
    ),
    "at the baseline": Refusal(
        lambda: explain(beyond(9.0), output="raw", baseline=10.0), r"α = 0, the baseline itself",
        lambda: explain(beyond(99.0), output="raw", baseline=10.0), pa.ModelError,
    ),
    "a probability of 0": Refusal(
        lambda: explain(CERTAIN, link="already", output="log_probability"),
        r"is not finite.*output='probability' where the logarithm is of 0",
        lambda: explain(CERTAIN, link="already", output="probability"), pa.ModelError,
    ),
    "along the path": Refusal(
        lambda: explain(beyond(0.1, grad=True), output="raw"),
        "gradient is not finite at α = .*choose another baseline or",
        lambda: explain(beyond(9.0, grad=True), output="raw"), pa.ModelError,
    ),
    "in a gradient": Refusal(
        lambda: explain(beyond(0.1, grad=True), explainer=pa.GradientInput, output="raw"),
        "image 0: its gradient is not finite",
        lambda: explain(beyond(9.0, grad=True), explainer=pa.GradientInput, output="raw"), pa.ModelError,
    ),
}  # fmt: skip


def scaled(x, m):
    return x * m


SHARES = pa.NumpyModel(lambda x, m: (x * m[:, None] if m.shape == x.shape[:1] else x) @ WEIGHTS,
                       lambda x, c, m: c @ WEIGHTS.T * (m[:, None] if m.shape == x.shape[:1] else 1))  # fmt: skip
MIXED = pa.NumpyModel(lambda x, m: x @ WEIGHTS[:, :2] @ m, lambda x, c, m: c @ m.T @ WEIGHTS[:, :2].T)

ROWS = {
    "shared after all": Refusal(
        lambda: explain(MIXED, call={"args": (np.array([[1.0, 2], [3, 4.5]]),)}),
        r"args\[0\].*shape \(2, 2\).*as many rows as the batch, 2.*Say args=\(pathattr\.Shared\(array\),\)",
        lambda: explain(MIXED, call={"args": (pa.Shared(np.array([[1.0, 2], [3, 4.5]])),)}),
    ),
}  # fmt: skip

TABLE = tabled({
    "outputs": OUTPUTS, "targets": TARGETS, "heads": HEADS, "NumPy": NUMPY, "model": MODELS, "finite": FINITE,
    "rows": ROWS, "surgery": SURGERY,
})  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name):
    check(TABLE[name])


WHOLLY = (finiteness, heads, numpy_backend, outputs, returned, surgery, targets)


test_every_refusal_of_a_module_is_in_the_table = completeness(lambda factory: list(TABLE.values()), WHOLLY)
