"""Whatever is refused of inputs, baselines and settings says what to do, and doing it works."""

import numpy as np
import pytest

import pathattr as pa
from advising import Refusal, check, completeness, tabled
from pathattr.common import axes, names
from pathattr.families import svd, wavelet
from pathattr.integration import nodes
from pathattr.methods import adaptive_explainer, gradients, replay, settings
from pathattr.models import arguments
from pathattr.paths import baselines, orderings
from pathattr.pictures import preprocessing

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 6))
SERIES = rng.normal(size=(2, 3, 8))
PICTURES = rng.normal(size=(2, 3, 4, 4))


def value(x, *further, **named):
    """Return outputs (points, 4): fixed weights on all features, on both sides of 0 and summing to nothing special."""
    flat = x.reshape(len(x), -1)
    return np.stack([np.sin(k + flat).sum(axis=1) for k in range(4)], axis=1)


def vjp(x, cotangent, *further, **named):
    flat = x.reshape(len(x), -1)
    return sum(cotangent[:, k, None] * np.cos(k + flat) for k in range(4)).reshape(x.shape)


MODEL = pa.NumpyModel(value, vjp)


def explain(x=X, target=1, *, call=None, **settings):
    usual = {"family": "linear", "steps": 4}
    if x.ndim != 4:
        usual["channel_axis"] = None
    return pa.PathExplainer(MODEL, **usual | settings)(x, target, **call or {})


def objects(x):
    return np.array([[float(v) for v in row] for row in x], dtype=object)


def of_fields(x):
    from numpy.lib import recfunctions

    return recfunctions.unstructured_to_structured(x, dtype=[(f"f{i}", float) for i in range(x.shape[1])])


def to_numbers(x):
    from numpy.lib import recfunctions

    return recfunctions.structured_to_unstructured(x)


class OutOfShape(pa.Baseline):
    def __init__(self, crop=1):
        self.crop = crop

    def __call__(self, example, context):
        return np.zeros_like(example[..., self.crop :])


class Doubled(pa.Ordering):
    def __init__(self, top=2.0):
        self.top = top

    def spectra(self, facts, rng):
        return np.full(facts.energy.shape, self.top)


GAP = np.where(np.arange(6) == 2, np.nan, X)
MASKED = np.ma.masked_invalid(GAP)

INPUTS = {
    "one example": Refusal(
        lambda: explain(X[0]), r"got shape \(6,\): one example is x\[None\]", lambda: explain(X[0][None])
    ),
    "no example": Refusal(lambda: explain(X[:0]), r"non-empty batch.*got shape \(0, 6\)", lambda: explain(X[:1])),
    "not finite": Refusal(
        lambda: explain(GAP), r"2 values are NaN.*first at index \(0, 2\)", lambda: explain(np.nan_to_num(GAP))
    ),
    "masked": Refusal(lambda: explain(MASKED), r"2 entries masked.*array\.filled\(0\)",
                      lambda: explain(MASKED.filled(0))),
    "whole numbers": Refusal(
        lambda: explain(np.arange(12).reshape(2, 6)), r"got int64.*as floats \(x / 255", lambda: explain(X / 255)
    ),
    "complex": Refusal(
        lambda: explain(X + 1j), r"got complex128.*np\.stack\(\[x\.real, x\.imag\], axis=1\)",
        lambda: (lambda x: explain(np.stack([x.real, x.imag], axis=1)))(X + 1j),
    ),
    "objects": Refusal(
        lambda: explain(objects(X)), r"got object.*x\.astype\(float\)", lambda: explain(objects(X).astype(float))
    ),
    "text": Refusal(
        lambda: explain(X.astype(str)), r"got <U.*x\.astype\(float\)", lambda: explain(X.astype(str).astype(float))
    ),
    "moments": Refusal(
        lambda: explain((X * 1e3).astype("M8[s]")),
        r"got datetime64\[s\].*\(x - x\.min\(\)\) / np\.timedelta64\(1, 's'\)",
        lambda: (lambda x: explain((x - x.min()) / np.timedelta64(1, "s")))((X * 1e3).astype("M8[s]")),
    ),
    "durations": Refusal(
        lambda: explain((X * 1e3).astype("m8[s]")), r"got timedelta64\[s\].*x / np\.timedelta64\(1, 's'\)",
        lambda: explain((X * 1e3).astype("m8[s]") / np.timedelta64(1, "s")),
    ),
    "fields": Refusal(
        lambda: explain(of_fields(X)), r"f0.*structured_to_unstructured\(x\)", lambda: explain(to_numbers(of_fields(X)))
    ),
    "overflows in float16": Refusal(
        lambda: explain(X.astype(np.float16), baseline=np.full(6, 1e6)),
        r"the model's precision must be finite.*infinite",
        lambda: explain(X.astype(np.float32), baseline=np.full(6, 1e6)),
    ),
}  # fmt: skip

