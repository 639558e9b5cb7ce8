"""The modules that a call of a model reaches: its own, and those that functions and objects hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.parameter import is_lazy

import pathattr_keras
from pathattr.errors import InvalidInput, ModelError
from pathattr.models import reached
from pathattr.models.backend import type_name


def _hooks(name: str, module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from ((name, hook) for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()))


_KIND = reached.Kind(
    nn.Module, lambda name, module: module.named_modules(prefix=name), entry="forward", hooks=_hooks, arrays=Tensor
)


def modules(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that a call of `model` may run, each by the name it is reached by; parts of those are not."""
    yield from reached.modules(model, _KIND)


def check_model(model: Any) -> None:
    """Raise InvalidInput or ModelError for what is no model, or not ready to be explained."""
    if isinstance(model, torch.export.ExportedProgram):
        raise InvalidInput("the model is an ExportedProgram, which cannot be called: pass program.module()")
    if not callable(model):
        raise InvalidInput(
            f"the torch backend takes modules and functions; got {type_name(model)}: pass one, or leave the "
            "backend out (backend=None)"
        )
    for name, module in modules(model):
        _check(name, module)


def _check(name: str, model: nn.Module) -> None:
    """Raise ModelError for a module in training mode in any part, or made where gradients are forbidden."""
    check_filled(model)
    # Keras tells its layers with each call whether they train, and an exported program is what it was exported as,
    # whatever flags say.
    fixed = [part for part in model.modules() if pathattr_keras.is_keras(part) or _exported(part)]
    if any(_trains(part) for part in fixed):
        raise ModelError(
            "the program was exported from a model in training mode: dropout and batch statistics would make "
            "attributions random or dependent on batch-mates. Export model.eval()"
        )
    told = {id(part) for whole in fixed for part in whole.modules()}
    for path, module in model.named_modules(prefix=name):
        if getattr(module, "training", False) and id(module) not in told:
            part = path.removeprefix("model").removeprefix(".")
            where = f"its part {part!r} ({type(module).__name__})" if part else "it"
            raise ModelError(
                f"the model is in training mode ({where}): dropout and batch statistics would make attributions random "
                f"or dependent on batch-mates. Call {name}.eval() first"
            )
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model was made inside torch.inference_mode(), where tensors cannot take part in gradients: build or "
            "load it outside (explaining it inside is fine)"
        )


def check_filled(model: nn.Module) -> None:
    """Raise ModelError for a module of which some weights have no shape yet."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model has lazy layers, whose weights have no shape yet: call it once on an example and load its "
            "weights, then explain it"
        )


def channel_axis(model: Any, shape: tuple[int, ...]) -> int | None:
    """Return where a batch of this shape has its channels: 1, or None where the model's first layer does not say so.

    Pictures (4-D) are channels first by convention, unless that layer takes another axis; volumes (5-D) have a
    convolution in three dimensions there, and videos may be arranged in several ways.
    """
    first = next(
        (
            part
            for _, module in modules(model)
            for part in module.modules()
            if isinstance(part, _CONVOLUTIONS | nn.Linear)
        ),
        None,
    )
    if len(shape) == 5:
        return 1 if isinstance(first, nn.Conv3d) and first.in_channels == shape[1] else None
    if len(shape) == 4 and isinstance(first, nn.Conv2d | nn.Linear):
        taken = first.in_channels if isinstance(first, nn.Conv2d) else first.in_features
        return None if shape[1] != taken == shape[3] else 1
    return 1


_CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d


def _exported(module: nn.Module) -> bool:
    return isinstance(module, GraphModule) and "eval" in vars(module)


def _trains(module: nn.Module) -> bool:
    """Tell whether a graph has an operation that was recorded in training mode."""
    for node in module.graph.nodes if isinstance(module, GraphModule) else ():
        schema = getattr(node.target, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema else []
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        if any(given.get(name) is True for name in ("train", "training", "use_input_stats")):
            return True
    return False
