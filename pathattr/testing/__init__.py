"""For those who extend pathattr: models with known attributions, and suites and strategies for their own tests.

The models need nothing beside pathattr. Suites need pytest, and most of them hypothesis, both imported when a suite is
asked for; `from pathattr.testing import strategies` needs hypothesis. `pip install 'pathattr[test]'` brings both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pathattr.errors import MissingExtra
from pathattr.testing.models import (
    AnalyticModel,
    ExponentialRidge,
    LinearModel,
    Model,
    Network,
    Polynomial,
    Quadratic,
    ReluNetwork,
    SoftmaxRegression,
    TanhNetwork,
)

if TYPE_CHECKING:
    from pathattr.testing.backends import backend_suite
    from pathattr.testing.families import family_suite
    from pathattr.testing.orderings import ordering_suite
    from pathattr.testing.schedules import schedule_suite

__all__ = [
    "AnalyticModel",
    "ExponentialRidge",
    "LinearModel",
    "Model",
    "Network",
    "Polynomial",
    "Quadratic",
    "ReluNetwork",
    "SoftmaxRegression",
    "TanhNetwork",
    "backend_suite",
    "family_suite",
    "ordering_suite",
    "schedule_suite",
]

_SUITES = {
    "backend_suite": "backends",
    "family_suite": "families",
    "ordering_suite": "orderings",
    "schedule_suite": "schedules",
}


def __getattr__(name: str) -> Any:
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("pytest", "hypothesis"):
            raise MissingExtra.of(error.name, "test", name) from error
        raise