LAYOUTS = {
    "series": Refusal(
        lambda: explain(SERIES, channel_axis="auto"), r"shape \(2, 3, 8\).*Pass channel_axis=1.*channel_axis=None",
        lambda: [explain(SERIES, channel_axis=1), explain(SERIES, channel_axis=None)],
    ),
    "no batch": Refusal(lambda: axes.Layout.of((3,), None, 1), r"got shape \(3,\): one example is x\[None\]",
                        lambda: axes.Layout.of((1, 3), None, 1)),
    "not known": Refusal(
        lambda: axes.Layout.of((2, 3, 4, 5), "auto", None),
        r"channel_axis=1 if they are the axis of length 3, channel_axis=-1 if that of length 5.*channel_axis=None",
        lambda: [axes.Layout.of((2, 3, 4, 5), axis, None) for axis in (1, -1, 2, None)],
    ),
    "type": Refusal(lambda: explain(PICTURES, channel_axis="first"), "an int, None or 'auto'; got 'first'",
                    lambda: [explain(PICTURES, channel_axis=axis) for axis in (1, None, "auto")]),
    "batch axis": Refusal(
        lambda: explain(PICTURES, channel_axis=0), r"channel_axis=0 is not an axis after the batch.*\(2, 3, 4, 4\)",
        lambda: explain(PICTURES, channel_axis=1),
    ),
    "features": Refusal(lambda: explain(channel_axis=1), r"shape \(2, 6\).*pass channel_axis=None",
                        lambda: explain(channel_axis=None)),
    "many axes": Refusal(
        lambda: explain(X.reshape(2, 6, *(1,) * 7)), r"have 8 spatial axes; at most 6.*reshape",
        lambda: explain(X.reshape(2, 6, *(1,) * 7).reshape(2, 6, -1)),
    ),
}  # fmt: skip

