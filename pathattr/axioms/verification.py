"""All axioms on one model: what is promised is judged, the rest is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from pathattr.axioms.case import Case
from pathattr.axioms.diagnosis import Diagnosis, diagnose, disagreeing, of_error
from pathattr.axioms.promises import AXIOMS, Promise, promised
from pathattr.common.names import one_of
from pathattr.errors import InvalidInput, ModelError
from pathattr.methods.path_explainer import PathExplainer

Verdict = Literal["holds", "FAILS", "cannot tell", "information", "does not apply", "by construction"]

UNCLEAR = 0.1
"""Where rounding alone may move attributions by more than this share, agreement to less says nothing, ..."""
CLOSE = 0.01
"""... unless it is to within this share."""

NUDGE = 1e-3
"""How far inputs are moved off their ties, as a share of the largest: less than a step of an 8-bit picture."""


@dataclass(frozen=True)
class Finding:
    """One axiom's finding; `residual` and `tolerance` are relative, None where the axiom does not apply."""

    axiom: str
    says: str
    promise: Promise
    verdict: Verdict
    residual: float | None = None
    tolerance: float | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What was found on one model: a row per axiom, or the diagnoses that leave nothing to check."""

    rows: tuple[Finding, ...]
    diagnoses: tuple[Diagnosis, ...]
    settings: Mapping[str, Any]
    examples: int

    @property
    def passed(self) -> bool:
        """Return whether nothing that is promised fails and nothing is wrong with the model."""
        return not self.diagnoses and all(row.verdict != "FAILS" for row in self.rows)

    def record(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON; None stands for a number that is not finite."""
        record = {
            "passed": self.passed,
            "examples": self.examples,
            "diagnoses": [asdict(diagnosis) for diagnosis in self.diagnoses],
            "axioms": [asdict(row) for row in self.rows],
            "settings": dict(self.settings),
        }
        return _plain(record)

    def __str__(self) -> str:
        lines = [str(diagnosis) for diagnosis in self.diagnoses]
        for row in self.rows:
            found = row.reason if row.residual is None else f"{row.residual:.1e} of {row.tolerance:.1e} ({row.reason})"
            lines.append(f"{row.verdict:<15} {row.axiom:<20} {row.promise:<18} {found}".rstrip())
        return "\n".join(lines)


def verify(
    explainer: PathExplainer,
    inputs: Any,
    target: Any = None,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    input_name: str | None = None,
    only: Sequence[str] | None = None,
    nudge: float = NUDGE,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Check the axioms of an explainer's path on its model at a batch of inputs.

    `target`, `args`, `kwargs` and `input_name` are the explainer's; `only` names some of `AXIOMS`; `nudge` is that of
    `Case`; `progress` is told (axiom, done, total). It costs about forty explanations. The model is judged by what the
    family, its ordering and its schedule promise; the other axioms are shown as information. A model on which none can
    hold is diagnosed.

    Raises InvalidInput for inputs, targets or names that do not fit.
    """
    names = list(AXIOMS) if only is None else list(only)
    for name in names:
        one_of("axiom", name, tuple(AXIOMS))
    settings = {"explainer": repr(explainer), "output": str(explainer.output or "default"), "seed": explainer.seed}
    settings["nudge"] = nudge
    try:
        case = Case(explainer, inputs, target, args=args, kwargs=kwargs, input_name=input_name, nudge=nudge)
        if (case.host == case.starts[:, 0]).all():
            raise InvalidInput(
                "every input equals its baseline: nothing moves, and no axiom says anything. Choose another baseline"
            )
        diagnoses = diagnose(case)
    except ModelError as error:
        return Report((), (of_error(error),), settings, len(inputs))
    settings = settings | dict(case.attribution.settings) if not diagnoses else settings
    if diagnoses:
        return Report((), tuple(diagnoses), settings, len(case.host))
    rows = []
    for done, name in enumerate(names):
        if progress is not None:
            progress(name, done, len(names))
        rows.append(judged(case, name))
    if only is None:
        # Whether two networks that compute the same get the same is a question about two networks.
        says = "equal functions get equal attributions"
        rows.append(Finding("implementation invariance", says, "exact", "by construction"))
    failed = [row for row in rows if row.axiom == "completeness" and row.verdict == "FAILS"]
    wrong = [disagreeing(f"the completeness gap stays at {row.residual:.1%} of the score's range") for row in failed]
    return Report(tuple(rows), tuple(wrong), settings, len(case.host))


def judged(case: Case, name: str) -> Finding:
    """Return one axiom's row."""
    axiom = AXIOMS[name]
    shape = case.layout.canonical(np.zeros(case.layout.shape)).shape
    promise = promised(case.explainer, shape, name)
    try:
        residual = axiom.residual(case)
    except ModelError as error:  # where the axiom leads, the model cannot follow
        return Finding(name, axiom.says, promise, "cannot tell", reason=str(error))
    if residual is None:
        return Finding(name, axiom.says, promise, "does not apply")
    verdict: Verdict = "holds" if residual.holds else "FAILS"
    if promise == "not promised":
        verdict = "information"
    elif residual.holds and residual.worst > CLOSE:
        unclear = residual.tolerance > UNCLEAR if promise == "exact" else residual.tolerance == np.inf
        verdict = "cannot tell" if unclear else verdict
    return Finding(
        name, axiom.says, promise, verdict, residual.worst, residual.tolerance, residual.reason, residual.details
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
