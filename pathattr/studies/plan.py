"""What a study is going to do, written down before it begins, and compared when it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathattr.common.axes import Array
from pathattr.common.files import plain, read_plain, write_json
from pathattr.errors import InvalidInput

KIND, FORMAT = "pathattr study plan", 2
_MOST = 2**28  # bytes: of a million examples


@dataclass(frozen=True)
class ModelAnswer:
    """What a setting's model says at the first examples: its `scores`, and a few of its `outputs`, which tell more.

    Certain probabilities are 1 whatever the model.
    """

    scores: Sequence[float]
    outputs: Sequence[float]


@dataclass(frozen=True)
class Plan:
    """`determines` is everything that the results depend on, as plain values; `record` what is good to know besides.

    `models` tells the settings' models by what they say. That is compared to within a hundredth, not digit by digit:
    another machine, or another number of threads, rounds otherwise.
    """

    determines: Mapping[str, Any]
    models: Mapping[str, ModelAnswer]
    record: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """A short text that changes with anything that the results depend on."""
        return _digest(_as_json(self.determines))[:16]

    def settle(self, path: Path) -> None:
        """Write the plan, or see that the one which is there is the same: of several that come at once, one writes.

        Raises InvalidInput, naming what differs, where it is another, or what is there is damaged.
        """
        models = {
            name: {"scores": _told(asked.scores), "outputs": _told(asked.outputs)}
            for name, asked in self.models.items()
        }
        body = {
            "kind": KIND,
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "determines": _as_json(self.determines),
            "models": models,
            "record": _as_json(self.record),
        }
        if write_json(path, body | {"checksum": _digest(body)}, replace=False):
            return
        there = _read(path)
        if there["determines"] != body["determines"]:
            found = "; ".join(_differences(there["determines"], body["determines"]))
            raise InvalidInput(
                f"{path.parent} holds another study: {found}. Give another --out, or go on with that study by asking "
                "for the same"
            )
        for name, asked in self.models.items():
            was = there["models"][name]
            outputs = _numbers(was["outputs"])
            # An output near 0 is rounded as the large ones beside it are: TF32 does so to a thousandth of them.
            near = 1e-2 * float(np.max(np.abs(outputs[np.isfinite(outputs)]), initial=0.0))
            for what, before, now, atol in (
                ("scores", _numbers(was["scores"]), np.asarray(asked.scores), 1e-4),
                ("outputs", outputs, np.asarray(asked.outputs), near),
            ):
                if before.shape != now.shape or not np.allclose(before, now, rtol=1e-2, atol=atol, equal_nan=True):
                    raise InvalidInput(
                        f"{path.parent} holds a study of another model under the same name: {name}: its {what} at the "
                        f"first examples were {_few_numbers(before)}, now they are {_few_numbers(now)}. Give another "
                        "--out"
                    )


def _read(path: Path) -> dict[str, Any]:
    """Return a plan that was written before; raise InvalidInput for what is none, or was changed since."""
    try:
        there = json.loads(read_plain(path, _MOST))
        if not isinstance(there, dict) or "format" not in there or there.get("kind", KIND) != KIND:
            raise ValueError("it is something else")
        if there.get("format") != FORMAT:
            raise InvalidInput(
                f"{path} was written in format {there.get('format')!r:.20}, this version has {FORMAT}: give another "
                "--out, or go on with the version of pathattr that began it"
            )
        if there.pop("checksum", None) != _digest(there):
            raise ValueError("it does not agree with its checksum, so it was changed or damaged")
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read as a study's plan: {error.strerror}; give another --out") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is not a study's plan: {str(error)[:200]}; give another --out, or bring back the file as it was"
        ) from error
    return there


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _as_json(values: Mapping[str, Any]) -> Any:
    """Return plain values as they come back from JSON."""
    try:
        return json.loads(json.dumps(values, allow_nan=False, default=plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"what a study is told of itself (facts, record) must be plain values: {error}; give text, finite numbers, "
            "lists and dicts"
        ) from error


def _told(numbers: Sequence[float]) -> list[float | str]:
    """Return numbers as JSON can hold them: infinity and NaN as text."""
    return [float(number) if np.isfinite(number) else str(float(number)) for number in numbers]


def _numbers(told: Sequence[float | str]) -> Array:
    return np.array([float(number) for number in told], dtype=np.float64)


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield what differs between two plans, as a person reads it, at most a few of a kind."""
    if isinstance(before, dict) and isinstance(now, dict):
        for kind, names in (
            ("without", [k for k in before if k not in now]),
            ("with", [k for k in now if k not in before]),
        ):
            if names:
                yield f"{where or 'the plan'} {kind} {_few(names)}"
        shared = [name for name in before if name in now and before[name] != now[name]]
        for name in shared[:3]:
            yield from _differences(before[name], now[name], f"{where} {name}".strip())
        if len(shared) > 3:
            yield f"{where} {_few(shared[3:])}"
        return
    if isinstance(before, list) and isinstance(now, list):
        count = sum(a != b for a, b in zip(before, now, strict=False)) + abs(len(before) - len(now))
        yield f"{where}: {len(before)} there, {len(now)} now, {count} of them different"
        return
    yield f"{where}: {_short(before)} there, {_short(now)} now"


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _few_numbers(numbers: Array) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers[:4])