BASELINES = {
    "unknown": Refusal(lambda: explain(baseline="blakc"), r"unknown baseline 'blakc'.*'black'.*Did you mean 'black'\?",
                       lambda: explain(PICTURES, baseline="black", preprocessing=pa.Preprocessing())),
    "class": Refusal(lambda: explain(baseline=pa.Mean), r"baseline=Mean is a class; pass an object: Mean\(\)",
                     lambda: explain(baseline=pa.Mean())),
    "other": Refusal(lambda: explain(baseline=[0.0] * 6), r"a number, an array or Samples\(array\); got \[0\.0",
                     lambda: explain(baseline=np.array([0.0] * 6))),
    "raw pixels": Refusal(
        lambda: explain(PICTURES, baseline="white"), r"White\(\).*pass preprocessing=Preprocessing\(mean, std\), or",
        lambda: [explain(PICTURES, baseline="white", preprocessing=p)
                 for p in (pa.Preprocessing(0.5, 0.2), pa.Preprocessing())],
    ),
    "shape": Refusal(
        lambda: explain(baseline=np.zeros((3, 6))), r"shape \(3, 6\).*one example, \(6\).*\(2, 6\).*Samples\(array\)",
        lambda: [explain(baseline=b) for b in (np.zeros(6), np.zeros((2, 6)), pa.Samples(np.zeros((3, 6))))],
    ),
    "per channel": Refusal(
        lambda: explain(PICTURES, baseline=np.zeros(3)),
        r"shape \(3,\).*for one number per channel Constant\(\[\.\.\.\]\)",
        lambda: explain(PICTURES, baseline=pa.Constant([0.0] * 3)),
    ),
    "samples": Refusal(
        lambda: explain(baseline=pa.Samples(np.zeros(6))), r"Samples need the shape \(references, 6\); got \(6,\)",
        lambda: explain(baseline=pa.Samples(np.zeros((1, 6)))),
    ),
    "constant": Refusal(
        lambda: pa.Constant(np.zeros((2, 2))), "one per channel; got array.*pass the array itself as baseline=",
        lambda: explain(PICTURES, baseline=np.zeros((3, 4, 4))),
    ),
    "channels": Refusal(
        lambda: explain(PICTURES, baseline=pa.Constant([0.0, 1.0])), "2 channel values; the input has 3 channels.*give",
        lambda: [explain(PICTURES, baseline=pa.Constant(b)) for b in (0.5, [0.0, 1.0, 2.0])],
    ),
    "not finite": Refusal(
        lambda: explain(baseline=GAP[0]), "the baseline must be finite; 1 values are NaN",
        lambda: explain(baseline=np.nan_to_num(GAP[0])),
    ),
    "blur": Refusal(lambda: pa.Blur(0), "sigma > 0; got 0", lambda: explain(PICTURES, baseline=pa.Blur(0.5))),
    "kernel": Refusal(lambda: pa.Blur(kernel=4), "odd kernel of at least 1 pixel, or None; got 4",
                      lambda: [explain(PICTURES, baseline=pa.Blur(kernel=k)) for k in (3, None)]),
    "diffused": Refusal(lambda: pa.Diffused(-1), "sigma > 0, in pixels; got -1",
                        lambda: explain(PICTURES, baseline=pa.Diffused(1))),
    "uniform": Refusal(lambda: pa.UniformNoise(1, 0), "low <= high; got low=1, high=0",
                       lambda: explain(baseline=pa.UniformNoise(0, 1))),
    "uniform by the example": Refusal(
        lambda: explain(baseline=pa.UniformNoise(low=100.0)), r"the example makes them 100\.0 and.*say both",
        lambda: explain(baseline=pa.UniformNoise(low=100.0, high=101.0)),
    ),
    "gaussian": Refusal(lambda: pa.GaussianNoise(0, -1), "std >= 0; got .*-1",
                        lambda: explain(baseline=pa.GaussianNoise(0, 1))),
    "own": Refusal(
        lambda: explain(baseline=OutOfShape()), r"returned shape \(1, 5\) for an example of shape \(1, 6\).*return x'",
        lambda: explain(baseline=OutOfShape(0)),
    ),
}  # fmt: skip

PREPROCESSING = {
    "sizes": Refusal(lambda: pa.Preprocessing([0.1, 0.2], [1, 2, 3]), r"one per channel.*got mean=\[0\.1, 0\.2\]",
                     lambda: pa.Preprocessing([0.1, 0.2, 0.3], [1, 2, 3])),
    "spread": Refusal(lambda: pa.Preprocessing(0.5, 0), r"std > 0; got .*std=0", lambda: pa.Preprocessing(0.5, 0.2)),
    "channels": Refusal(
        lambda: explain(PICTURES, preprocessing=pa.Preprocessing([0.1, 0.2])),
        r"has 3 channels.*mean=\(0\.1, 0\.2\).*give",
        lambda: [explain(PICTURES, preprocessing=pa.Preprocessing(p)) for p in (0.1, [0.1, 0.2, 0.3])],
    ),
    "type": Refusal(lambda: explain(preprocessing=0.5), r"must be a Preprocessing\(mean, std\); got 0\.5",
                    lambda: explain(PICTURES, preprocessing=pa.Preprocessing(0.5, 0.2))),
}  # fmt: skip

