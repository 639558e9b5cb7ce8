"""What every explainer shares: the model, what is explained of it, the baseline, and how calls are answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from pathattr.common.axes import Array, Layout
from pathattr.common.checks import check_finite, flag, is_auto, is_whole, named_options, numbers, unmasked, whole
from pathattr.errors import InvalidInput, MissingExtra
from pathattr.integration.engine import Engine, Progress
from pathattr.methods.replay import Replayed, parameters
from pathattr.models.arguments import Call
from pathattr.models.backend import Backend
from pathattr.models.finiteness import check_finite_at
from pathattr.models.inputs import checked, fitted_starts, plain
from pathattr.models.memory import ON_HOST, fitting
from pathattr.models.outputs import Outputs
from pathattr.models.registry import wrapped
from pathattr.models.rows import Answer, check_arguments, check_independence, check_mapped, spacing_of
from pathattr.models.targets import (
    Link,
    Objective,
    Output,
    check_options,
    objective_of_callback,
    targets_of_callable,
    targets_of_callback,
)
from pathattr.paths.baselines import Baseline, Context, Samples, baseline_from
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.results.attribution import Attribution, Components

VERSION = version("pathattr")  # read from a file: once


class QuestionOptions(TypedDict, total=False):
    """How a question is put, by name; `PathExplainer` says what each option means."""

    output: Output | Callable[[Any], Any] | None
    link: Link | None
    preprocessing: Preprocessing | None
    channel_axis: int | None | Literal["auto"]
    class_axis: int | None
    head: str | int | None
    batch_size: int | Literal["auto"]
    seed: int
    backend: str | type[Backend] | None
    backend_options: Mapping[str, Any] | None


class ExplainerOptions(QuestionOptions, total=False):
    """What can be asked of any explainer, by name."""

    baseline: Any
    progress: bool | Progress


@dataclass(frozen=True)
class EndScores:
    """What is explained of a batch, and the score at both ends: (batch,) and (batch, references)."""

    objective: Objective
    targets: NDArray[np.intp]
    score: Array
    start_scores: Array
    passes: int
    """Forward passes that it took."""


class Question:
    """A model and what is asked of it: the explained number, its target, and how its inputs are laid out."""

    def __init__(
        self,
        model: Any,
        *,
        output: Output | Callable[[Any], Any] | None = None,
        link: Link | None = None,
        preprocessing: Preprocessing | None = None,
        channel_axis: int | None | Literal["auto"] = "auto",
        class_axis: int | None = None,
        head: str | int | None = None,
        batch_size: int | Literal["auto"] = 32,
        seed: int = 0,
        backend: str | type[Backend] | None = None,
        backend_options: Mapping[str, Any] | None = None,
    ) -> None:
        check_options(output, link)
        if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
            raise InvalidInput(f"preprocessing must be a Preprocessing(mean, std); got {preprocessing!r}")
        self.model, self.preprocessing = model, preprocessing
        self.output, self.link = output, link
        # A record is saved as plain numbers; what is none is refused where the outputs are known.
        self.class_axis = class_axis if class_axis is None or not is_whole(class_axis) else int(class_axis)
        if head is not None and not isinstance(head, str) and not is_whole(head):
            raise InvalidInput(f"head is the name or the number of one of the model's outputs; got {head!r}")
        self.channel_axis, self.head = channel_axis, head
        self.batch_size: int | Literal["auto"] = "auto" if is_auto(batch_size) else whole("batch_size", batch_size)
        self.seed = whole("seed", seed, least=0)
        self._checked: set[Hashable] = set()
        self.backend, self.backend_options = backend, named_options(backend_options)

    @property
    def most(self) -> int:
        """The points that the model may see at once before more is known of its memory."""
        return ON_HOST if self.batch_size == "auto" else self.batch_size

    def prepared(self, inputs: Any, call: Call) -> tuple[Backend, Array, Layout]:
        """Return the backend around the model, the inputs on the host and their layout; raises as a call does."""
        inputs = plain(inputs)
        backend = wrapped(self.model, inputs, call, self.backend, self.backend_options)
        host = checked(backend, inputs)
        return backend, host, Layout.of(host.shape, self.channel_axis, backend.channel_axis)

    def calling(self, args: Any, kwargs: Any, input_name: Any) -> Call:
        """Return how the model is called; raise InvalidInput for further arguments of the wrong kind."""
        return Call.of(args, kwargs, input_name, self.head)

    def resolved(
        self, engine: Engine, host: Array, target: Any, passes: Sequence[Any] | None = None
    ) -> tuple[Objective, NDArray[np.intp], Array]:
        """Return what is explained, the targets (batch, 1 or 2, output axes) and the score at the inputs.

        `passes` are the model's outputs there, where they are known.
        """
        backend = engine.backend
        if callable(self.output) or not backend.has_outputs:
            if callable(self.output):
                objective, targets = Objective("callable", function=self.output), targets_of_callable(target, len(host))
            else:
                objective, targets = objective_of_callback(self.output), targets_of_callback(target, len(host))
            return objective, targets, engine.scores(host, objective, targets, np.arange(len(host)))
        passes = engine.outputs(host) if passes is None else passes
        outputs = self.outputs_of(backend, np.concatenate([backend.to_numpy(part) for part in passes]))
        objective, targets = outputs.explained(self.output, target)
        return objective, targets, engine.scores_of(passes, objective, targets)

    def check_arguments(self, engine: Engine, host: Array) -> int:
        """Raise InvalidInput for a further argument that may be meant in two ways; return how many passes it took."""
        backend, call = engine.backend, engine.backend.call
        case = self._case("arguments", engine, host)
        if not backend.has_outputs or not call.leaves or case in self._checked:
            return 0
        native = backend.asarray(host)

        def read(other: Call) -> Answer:
            return self._answers(type(backend)(self.model, native, other, {**backend.options, **self.backend_options}))

        answer = self._answers(backend)
        check = check_mapped if backend.maps_examples else check_arguments
        check(answer, read, call, host, spacing_of(backend, backend.to_numpy(native[:1]).dtype))
        self._note(case, backend)
        return answer.shown

    def check_independence(self, engine: Engine, host: Array, probe: Array) -> int:
        """Warn where outputs depend on batch-mates; return the forward passes it took.

        `probe` is another point of the first example.
        """
        backend = engine.backend
        mixed = backend.has_outputs and not backend.maps_examples and engine.capacity > 1
        case = self._case("independence", engine, host)
        if not mixed or case in self._checked:
            return 0
        answer = self._answers(backend)

        def filled(points: Array, rows: NDArray[np.intp]) -> NDArray[Any]:
            own = engine.filled(np.arange(len(points)))
            return answer(points[own], rows[own])[: len(points)]

        check_independence(filled, host[0], probe, spacing_of(backend, backend.to_numpy(backend.asarray(probe)).dtype))
        self._note(case, backend)
        return answer.shown

    def _case(self, what: str, engine: Engine, host: Array) -> Hashable:
        """Return what a check depends on but for the values of arrays."""
        leaves = engine.backend.call.leaves
        marks = tuple((leaf.mark, tuple(leaf.value.shape)) if leaf.is_array else None for leaf in leaves)
        return what, host.shape, engine.backend.call.structure, marks

    def _note(self, case: Hashable, backend: Backend) -> None:
        """Take note of a check that was passed, where another shape of a block is another trace: one will do."""
        if backend.static_shapes:
            self._checked.add(case)

    def _answers(self, backend: Backend) -> Answer:
        """Return what gives that of the model's outputs which is explained."""
        if not callable(self.output):
            return Answer(backend, backend.outputs)
        objective = Objective("callable", function=self.output)
        return Answer(
            backend, lambda points, rows: backend.scores(points, objective, targets_of_callable(None, len(rows)), rows)
        )

    def outputs_of(self, backend: Backend, values: NDArray[Any]) -> Outputs:
        """Return the model's outputs at the inputs with what the user, the model and its framework say of them."""
        return Outputs.of(values, backend, self.link, self.class_axis)


