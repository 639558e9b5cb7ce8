"""What metrics are computed on: a model with a batch of inputs, the class in question, and masks of the object."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pathattr.common.axes import Array
from pathattr.common.checks import check_finite, numbers, unmasked
from pathattr.common.files import read_plain
from pathattr.errors import InvalidInput, ModelError
from pathattr.integration.engine import Engine
from pathattr.integration.quadrature import RULES
from pathattr.methods.explainer import Question, QuestionOptions
from pathattr.models.targets import Objective, targets_of_callable
from pathattr.paths.schedules import LinearRamp
from pathattr.results.attribution import Attribution

ZIP = b"PK"  # how an archive begins
FIRST = 8  # outputs of an example: enough to tell two models apart


@dataclass(frozen=True)
class Judged:
    """What the model says of some points: the explained score, the target's probability, and if it is the top class.

    Without classes (a regression) probabilities are NaN and nothing is a hit.
    """

    score: Array
    probability: Array
    hit: NDArray[np.bool_]


class Subject(Question):
    """A model and a batch on which attributions are judged, by any metric of `pathattr.metrics`.

    `inputs` (batch, ...) are the user's, in any framework; `target` is the class in question (one, one per example, or
    None: the class predicted at the input). `masks`, (batch, *spatial) of booleans, or `boxes`, (batch, 4) as top,
    left, bottom, right in pixels, the last two exclusive, tell where the object is. `preprocessing` tells how pictures
    are normalised: what a metric does in raw image space needs it. The other options are `PathExplainer`'s;
    `batch_size` bounds the points in one call of the model. Metrics that draw at random draw from `seed`, the same
    for every example, wherever it stands in a batch. The class of a binary classifier with one output is the one that
    the output speaks for, of every example: it is a hit where its probability is above 1/2.

    Raises InvalidInput for what does not fit, ModelError as an explainer does.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        target: Any = None,
        *,
        masks: Any = None,
        boxes: Any = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        input_name: str | None = None,
        **options: Unpack[QuestionOptions],
    ) -> None:
        super().__init__(model, **options)
        self.inputs = inputs
        self.call = self.calling(args, kwargs, input_name)
        """How the model is called, for metrics that explain anew."""
        adapter, host, self.layout = self.prepared(inputs, self.call)
        if not adapter.has_outputs:
            raise InvalidInput(
                "metrics ask the model for its outputs, which a GradientCallback does not give: pass the model itself, "
                "or NumpyModel(value, vjp)"
            )
        self._engine = Engine(adapter, self.layout, LinearRamp(), RULES["midpoint"], self.most)
        self.examples = np.stack([self.layout.canonical(example) for example in host])
        """The inputs, (batch, channels, *spatial), float64; one channel where the user has none."""
        with self.running():
            self.check_arguments(self._engine, host)
            self.check_independence(self._engine, host, host[0] / 2)
            outputs = np.concatenate([adapter.to_numpy(part) for part in self._engine.outputs(host)])
        self.first_outputs = outputs.reshape(len(host), -1)[:, :FIRST].astype(np.float64)
        """The first few of the model's outputs at the inputs, before any link: by them a model is known again."""
        known = self.outputs_of(adapter, outputs)
        without = known.link == "identity" or (known.classes == 1 and known.link is None)
        self._probability = None if without else known.explained("probability", target)[0]
        """The objective of probabilities; None for a model without classes."""
        if callable(self.output):
            self._objective = Objective("callable", function=self.output)
            self._targets = targets_of_callable(target, len(host)) if without else known.targets(target)
        else:
            self._objective, self._targets = known.explained(self.output, target)
        if self._targets.shape[1] != 1:
            raise InvalidInput("metrics judge one class per example; a Contrast has two: pass its first as target")
        self.masks = _masks(masks, boxes, self.spatial, len(host))
        own = self.judge(enumerate(self.examples))
        self.score, self.probability, self.hit = own.score, own.probability, own.hit
        """What the model says of the inputs themselves, (batch,) each."""

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def spatial(self) -> tuple[int, ...]:
        """The shape of a map: the spatial axes of an example."""
        return self.examples.shape[2:]

    @property
    def target(self) -> NDArray[np.intp]:
        """The class in question, (batch,), or (batch, axes) for dense outputs."""
        return self._targets[:, 0, 0] if self._targets.shape[2] == 1 else self._targets[:, 0]

    @property
    def object_masks(self) -> NDArray[np.bool_]:
        """The masks, (batch, *spatial); raises InvalidInput where none were given."""
        if self.masks is None:
            raise InvalidInput("this metric needs to know where the object is: Subject(..., masks=...) or boxes=...")
        return self.masks

    def needs_classes(self) -> None:
        """Raise InvalidInput for a model without classes."""
        if self._probability is None:
            raise InvalidInput(
                "this metric needs the probability of a class, and the model has one output without a link: if it is "
                "a binary classifier say link='sigmoid', or link='already' where it returns the probability"
            )

    @property
    def arithmetic(self) -> dict[str, str]:
        """In what precision the model runs, and what else its numbers depend on but the device, as text."""
        backend = self._engine.backend
        with self.running():
            conditions = {name: str(value) for name, value in backend.conditions.items() if name != "device"}
        given = str(getattr(backend.asarray(np.zeros(1)), "dtype", ""))
        # Frameworks call one type by several names: torch.float32, <dtype: 'float32'>.
        precision = re.search(r"[a-z]+\d+", given)
        return conditions | {"precision": precision.group() if precision else given}

    def rng(self) -> np.random.Generator:
        """Return a fresh generator: the same draws for every example."""
        return np.random.default_rng(self.seed)

    def running(self) -> AbstractContextManager[None]:
        """Hold the model ready; `judge` does it by itself."""
        return self._engine.backend.running()

    def maps(self, attributions: Attribution | Any | str | PathLike[str]) -> Array:
        """Return attributions from anywhere as (batch, channels, *spatial), float64.

        They are an `Attribution`, an array of any framework shaped like the inputs, or a file that
        `Attribution.save` or `np.save` wrote. A map without channels serves them all. Raises InvalidInput for another
        shape or values that are not finite.
        """
        if isinstance(attributions, str | PathLike):
            attributions = _from_file(attributions)
        if isinstance(attributions, Attribution):
            attributions = attributions.numpy()
        backend = self._engine.backend
        attributions = unmasked("attributions", attributions)
        native = type(backend).recognises_array(attributions)
        array = numbers(
            "attributions must be numbers, in one shape", backend.to_numpy(attributions) if native else attributions
        )
        check_finite("attributions", array)
        batch, channels = self.examples.shape[:2]
        if array.shape == (batch, *self.layout.shape):
            return np.stack([self.layout.canonical(example) for example in array])
        if self.layout.channel_axis is not None:
            single = list(self.layout.shape)
            single[self.layout.channel_axis] = 1
            if array.shape in ((batch, *self.spatial), (batch, *single)):
                array = array.reshape(batch, 1, *self.spatial)
                return np.repeat(array, channels, axis=1)
        raise InvalidInput(
            f"attributions of shape {array.shape} for inputs of shape {(batch, *self.layout.shape)}: expected the "
            f"inputs' shape, or one map each, {(batch, *self.spatial)}"
        )

    def held(self, example: Array) -> Array:
        """Return an example (channels, *spatial), float64, with the values that the model's dtype can hold."""
        backend = self._engine.backend
        return backend.to_numpy(backend.asarray(example)).astype(np.float64)

    def restored(self, examples: Array) -> Any:
        """Return examples (batch, channels, *spatial) as the user's inputs are: container, axes, dtype and device."""
        arranged = np.stack([self.layout.restore(example) for example in examples])
        return self._engine.backend.restore(arranged, self.inputs)

    def judge(self, points: Iterable[tuple[int, Array]]) -> Judged:
        """Return what the model says of points, each with the number of its example, canonical like `examples`.

        They are drawn as they are needed, a block at a time. Raises ModelError where a score is not finite.
        """
        scores, probabilities, hits = [np.empty(0)], [np.empty(0)], [np.empty(0, bool)]
        backend, source = self._engine.backend, iter(points)
        with self.running():
            while block := list(islice(source, self._engine.capacity)):
                rows = np.array([row for row, _ in block])
                host = np.stack([self.layout.restore(point) for _, point in block])
                parts = self._engine.outputs(host, rows)
                if callable(self.output):
                    score = self._engine.scores(host, self._objective, self._targets[rows], rows)
                else:
                    score = self._engine.scores_of(parts, self._objective, self._targets[rows])
                _check_judged(rows, score)
                outputs = np.concatenate([backend.to_numpy(part) for part in parts]).astype(np.float64)
                with np.errstate(invalid="ignore"):  # ∞ − ∞ of another class is NaN, and told as such
                    probability, hit = self._classes(outputs, self._targets[rows, 0])
                if self._probability is not None:
                    _check_judged(rows, probability)
                scores.append(score)
                probabilities.append(probability)
                hits.append(hit)
        return Judged(np.concatenate(scores), np.concatenate(probabilities), np.concatenate(hits))

    def _classes(self, outputs: Array, index: NDArray[np.intp]) -> tuple[Array, NDArray[np.bool_]]:
        """Return the target's probability, and whether it is the top class, (points,) each."""
        if self._probability is None:
            return np.full(len(outputs), np.nan), np.zeros(len(outputs), bool)
        rows, link = np.arange(len(outputs)), self._probability.link
        if int(np.prod(outputs.shape[1:])) == 1:  # a binary classifier's one output
            value = outputs.reshape(-1)
            probability = special.expit(value) if link == "sigmoid" else value
            return probability, probability > 0.5
        axis = self._probability.class_axis
        place = [index[:, i] for i in range(index.shape[1])]
        chosen = place.pop(axis - 1)
        # The outputs of all classes at the target's place: a plain classifier has no other axes.
        classes = np.moveaxis(outputs, axis, -1)[(rows, *place)]
        linked = {
            "softmax": lambda x: special.softmax(x, axis=-1),
            "sigmoid": special.expit,
            "identity": lambda x: x,
        }[link](classes)
        return linked[rows, chosen], classes.argmax(axis=-1) == chosen