PATHS = {
    "family": Refusal(lambda: explain(family="dtc"), "unknown family 'dtc'.*Did you mean 'dct'?",
                      lambda: explain(family="dct")),
    "family type": Refusal(lambda: explain(family=3), "a PathFamily or one of .*'svd'.*got 3",
                           lambda: [explain(SERIES, family=f) for f in ("svd", pa.SVD())]),
    "no matrix": Refusal(
        lambda: explain(family="svd"),
        r"6 features along one axis.*Use Linear\(\), DCT\(\), Wavelet\(\) or Laplacian\(\)",
        lambda: [explain(family=f) for f in (pa.Linear(), pa.DCT(), pa.Wavelet(), pa.Laplacian())],
    ),
    "one axis": Refusal(
        lambda: explain(SERIES, family="svd", channel_axis=1), r"3 channels and length 8.*use SVD\(channels='joint'\)",
        lambda: explain(SERIES, family=pa.SVD(channels="joint"), channel_axis=1),
    ),
    "one of": Refusal(lambda: pa.SVD(channels="both"), "one of 'separate', 'joint'; got 'both'",
                      lambda: [pa.SVD(channels=c) for c in ("separate", "joint")]),
    "wavelet": Refusal(lambda: pa.Wavelet("mexh"), "unknown discrete wavelet 'mexh'.*haar, db1-db38",
                       lambda: [explain(PICTURES, family=pa.Wavelet(w)) for w in ("haar", "db2")]),
    "unknown fact": Refusal(
        lambda: explain(PICTURES, family="svd", ordering="frequency"),
        r"needs components that have a frequency: DCT\(\).*takes Energy\(\), Rank\(\) and Shuffled\(\)",
        lambda: [explain(PICTURES, family="dct", ordering="frequency")]
        + [explain(PICTURES, family="svd", ordering=o) for o in (pa.Energy(), pa.Rank(), pa.Shuffled())],
    ),
    "diffusion": Refusal(lambda: pa.Diffusion(sigma=0), "sigma > 0, in pixels; got 0", lambda: pa.Diffusion(sigma=1)),
    "strengths": Refusal(lambda: explain(PICTURES, family="dct", ordering=Doubled()), r"in \[0, 1\], one a component",
                         lambda: explain(PICTURES, family="dct", ordering=Doubled(0.5))),
    "overlap": Refusal(lambda: pa.LinearRamp(overlap=1.5), r"between 0 and 1; got 1\.5",
                       lambda: pa.LinearRamp(overlap=1)),
    "gain": Refusal(lambda: pa.SigmoidRamp(gain=0), r"in \[0\.001, 100\]; got 0", lambda: pa.SigmoidRamp(gain=0.001)),
    "heat overlap": Refusal(lambda: pa.HeatRamp(overlap=0.4), r"leave overlap at 1; got 0\.4", lambda: pa.HeatRamp()),
    "heat strengths": Refusal(
        lambda: explain(PICTURES, family="dct", schedule=pa.HeatRamp()),
        r"Frequency\(.*\) says something else.*preset='blur-ig'.*or choose another schedule such as LinearRamp\(\)",
        lambda: [explain(PICTURES, family=None, preset="blur-ig"),
                 explain(PICTURES, family="dct", schedule=pa.LinearRamp())],
    ),
    "two sigmas": Refusal(
        lambda: explain(PICTURES, family=None, preset="blur-ig", baseline=pa.Diffused(20)),
        r"Diffusion\(.*sigma=35\.0\) and Diffused\(sigma=20\) name two: say both with the same",
        lambda: explain(PICTURES, family=None, preset="blur-ig", baseline=pa.Diffused(20),
                        ordering=pa.Diffusion(sigma=20)),
    ),
    "nodes": Refusal(lambda: explain(nodes=nodes.OutputAware(mixture=0)), r"mixture in \(0, 1\]; got 0",
                     lambda: explain(nodes=nodes.OutputAware(mixture=1))),
    "refined": Refusal(
        lambda: explain(steps="auto", nodes="uniform"), r"nodes=Uniform\(\) takes a number of steps.*\(nodes=None\)",
        lambda: [explain(steps="auto", nodes=None), explain(steps=4, nodes="uniform")],
    ),
    "jumps": Refusal(
        lambda: explain(PICTURES, family="dct", schedule=pa.LinearRamp(0), nodes="arc-length"),
        "ArcLength.*without jumps.*Choose ω > 0 and a continuous ramp, or nodes='uniform'",
        lambda: [explain(PICTURES, family="dct", schedule=pa.LinearRamp(0.1), nodes="arc-length"),
                 explain(PICTURES, family="dct", schedule=pa.LinearRamp(0), nodes="uniform")],
    ),
    "rule of refined": Refusal(
        lambda: explain(steps="auto", rule="left"), r"got rule='left': leave the rule out \(rule=None\), or",
        lambda: [explain(steps="auto", rule=None), explain(steps=4, nodes="uniform", rule="left")],
    ),
    "rule of jumps": Refusal(
        lambda: explain(PICTURES, family="dct", schedule=pa.StepRamp(jumps="published"), rule="midpoint"),
        "rule='left'; got rule='midpoint'.*leave the rule out.*say jumps='chord' in the schedule",
        lambda: [explain(PICTURES, family="dct", schedule=pa.StepRamp(jumps="published"), rule=None),
                 explain(PICTURES, family="dct", schedule=pa.StepRamp(jumps="chord"), rule="midpoint")],
    ),
    "tolerance": Refusal(lambda: explain(steps="auto", tolerance=2), "between 0 and 1; got 2",
                         lambda: explain(steps="auto", tolerance=0.2)),
    "tolerance of steps": Refusal(
        lambda: explain(tolerance=0.1), r"tolerance=0\.1.*here 4.*say steps='auto', or leave.*\(tolerance=None\)",
        lambda: [explain(tolerance=0.1, steps="auto"), explain(tolerance=None)],
    ),
    "unknown setting": Refusal(
        lambda: pa.PathExplainer(MODEL).but(step=3), "PathExplainer has no setting step; the names are .*, steps,",
        lambda: pa.PathExplainer(MODEL).but(steps=3),
    ),
    "steps": Refusal(lambda: explain(steps=0), "steps must be a whole number of at least 1; got 0",
                     lambda: explain(steps=1)),
    "flag": Refusal(lambda: explain(components="no"), "components must be True or False; got 'no'",
                    lambda: explain(components=False)),
    "options": Refusal(lambda: explain(backend_options=["compile"]), r"\{'name': value\}; got \['compile'\]",
                       lambda: explain(backend_options={})),
    "alpha": Refusal(lambda: pa.PathExplainer(MODEL, channel_axis=None, family="linear").path(X, 0.5),
                     "a list of positions between 0 and 1; got 0.5",
                     lambda: pa.PathExplainer(MODEL, channel_axis=None, family="linear").path(X, [0.5])),
    "path type": Refusal(lambda: pa.AdaptiveExplainer(MODEL, pa.GuidedIG), r"such as GuidedIG\(\); got <class",
                         lambda: pa.AdaptiveExplainer(MODEL, pa.GuidedIG(), channel_axis=None)(X, 1)),
    "guided": Refusal(lambda: pa.GuidedIG(fraction=2), r"fraction in \[0, 1\]; got 2", lambda: pa.GuidedIG(fraction=1)),
    "spread": Refusal(lambda: pa.SmoothGrad(MODEL, spread=-1), "at least 0; got -1",
                      lambda: pa.SmoothGrad(MODEL, spread=0.1, samples=2, channel_axis=None)(X, 1)),
}  # fmt: skip