class Explainer(Question, Replayed, ABC):
    """Attributes a model's score to its inputs; one method of doing so is a subclass with `_attribute`."""

    own_settings: ClassVar[tuple[str, ...]] = ()
    """The names of a method's own options: those of its constructor that are not in `ExplainerOptions`."""

    def __init__(
        self, model: Any, *, baseline: Any = None, progress: bool | Progress = False, **options: Unpack[QuestionOptions]
    ) -> None:
        super().__init__(model, **options)
        self.baseline = baseline_from(baseline, self.preprocessing)
        self.blocks: dict[tuple[int, ...], int] = {}  # what batch_size="auto" found, by the shape of an example
        self.progress = progress if callable(progress) else flag("progress", progress, ", or a callable (done, total)")

    def __call__(
        self,
        inputs: Any,
        target: Any = None,
        *,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        input_name: str | None = None,
    ) -> Attribution:
        """Attribute a batch of inputs, (batch, ...) floating-point numbers in the user's framework.

        `target` is a class index, one per example, a tuple index for dense outputs (positions may count from the end,
        as in (-1, token)), `Contrast(a, b)`, or None for the class predicted at the input.

        `args` (a tuple; an array is one argument) and `kwargs` are passed to the model along with the inputs. Among
        them, in dicts, lists, tuples, named tuples and dataclasses, arrays of any framework that have a row for every
        example are repeated for every node, and others are passed as they are. `Shared(x)` and `PerExample(x, axis=0)`
        say which; of an array that is not marked and has as many rows as the batch, the model's own answer on the
        batch must come out again, or the call is refused. `input_name` passes the inputs by keyword, such as
        "inputs_embeds".

        Raises InvalidInput for inputs, baselines or targets that do not fit, and ModelError where the model is in
        training mode, not differentiable, or not finite along the path (naming image and α).
        """
        backend, host, layout = self.prepared(inputs, self.calling(args, kwargs, input_name))
        with backend.running(), _reporting(self.progress) as progress:
            return self._attribute(backend, inputs, host, layout, target, progress)

    @abstractmethod
    def _attribute(
        self, backend: Backend, inputs: Any, host: Array, layout: Layout, target: Any, progress: Progress
    ) -> Attribution:
        """Return the attributions of a batch: `inputs` as the caller has them, `host` the same on the host."""

    def __repr__(self) -> str:
        """Return the call that makes this explainer: what was decided, but for what is as ever."""
        usual = parameters(type(self))
        found = {name: repr(getattr(self, name)) for name in (*self.own_settings, *QuestionOptions.__annotations__)}
        told = [f"{name}={value}" for name, value in found.items() if value not in (repr(usual.get(name)), "{}")]
        return f"{type(self).__name__}({', '.join(['model', *told, f'baseline={described(self.baseline)}'])})"

    @property
    def method(self) -> str:
        """What a record calls the method: its name and its own options."""
        own = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.own_settings)
        return f"{type(self).__name__}({own})"

    def starts(self, backend: Backend, host: Array, layout: Layout) -> Array:
        """Return the baselines (batch, references, *example), as the model's dtype can hold them."""
        if isinstance(self.baseline, Baseline):
            made = []
            for example in host:
                context = Context(self.preprocessing, np.random.default_rng(self.seed))
                canonical = layout.canonical(example)
                # Copies: a baseline may write into the example that it is given, and return one buffer for all.
                start = numbers(f"{self.baseline!r} must return numbers", self.baseline(canonical.copy(), context))
                if start.shape != canonical.shape:
                    raise InvalidInput(
                        f"{self.baseline!r} returned shape {start.shape} for an example of shape {canonical.shape}: "
                        "return x' of the example's shape"
                    )
                made.append(layout.restore(start))
            starts = np.stack(made)[:, None]
        else:
            samples = isinstance(self.baseline, Samples)
            given = unmasked("the baseline", self.baseline.array if samples else self.baseline)
            native = type(backend).recognises_array(given)
            array = numbers(
                "a baseline array must hold numbers, in one shape", backend.to_numpy(given) if native else given
            )
            check_finite("the baseline", array)
            starts = fitted_starts(array, host.shape, samples)
        check_finite("the baseline", starts)
        with np.errstate(over="ignore"):  # said in the next line but one
            starts = backend.to_numpy(backend.asarray(starts)).astype(np.float64)
        check_finite("the baseline in the model's precision", starts)
        return starts

    def _ends(self, engine: Engine, host: Array, starts: Array, target: Any) -> EndScores:
        """Return what is explained and the scores at inputs and baselines; raise ModelError unless they are finite."""
        batch, references = starts.shape[:2]
        shown = self.check_arguments(engine, host)
        rows = np.repeat(np.arange(batch), references)
        flat = starts.reshape(-1, *host.shape[1:])
        if engine.backend.has_outputs and not callable(self.output) and batch + len(flat) <= engine.capacity:
            # Both ends in one block: where blocks are filled up to one shape, a second would cost as much again.
            (both,) = engine.outputs(np.concatenate([host, flat]), np.concatenate([np.arange(batch), rows]))
            at_inputs, at_starts = (
                engine.backend.take(both, part) for part in np.split(np.arange(batch + len(flat)), [batch])
            )
            objective, targets, score = self.resolved(engine, host, target, [at_inputs])
            start_scores = engine.scores_of([at_starts], objective, targets[rows])
        else:
            objective, targets, score = self.resolved(engine, host, target)
            start_scores = engine.scores(flat, objective, targets[rows], rows)
        start_scores = start_scores.reshape(batch, references)
        if engine.backend.has_values:
            check_finite_at(range(batch), score, None, lambda point: "at α = 1, the input itself")
            check_finite_at(range(batch), start_scores.sum(axis=1), None, lambda point: "at α = 0, the baseline itself")
        shown += self.check_independence(engine, host, (host[0] + starts[0, 0]) / 2)
        return EndScores(objective, targets, score, start_scores, batch + len(flat) + shown)

    def _block(self, engine: Engine, host: Array, ends: EndScores) -> int:
        """Return how many points the model sees at once: as asked, or what fits."""
        if self.batch_size != "auto":
            return self.batch_size
        shape = host.shape[1:]
        if shape not in self.blocks:
            first = partial(_first_gradients, engine, host[:1], ends.objective, ends.targets[:1])
            self.blocks[shape] = fitting(engine.backend, first)
        return self.blocks[shape]

    def _answer(
        self,
        engine: Engine,
        inputs: Any,
        ends: EndScores,
        attributions: Array,
        *,
        evaluations: NDArray[np.intp],
        forward_passes: int,
        lowest: Array | None = None,
        highest: Array | None = None,
        error: Array | None = None,
        components: Components | None = None,
        settings: Mapping[str, Any],
    ) -> Attribution:
        """Return the result: `attributions` is float64, (batch, *example); `settings` are the method's own."""
        batch = len(attributions)
        baseline_score = ends.start_scores.mean(axis=1)
        low = np.minimum(ends.score, ends.start_scores.min(axis=1))
        high = np.maximum(ends.score, ends.start_scores.max(axis=1))
        layout = engine.layout
        return Attribution(
            attributions=engine.backend.restore(attributions, inputs),
            components=components,
            score=ends.score,
            baseline_score=baseline_score,
            gap=attributions.reshape(batch, -1).sum(axis=1) - (ends.score - baseline_score),
            target=_as_written(ends.targets),
            lowest=low if lowest is None else np.minimum(low, lowest),
            highest=high if highest is None else np.maximum(high, highest),
            evaluations=evaluations,
            error=np.full(batch, np.nan) if error is None else error,
            forward_passes=forward_passes,
            settings={
                "pathattr": VERSION,
                "backend": engine.backend.name,
                **settings,
                "baseline": described(self.baseline),
                "output": ends.objective.kind,
                "link": ends.objective.link,
                "preprocessing": None if self.preprocessing is None else repr(self.preprocessing),
                "channel_axis": None if layout.channel_axis is None else layout.channel_axis + 1,
                "class_axis": self.class_axis,
                "head": self.head,
                "batch_size": self.batch_size,
                "seed": self.seed,
                **engine.backend.conditions,
            },
            channel_axis=layout.channel_axis,
        )


def described(baseline: Any) -> str:
    """Return how a record calls a baseline."""
    if isinstance(baseline, Baseline | Samples):
        return repr(baseline)
    return f"array of shape {tuple(np.shape(baseline))}"


def _first_gradients(engine: Engine, point: Array, objective: Objective, targets: NDArray[np.intp], count: int) -> None:
    """Take so many gradients at one point."""
    rows = np.zeros(count, np.intp)
    engine.gradients(engine.backend.asarray(point[rows]), objective, targets[rows], rows)


@contextmanager
def _reporting(progress: bool | Progress) -> Iterator[Progress]:
    """Hold what is told about progress: nothing, the user's callable, or rich's bar."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        try:
            from rich.progress import Progress as Bar
        except ImportError as error:
            raise MissingExtra.of("rich", "cli", "progress=True") from error
        with Bar(transient=True) as bar:
            task = bar.add_task("gradients")
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _as_written(targets: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return resolved targets (batch, 1 or 2, axes) without the axes that a user would not write."""
    targets = targets[:, :, 0] if targets.shape[2] == 1 else targets
    targets = np.zeros(targets.shape[:2], np.intp) if 0 in targets.shape else targets
    return targets[:, 0] if targets.shape[1] == 1 else targets
