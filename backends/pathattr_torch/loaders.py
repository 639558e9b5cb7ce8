"""Pretrained PyTorch classifiers by name, each with its own preprocessing. Libraries are imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.models.blame import brief
from pathattr.pictures.image_model import ImageModel
from pathattr.pictures.preprocessing import Preprocessing

_TIMM_SOURCES = ("url", "file", "state_dict", "hf_hub_id", "hf_hub")  # where a configuration may have weights from
_TIMM_PRETRAINED = (
    "timm.list_models(pretrained=True) names models with weights; load your own in a function and say file.py:function"
)
_TORCHVISION_CLASSIFIERS = (
    "torchvision.models.list_models(module=torchvision.models) names its classifiers of pictures; wrap another model "
    "in a function and say file.py:function"
)


def load_torchvision(name: str) -> ImageModel:
    """Return a torchvision classifier with its default weights.

    Raises InvalidInput for what has none, which would be random, and for what classifies no single pictures.
    """
    torchvision = _library("torchvision", "torchvision", "torchvision, in the build that fits your torch")
    models = torchvision.models
    try:
        weights = getattr(models.get_model_weights(name), "DEFAULT", None)
    except ValueError as error:
        raise InvalidInput(f"torchvision has no model {name!r}: {_TORCHVISION_CLASSIFIERS}") from error
    if weights is None:
        raise InvalidInput(
            f"torchvision has no weights for {name!r}, and random ones explain nothing: {_TORCHVISION_CLASSIFIERS}"
        )
    transforms = weights.transforms()
    if not isinstance(getattr(transforms, "crop_size", None), int | list | tuple) or "categories" not in weights.meta:
        raise InvalidInput(f"torchvision's {name!r} classifies no single pictures: {_TORCHVISION_CLASSIFIERS}")
    model = models.get_model(name, weights=weights).eval()
    crop = _number(transforms.crop_size)
    return ImageModel(
        model,
        crop,
        Preprocessing(tuple(transforms.mean), tuple(transforms.std)),
        tuple(weights.meta["categories"]),
        crop=min(1.0, crop / _number(transforms.resize_size)),
    )


def load_timm(name: str) -> ImageModel:
    """Return a pretrained timm model; its evaluation settings give size, crop and normalisation.

    Raises InvalidInput where there are no weights, which some versions fill in at random, or no classifier.
    """
    timm = _library("timm", "timm", "timm")
    if not timm.is_model(name.partition(".")[0]):
        raise InvalidInput(f"timm has no model {name!r}: {_TIMM_PRETRAINED}")
    try:
        model = timm.create_model(name, pretrained=True).eval()
    except RuntimeError as error:  # no weights, no such tag, or weights of other shapes
        raise InvalidInput(f"timm:{name} has no weights that fit ({brief(error)}): {_TIMM_PRETRAINED}") from error
    source = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    if not any(source.get(key) for key in _TIMM_SOURCES):
        raise InvalidInput(f"timm has no weights for {name!r}, and random ones explain nothing: {_TIMM_PRETRAINED}")
    if not model.num_classes:
        raise InvalidInput(f"timm:{name} gives features and has no classes: {_TIMM_PRETRAINED}")
    config = timm.data.resolve_model_data_config(model)
    return ImageModel(
        model,
        tuple(config["input_size"][1:]),
        Preprocessing(tuple(config["mean"]), tuple(config["std"])),
        _timm_classes(timm, model),
        crop=float(config["crop_pct"]),
    )


def load_huggingface(name: str) -> ImageModel:
    """Return an image classifier from a Hugging Face name or folder; weights only as safetensors, no code of its own.

    Raises InvalidInput where weights are missing, left over or of another shape: the library would fill in random ones.
    """
    transformers = _library("transformers", "hf", "'pathattr[hf]'")
    try:
        model, loading = transformers.AutoModelForImageClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True
        )
        processor = transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        if "custom code" in str(error) or "trust_remote_code" in str(error):
            raise InvalidInput(
                f"hf:{name} brings custom code, which is never run: load the model in a function of yours and say "
                "file.py:function"
            ) from error
        raise InvalidInput(
            f"no image classifier with safetensors weights and a preprocessor at {name!r} ({brief(error)}): check the "
            "name, or save model and processor with save_pretrained and name that folder"
        ) from error
    _check_complete(name, loading)
    model = model.eval()
    size, crop = _huggingface_size(processor)
    # The processor's pixels are raw·255·rescale_factor before they are normalised; ours are raw.
    scale = (
        255 * float(getattr(processor, "rescale_factor", 1 / 255)) if getattr(processor, "do_rescale", True) else 255
    )
    normalised = getattr(processor, "do_normalize", True)
    mean = [m / scale for m in (processor.image_mean if normalised else [0.0])]
    std = [s / scale for s in (processor.image_std if normalised else [1.0])]
    labels = model.config.id2label
    return ImageModel(
        model, size, Preprocessing(mean, std), tuple(str(labels[i]) for i in sorted(labels, key=int)), crop=crop
    )


def _check_complete(name: str, loading: Mapping[str, Any]) -> None:
    """Raise InvalidInput that names the weights which are not as the classifier wants them."""
    told = []
    for key, what in (("missing", "missing"), ("unexpected", "left over"), ("mismatched", "of another shape")):
        entries = loading.get(f"{key}_keys") or ()
        keys = sorted(entry if isinstance(entry, str) else str(entry[0]) for entry in entries)
        if keys:
            told.append(f"{what}: {', '.join(keys[:8])}" + (f" and {len(keys) - 8} more" if len(keys) > 8 else ""))
    if told:
        raise InvalidInput(
            f"the weights at {name!r} are not those of its image classifier ({'; '.join(told)}): what is missing would "
            "be random. Use a checkpoint that was trained to classify, or load the model yourself and save it whole "
            "with save_pretrained"
        )


def _library(module: str, spec: str, install: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{spec}:NAME needs {module}, which cannot be imported ({brief(error)}): pip install {install}"
        ) from error
    except RuntimeError as error:  # what a torchvision built for another torch raises
        raise MissingExtra(
            f"{module} is installed but does not work with this torch ({brief(error)}): pip install {install}"
        ) from error


def _number(size: Any) -> int:
    """Return the one side of a torchvision transform's size, which may be a list."""
    return int(size[0] if isinstance(size, list | tuple) else size)


def _timm_classes(timm: Any, model: Any) -> tuple[str, ...] | None:
    """Return ImageNet's class names where the model has them; None for other data sets."""
    subset = timm.data.infer_imagenet_subset(model)
    if not subset:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(i) for i in range(info.num_classes()))


def _huggingface_size(processor: Any) -> tuple[int | tuple[int, int] | None, float]:
    """Return the model's picture size and the share of the resized picture that its crop keeps."""

    def sides(size: Any) -> tuple[int, int] | None:
        if size is None:
            return None
        get = size.get if hasattr(size, "get") else lambda key: getattr(size, key, None)
        height, width = get("height"), get("width")
        if height and width:
            return int(height), int(width)
        edge = get("shortest_edge")
        return (int(edge), int(edge)) if edge else None

    resized = sides(getattr(processor, "size", None)) if getattr(processor, "do_resize", True) else None
    if getattr(processor, "do_center_crop", None):
        crop = sides(getattr(processor, "crop_size", None))
        if crop is not None:
            return crop, min(1.0, crop[0] / resized[0]) if resized else 1.0
    return resized, float(getattr(processor, "crop_pct", None) or 1.0)