ARGUMENTS = {
    "args": Refusal(lambda: explain(call={"args": 3}), r"got int: one argument is args=\(value,\)",
                    lambda: explain(call={"args": (3,)})),
    "kwargs": Refusal(lambda: explain(call={"kwargs": [3]}), r"got list: one argument is kwargs=\{'name': value\}",
                      lambda: explain(call={"kwargs": {"name": 3}})),
    "name": Refusal(lambda: explain(call={"input_name": 1}), "the name of .* for the inputs; got 1", explain),
    "twice": Refusal(
        lambda: arguments.Call.of((), {"x": 1}, "x"), "kwargs has 'x'.*leave it out of one of the two",
        lambda: [arguments.Call.of((), {}, "x"), arguments.Call.of((), {"x": 1}, None)],
    ),
    "axis": Refusal(lambda: explain(call={"args": (pa.PerExample(X, axis="rows"),)}),
                    "number of an axis; got axis='rows'",
                    lambda: explain(call={"args": (pa.PerExample(X, axis=0),)})),
    "marked": Refusal(
        lambda: explain(call={"args": (pa.PerExample(X.T),)}),
        r"args\[0\].*axis=0\), but has the shape \(6, 2\).*name the axis of length 2, or mark it pathattr\.Shared",
        lambda: [explain(call={"args": (m,)}) for m in (pa.PerExample(X.T, axis=1), pa.Shared(X.T))],
    ),
}  # fmt: skip

TABLE = tabled({
    "inputs": INPUTS, "layout": LAYOUTS, "baseline": BASELINES, "preprocessing": PREPROCESSING, "path": PATHS,
    "arguments": ARGUMENTS,
})  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name):
    check(TABLE[name])


WHOLLY = (
    adaptive_explainer, arguments, axes, baselines, gradients, names, nodes, orderings, preprocessing, replay, settings,
    svd, wavelet,
)  # fmt: skip


test_every_refusal_of_a_module_is_in_the_table = completeness(lambda factory: list(TABLE.values()), WHOLLY)
