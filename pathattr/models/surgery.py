"""What is done to a framework's models as wholes: built, moved to a device, shuffled layer by layer; none is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from pathattr.errors import InvalidInput

Weights = TypeVar("Weights")


class Surgery:
    """A framework's surgery, for backends to inherit; by itself that of a framework on the CPU whose models are closed.

    Errors are InvalidInput, and say what to do.
    """

    name: ClassVar[str]

    @classmethod
    def devices(cls) -> list[str]:
        """Return the names of the devices that the framework sees; never raises."""
        return ["cpu"]

    @classmethod
    def place(cls, model: Any, device: str) -> Any:
        """Return the model on a device, named as the framework names it; raise InvalidInput for an unknown one."""
        if device in cls.devices():
            return model
        raise InvalidInput(f"the {cls.name} backend has no device {device!r}; it has {', '.join(cls.devices())}")

    @classmethod
    def build(cls, layers: Sequence[Any], weights: Mapping[str, NDArray[np.float32]]) -> Any:
        """Return the framework's model of a layer list of `pathattr.scenes.network`, ready for inference."""
        raise InvalidInput(
            f"the {cls.name} backend does not build the scenes classifier: say backend='torch', "
            "backend='tensorflow' or backend='jax'"
        )

    @classmethod
    def layers(cls, model: Any) -> list[str]:
        """Return the names of the parts of a model that hold weights, from input to output where that is known."""
        raise cannot(cls.name, "they are not known to it")

    @classmethod
    def randomised(cls, model: Any, layers: Sequence[str], rng: np.random.Generator) -> Any:
        """Return a copy of a model in which each weight array of these layers is shuffled; the model stays as it is.

        Arrays are drawn in the order of `layers`: more of them at the end do not change what came before.
        """
        raise cannot(cls.name, "they are not known to it")


def layer_of(path: Iterable[Any]) -> str:
    """Return the layer that weights at a path belong to: the path joined by dots, without its last name.

    ("params", "Conv_0", "kernel") and ("params", "Conv_0.kernel") belong to "params.Conv_0"; ("w",) is its own.
    """
    name = ".".join(map(str, path))
    return name.rpartition(".")[0] or name


def by_layer(weights: Iterable[tuple[str, Weights]]) -> dict[str, list[Weights]]:
    """Return weights grouped by the layers that come with them, in the order of first appearance."""
    found: dict[str, list[Weights]] = {}
    for layer, weight in weights:
        found.setdefault(layer, []).append(weight)
    return found


def chosen(there: Mapping[str, Sequence[Weights]], layers: Sequence[str]) -> Iterable[Weights]:
    """Yield the weights of some layers, in the order asked; raise InvalidInput for a layer that is not there."""
    for layer in layers:
        if layer not in there:
            raise InvalidInput(f"the model has no layer {layer!r} with weights; it has {', '.join(there) or 'none'}")
        yield from there[layer]


def cannot(backend: str, why: str) -> InvalidInput:
    """Return the error for a model whose weights cannot be shuffled."""
    return InvalidInput(
        f"the {backend} backend cannot shuffle this model's weights: {why}. Pass models=, a function of a NumPy "
        "generator that yields randomised models, stage by stage"
    )
