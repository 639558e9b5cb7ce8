"""What a study is going to do, written down before it begins, and compared when it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathattr.errors import InvalidInput
from pathattr.files import write_json

FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """`determines` is everything that the results depend on, as plain values; `record` what is good to know besides.

    `scores` are the model's at the first examples, `outputs` a few of what it returns there, as certain probabilities
    are 1 whatever the model. They are compared to within a hundredth, not digit by digit: another machine, or another
    number of threads, rounds otherwise.
    """

    determines: Mapping[str, Any]
    scores: list[float]
    outputs: list[float]
    record: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """A short text that changes with anything that the results depend on."""
        text = json.dumps(self.determines, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def settle(self, path: Path) -> None:
        """Write the plan, or see that the one which is there is the same.

        Raises InvalidInput, naming what differs, where it is another.
        """
        if not path.exists():
            write_json(
                path,
                {
                    "format": FORMAT,
                    "fingerprint": self.fingerprint,
                    "determines": self.determines,
                    "scores": self.scores,
                    "outputs": self.outputs,
                    "record": self.record,
                },
            )
            return
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            format_, before, scores = there["format"], there["determines"], there["scores"]
            outputs = there.get("outputs", self.outputs)  # plans did not have them from the first
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{path} is not a study's plan: {error!r}; give another --out") from error
        if format_ != FORMAT:
            raise InvalidInput(f"{path} was written in format {format_}, this version has {FORMAT}: give another --out")
        now = json.loads(json.dumps(self.determines))
        if before != now:
            found = "; ".join(_differences(before, now))
            raise InvalidInput(
                f"{path.parent} holds another study: {found}. Give another --out, or go on with that study by asking "
                "for the same"
            )
        # An output near 0 is rounded as the large ones beside it are: TF32 does so to a thousandth of them.
        near = 1e-2 * max(map(abs, outputs), default=0.0)
        pairs = (("scores", scores, self.scores, 1e-4), ("outputs", outputs, self.outputs, near))
        for what, was, now_, atol in pairs:
            if len(was) != len(now_) or not np.allclose(was, now_, rtol=1e-2, atol=atol):
                raise InvalidInput(
                    f"{path.parent} holds a study of another model under the same name: its {what} at the first "
                    f"examples were {_numbers(was)}, now they are {_numbers(now_)}. Give another --out"
                )


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


def _numbers(scores: list[float]) -> str:
    return ", ".join(f"{score:.3g}" for score in scores[:4])