def _check_judged(rows: NDArray[np.intp], values: Array) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise ModelError(
            f"image {rows[~finite][0]}: the model's score is not finite where a metric changed the input: look at the "
            "model there, or judge another output"
        )


def _masks(masks: Any, boxes: Any, spatial: tuple[int, ...], batch: int) -> NDArray[np.bool_] | None:
    if masks is not None and boxes is not None:
        raise InvalidInput("the object is told by masks or by boxes, not by both: leave one out")
    if boxes is not None:
        return _boxed(boxes, spatial, batch)
    if masks is None:
        return None
    array = numbers("masks must be booleans, or 0 and 1, in one shape", masks)
    if array.shape != (batch, *spatial):
        raise InvalidInput(f"masks have shape {array.shape}; expected one per example, {(batch, *spatial)}")
    if not np.isin(array, (0, 1)).all():
        raise InvalidInput("masks are booleans, or 0 and 1: threshold soft masks first")
    return array.astype(bool)


def _boxed(boxes: Any, spatial: tuple[int, ...], batch: int) -> NDArray[np.bool_]:
    array = numbers("boxes are (batch, 4): top, left, bottom, right in pixels", boxes)
    if array.shape != (batch, 4) or len(spatial) != 2:
        raise InvalidInput(f"boxes are (batch, 4) for pictures of two axes; got {array.shape} for {spatial}")
    found = np.zeros((batch, *spatial), bool)
    for mask, (top, left, bottom, right) in zip(found, array, strict=True):
        if not (0 <= top < bottom <= spatial[0] and 0 <= left < right <= spatial[1]):
            raise InvalidInput(
                f"box {(top, left, bottom, right)} does not lie in a picture of {spatial[0]} × {spatial[1]} pixels: "
                "expected top, left, bottom, right with the last two exclusive"
            )
        mask[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return found


def _from_file(path: str | PathLike[str]) -> Any:
    """Return what a file holds: an Attribution, or an array of `np.save`; nothing is unpickled."""
    try:
        data = read_plain(path)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror or error}; check the path") from error
    if data[: len(ZIP)] == ZIP:  # an archive of several arrays, as an Attribution is, whatever the file is called
        return Attribution.load(path)
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy's own sentences advise what must not be done with a foreign file
        raise InvalidInput(
            f"{path} is no file of attributions: expected numbers that Attribution.save or np.save wrote; files of "
            "Python objects are never read"
        ) from error
    return found
