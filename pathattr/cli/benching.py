"""What `pathattr bench` does between parsing and printing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pathattr.cli.failures import models_own
from pathattr.cli.options import Settings, target_from
from pathattr.cli.placed_model import PlacedModel
from pathattr.cli.work import demo_subjects, versions
from pathattr.methods.speed import measure


def cost_of(subject: PlacedModel, family: str, settings: Settings, target: str | None, count: int) -> dict[str, Any]:
    """Return what explaining a generated picture with the model costs, and what that means for `count` of them."""
    _, picture = demo_subjects(1, 0)[0]
    _, inputs = subject.inputs(picture)
    explainer = settings.explainer(subject.model, subject.channel_axis, family)
    asked_auto = explainer.steps == "auto"
    plain = explainer.but(steps=200, tolerance=None) if asked_auto else explainer
    with models_own(inputs.shape, subject.backend.out_of_memory):
        costs = measure(plain, inputs, target_from(target, None, subject.model.classes), tolerance=settings.tolerance)
    refined = costs.refined
    return {
        "model": subject.spec,
        "device": subject.device or "as the model",
        "family": family,
        "shape": list(inputs.shape[1:]),
        **asdict(costs),
        "count": count,
        "seconds_for_count": count * costs.seconds,
        "tolerance": settings.tolerance,
        "seconds_for_count_at_tolerance": None if refined is None else count * refined["seconds"],
        "versions": versions(explainer.backend if isinstance(explainer.backend, str) else "torch"),
    }


def cost_table(record: dict[str, Any]) -> list[list[str]]:
    """Return the record as a table of sentences, its header first."""
    rows = [["what", "measured"]]
    shape = "×".join(map(str, record["shape"]))
    for size, seconds in record["gradient"].items():
        rows.append([f"one gradient, {size} at once ({shape})", f"{1000 * seconds:.2f} ms"])
    rows.append(["points that fit at once (batch_size=auto)", str(record["fits"])])
    rows.append(
        [
            f"one explanation, {record['family']}, {record['steps']} gradients, {record['block']} at once",
            f"{record['seconds']:.3g} s, {record['overhead']:.2f} × its gradients alone",
        ]
    )
    rows.append([f"{record['count']} pictures", f"{record['seconds_for_count']:.3g} s"])
    refined = record["refined"]
    if refined is not None:
        error = f"estimated error {refined['error']:.1%}"
        rows.append(
            [
                f"one explanation at a tolerance of {record['tolerance']:.1%}",
                f"{refined['seconds']:.3g} s, {refined['gradients']:.0f} gradients, {error}",
            ]
        )
        rows.append(
            [f"{record['count']} pictures at that tolerance", f"{record['seconds_for_count_at_tolerance']:.3g} s"]
        )
    return rows
