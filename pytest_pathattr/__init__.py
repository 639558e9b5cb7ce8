"""The pytest plugin: a fixture that checks the axioms on your model. It imports pathattr only when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathattr.axioms import Report

OF_VERIFY = "args", "kwargs", "input_name", "only", "nudge"


class Axioms:
    """What the fixture `axioms` is: `axioms.check(model, inputs)`."""

    def check(self, model: Any, inputs: Any, target: Any = None, **options: Any) -> Report:
        """Fail the test unless the axioms that the path promises hold for `model` at `inputs`; return the report.

        `model` is what `PathExplainer` takes, or a PathExplainer. Options are those of `pathattr.axioms.verify`
        (`args`, `kwargs`, `input_name`, `only`, `nudge`) and of `PathExplainer` (`family`, `steps`, ...); 50 steps
        unless said.
        """
        __tracebackhide__ = True
        from pathattr import PathExplainer
        from pathattr.axioms import verify

        asked = {name: options.pop(name) for name in OF_VERIFY if name in options}
        if isinstance(model, PathExplainer):
            explainer = model.but(**options)
        else:
            explainer = PathExplainer(model, **({"steps": 50} | options))
        report = verify(explainer, inputs, target, **asked)
        if not report.passed:
            pytest.fail(f"the axioms do not hold:\n{report}", pytrace=False)
        return report


@pytest.fixture(scope="session")
def axioms() -> Axioms:
    """Check the axioms of path attribution on a model: `axioms.check(model, inputs)`."""
    return Axioms()
