"""A study: settings × examples, judged by metrics, resumable at any point."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

from pathattr.common.archives import Unreadable
from pathattr.common.checks import whole
from pathattr.common.files import open_plain
from pathattr.common.locking import hold
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput, warn
from pathattr.methods.explainer import Explainer
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject
from pathattr.studies.data import Batch, Data, batches, evenly
from pathattr.studies.fitness import check_baselines, check_masks
from pathattr.studies.plan import ModelAnswer, Plan
from pathattr.studies.setting import Setting, as_text, described_settings
from pathattr.studies.store import Found, Store, Unit, joined
from pathattr.studies.table import Table, tidy
from pathattr.studies.work import Work, asked, question

Target = Literal["label", "predicted"]


class Watch(Protocol):
    """Told how far a study is: so many of `total` units (a setting on a batch), and what is being done."""

    def __call__(self, done: float, total: int, doing: str) -> None:
        """Take note."""


class Study:
    """Judges every setting on the same examples, by all metrics, and keeps what it finds in the folder `out`.

    `run` does what is not yet done. Batches of `batch` examples are the outer loop and settings the inner one: wherever
    a study is stopped, all settings have been judged on the same first examples but for the batch in work, so what is
    there can be compared. One `Subject` a batch is shared by all settings that ask the model the same, and attributions
    are made once for all metrics. Each setting on each batch is one file, written whole or not at all, with a checksum:
    one that is damaged, or about something else, is named, set aside and made again. One process at a time can work on
    a study; a lock that ends with the process sees to it.

    `metrics` are by the name that tables call them. `target` is what is explained and judged: the examples' labels
    (the default where there are labels) or the class that the model predicts. `facts` say what else determines the
    results, such as the model's name; `record` goes into the plan besides. `show` examples get their maps in the
    figure. `classes` names the classes.

    Raises InvalidInput for names given twice, and for metrics that need masks where an example has none.
    """

    def __init__(
        self,
        data: Data,
        settings: Iterable[Setting],
        metrics: Mapping[str, Metric],
        out: str | Path,
        *,
        target: Target | None = None,
        batch: int = 10,
        seed: int = 0,
        show: int = 4,
        classes: Sequence[str] | None = None,
        facts: Mapping[str, Any] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.data, self.settings, self.metrics, self.out = data, list(settings), dict(metrics), Path(out)
        names = [setting.name for setting in self.settings]
        if not names or not self.metrics:
            raise InvalidInput("a study needs at least one setting and one metric")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInput(
                f"two settings are called {twice[0]!r}: tables tell settings apart by their names, so give one another"
            )
        if target is not None:
            one_of("target", target, ("label", "predicted"))
        if target == "label" and data.labels is None:
            raise InvalidInput(
                "target='label' needs examples with labels, and these have none: take target='predicted'"
            )
        self.target: Target = target or ("predicted" if data.labels is None else "label")
        self.seed = whole("seed", seed, least=0)
        self.batches = list(batches(len(data), whole("batch", batch)))
        self.shown = evenly(len(data), min(whole("show", show, least=0), len(data)))
        self.classes = list(classes or ())
        self.facts, self.record = dict(facts or {}), dict(record or {})
        check_masks(self.metrics, data)

    @cached_property
    def explainers(self) -> dict[str, Explainer]:
        """The explainers by the names of their settings."""
        made = {setting.name: setting.explainer() for setting in self.settings}
        check_baselines(self.metrics, made)
        return made

    @cached_property
    def plan(self) -> Plan:
        """What is going to be done. Asks every setting's model for its scores at the first examples."""
        rows = self.batches[0]
        first = self.data.batch(rows)
        subjects: dict[Any, Subject] = {}
        settings: dict[str, dict[str, str]] = {}
        models: dict[str, ModelAnswer] = {}
        for name, explainer in self.explainers.items():
            key = asked(explainer)
            if key not in subjects:
                subjects[key] = self.subject(explainer, first, rows)
            subject = subjects[key]
            settings[name] = described_settings(explainer) | {
                f"model's {what}": text for what, text in subject.arithmetic.items()
            }
            models[name] = ModelAnswer(subject.score.tolist(), subject.first_outputs.ravel().tolist())
        determines = {
            "pathattr": version("pathattr"),
            "settings": settings,
            "metrics": {name: as_text(metric) for name, metric in self.metrics.items()},
            "examples": [
                f"{name}, class {'?' if self.data.labels is None else self.data.labels[row]}, {self.data.digest(row)}"
                for row, name in enumerate(self.data.names)
            ],
            "examples in a batch": len(rows),
            "examples shown": list(self.shown),
            "target": self.target,
            "seed": self.seed,
            **self.facts,
        }
        record = {
            "facts": {setting.name: dict(setting.facts) for setting in self.settings},
            "left out": [list(pair) for pair in self.data.left_out],
            "versions": {name: version(name) for name in ("numpy", "scipy")},
            **self.record,
        }
        return Plan(determines, models, record)

    @cached_property
    def _store(self) -> Store:
        return Store(self.out / "results", self.plan.fingerprint)

    def run(self, watch: Watch | None = None) -> None:
        """Do what is not yet done.

        An example on which a setting fails is kept as failed, with the reason, and its batch-mates are not lost; where
        all of the first batch fail, the setting is wrong and its error is raised. Raises InvalidInput where the folder
        holds another study, or another process is at work on this one.
        """
        self.plan.settle(self.out / "plan.json")
        with self._alone():
            self._run(watch or (lambda done, total, doing: None))

    def _run(self, watch: Watch) -> None:
        total = len(self.batches) * len(self.settings)
        done = 0
        for number, rows in enumerate(self.batches):
            # What failed is tried again: memory that was short may be there by now.
            missing = [s for s in self.settings if (found := self._found(number, s, mend=True)) is None or found.failed]
            done += len(self.settings) - len(missing)
            if not missing:
                continue
            watch(done, total, f"batch {number + 1} of {len(self.batches)}")
            work = Work(self, self.data.batch(rows), rows)
            for setting in missing:
                doing = f"{setting.name}, batch {number + 1} of {len(self.batches)}"
                watch(done, total, doing)
                found = work.found(setting.name, partial(_share, watch, done, total, doing))
                if number == 0 and not len(found.rows):
                    raise InvalidInput(f"{setting.name} fails on every example of the first batch: {_first(found)}")
                self._store.write(self._unit(number, setting), found)
                done += 1
                watch(done, total, doing)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study's plan; raise InvalidInput where another process, or another thread, holds it."""
        with open_plain(self.out / "plan.json") as plan:
            try:
                held = hold(plan)
            except OSError as error:
                warn(f"{self.out} cannot be locked ({error.strerror}): see that nothing else works on this study")
                held = True
            if not held:
                raise InvalidInput(
                    f"another process is at work on {self.out}: wait until it ends, or give another --out; what it has "
                    "done is kept, and the same command goes on from there"
                )
            yield

    @property
    def progress(self) -> tuple[int, int]:
        """How many of the units (a setting on a batch) are done, and how many there are."""
        done = sum(
            self._found(number, setting) is not None for number in range(len(self.batches)) for setting in self.settings
        )
        return done, len(self.batches) * len(self.settings)

    def found(self, setting: str) -> Found:
        """Return everything about a setting, (examples,) each; NaN where an example failed or is still to come."""
        chosen = next((s for s in self.settings if s.name == setting), None)
        if chosen is None:
            raise InvalidInput(
                f"no setting is called {setting!r}; there are {', '.join(s.name for s in self.settings)}"
            )
        parts = [self._found(number, chosen) for number in range(len(self.batches))]
        return joined([part for part in parts if part is not None], len(self.data))

    def results(self) -> dict[str, Found]:
        """Return what has been found so far, by setting."""
        return {setting.name: self.found(setting.name) for setting in self.settings}

    def scores(self, setting: str) -> Mapping[str, Scores]:
        """Return a setting's scores by metric, of all examples: `a.compare(b)` is then paired by example."""
        return self.found(setting).scores

    def class_name(self, label: int) -> str:
        """Return what tables call a class."""
        return str(self.classes[label]) if label < len(self.classes) else str(label)

    def failures(self, results: Mapping[str, Found] | None = None) -> list[tuple[str, str, str]]:
        """Return every failure: the setting, the example's name and the reason; of `results` that are at hand."""
        return [
            (setting, self.data.names[row], reason)
            for setting, found in (results or self.results()).items()
            for row, reason in sorted(found.failed.items())
        ]

    def table(self, results: Mapping[str, Found] | None = None) -> Table:
        """Return what has been found so far, one row for each example, setting and column; of `results` at hand."""
        return tidy(self.settings, self.data, self.class_name, results or self.results())

    def _unit(self, number: int, setting: Setting) -> Unit:
        return Unit(number, self.batches[number], setting.name)

    def _found(self, number: int, setting: Setting, mend: bool = False) -> Found | None:
        """Return what is there of a setting on a batch; a bad file is named, and to `mend` set aside: then None too."""
        unit = self._unit(number, setting)
        try:
            return self._store.read(unit)
        except Unreadable as error:
            what = f"the result {self._store.path(unit)} is damaged or is not this study's: {error}"
            if mend:
                warn(f"{what}; it is kept as {self._store.set_aside(unit).name} and made again")
            else:
                warn(f"{what}; it is left out, and made again when the study goes on")
            return None

    def subject(self, explainer: Explainer, batch: Batch, rows: Sequence[int]) -> Subject:
        """Return some examples as the model of an explainer sees them, to be judged on."""
        labels = self.data.labels
        return Subject(
            explainer.model,
            batch.inputs,
            None if self.target == "predicted" or labels is None else labels[list(rows)],
            masks=batch.masks,
            **question(explainer, seed=self.seed),
        )


def _share(watch: Watch, done: int, total: int, doing: str, share: float) -> None:
    watch(done + share, total, doing)


def _first(found: Found) -> str:
    return next(iter(found.failed.values()), "nothing was found")
