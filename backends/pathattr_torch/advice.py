"""What to do about errors that PyTorch raises where a model cannot be differentiated as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pathattr.errors import ModelError
from pathattr.models.blame import brief

NOT_DIFFERENTIABLE = (
    "the explained score is not differentiable with respect to the input: does the model detach it, run "
    "under no_grad, round, take an argmax, or not use this input at all? Pass a model whose output depends "
    "on its input smoothly, and an output before any argmax"
)

_FLOAT = (
    "an operation of the model does not exist in half precision on this device: use model.float(), or where the model "
    "is a function of its inputs alone, inputs in float32, x.float()"
)

_ADVICE = {
    "cudnn RNN backward": (
        "cuDNN has gradients of recurrent layers in training mode only: run the call inside "
        "`with torch.backends.cudnn.flags(enabled=False):`, or on the CPU"
    ),
    "torch.utils.checkpoint is incompatible": (
        "the model recomputes activations by re-entrant checkpoints, which know no gradient by the input alone: pass "
        "use_reentrant=False to torch.utils.checkpoint, or switch checkpointing off (Hugging Face: "
        "model.gradient_checkpointing_disable())"
    ),
    "modified by an inplace operation": (
        "a tensor that the gradient needs was changed in place after it was used. Where the model does so itself (an "
        "inplace=True, +=, or slice that is assigned to), write the operation out of place; where another thread "
        "trains its weights meanwhile, explain a copy, copy.deepcopy(model)"
    ),
    "Inference tensors": (
        "the model uses a tensor that was made inside torch.inference_mode(), which cannot take part in gradients: "
        "make it outside, or pass its .clone() made outside"
    ),
    "backward through the graph a second time": (
        "the model takes a gradient inside itself, after which PyTorch forgets how its numbers came about: pass "
        "create_graph=True to torch.autograd.grad there"
    ),
    "not implemented for 'Half'": _FLOAT,
    "not implemented for 'BFloat16'": _FLOAT,
    "Low precision dtypes not supported": _FLOAT,
    "Unsupported dtype Half": _FLOAT,
    "Unsupported dtype BFloat16": _FLOAT,
    "derivative for": "an operation of the model has no derivative in PyTorch: pass a model without it",
    "must implement either the backward": (
        "an autograd.Function of the model has no backward: give it one, or pass a model without it"
    ),
}


@contextmanager
def advised() -> Iterator[None]:
    """Say what to do where PyTorch refuses a gradient; all other errors are the model's own."""
    try:
        yield
    except RuntimeError as error:
        for sign, advice in _ADVICE.items():
            if sign in str(error):
                raise ModelError(f"{advice} ({brief(error)})") from error
        raise
