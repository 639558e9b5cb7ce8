"""Refusals and their advice: the call that fails, what it is told, and the call that does as it says."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pathattr as pa
from pathattr import metrics


@dataclass(frozen=True)
class Refusal:
    """One refusal: `fails` raises `error` with a message that matches `said`, and `follows` does as that says."""

    fails: Callable[[], Any]
    said: str
    follows: Callable[[], Any]
    error: type[pa.PathattrError] = pa.InvalidInput


def check(refusal):
    """Assert that the call is refused in one sentence or two, as said, and that following the advice works."""
    with pytest.raises(refusal.error, match=re.compile(refusal.said, re.DOTALL)) as caught:
        refusal.fails()
    assert "\n" not in str(caught.value)
    assert sentences(str(caught.value)) <= 2, str(caught.value)
    found = refusal.follows()
    if isinstance(found, pa.Attribution):
        assert np.isfinite(found.numpy()).all()


def sentences(message: str) -> int:
    """Return how many sentences a message has, apart from what it says in brackets."""
    while (shorter := re.sub(r"\([^()]*\)", "", message)) != message:
        message = shorter
    return 1 + len(re.findall(r"[.?!] (?=[A-Z])", message))


def modules_of(package: ModuleType) -> list[ModuleType]:
    """Return all modules of a package."""
    return [import_module(found.name) for found in walk_packages(package.__path__, package.__name__ + ".")]


def places(module: ModuleType, others: Sequence[str] = ()) -> set[tuple[str, int]]:
    """Return where a module raises errors of the package, or what a function returns as one: (file, line).

    `others` are the names of further errors.
    """
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    names = {error.__name__ for error in (pa.InvalidInput, pa.ModelError, pa.MissingExtra)} | set(others)
    functions = inspect.getmembers(module, inspect.isfunction)
    names |= {name for name, function in functions if function.__annotations__.get("return") in names}
    return {
        (module.__file__, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and names & {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    }


def reached(refusals):
    """Return where each of the refusals, and what it was raised from, was raised: (file, line)."""
    found = set()
    for refusal in refusals:
        try:
            refusal.fails()
        except Exception as caught:
            error: BaseException | None = caught
            while error is not None:
                trace = error.__traceback__
                while trace is not None:
                    found.add((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
                    trace = trace.tb_next
                error = error.__context__
    return found


def randomisation(explainer, x, target, **settings):
    """Return how much the explainer's maps change where its model's weights are shuffled."""
    subject = metrics.Subject(explainer.model, x, target, channel_axis=explainer.channel_axis)
    return metrics.Randomisation(explainer, **settings)(subject, explainer(x, target))


def tabled(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of several tables as one, each named with its table."""
    return {f"{what}: {name}": entry for what, table in tables.items() for name, entry in table.items()}


def completeness(
    refusals: Callable[[Any], Sequence[Refusal]], modules: Sequence[ModuleType], others: Sequence[str] = ()
) -> Callable[..., None]:
    """Return a test that a table reaches all that the modules refuse; `refusals` makes it, given `tmp_path_factory`.

    `others` are the names of errors, or of functions that make them, besides the package's.
    """
    found: set[tuple[str, int]] = set()  # made once for all modules

    @pytest.mark.parametrize("module", modules, ids=lambda module: module.__name__)
    def test_every_refusal_of_a_module_is_in_the_table(module, tmp_path_factory):
        if not found:
            found.update(reached(refusals(tmp_path_factory)))
        missing = places(module, others) - found
        assert not missing

    return test_every_refusal_of_a_module_is_in_the_table
