"""Classifiers from SavedModel folders; those of Keras, which come with TensorFlow, are here too."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from pathattr.errors import InvalidInput
from pathattr.models.blame import brief
from pathattr.pictures.image_model import ImageModel
from pathattr_keras.loaders import load_keras, load_keras_file
from pathattr_tensorflow.models import SIGNATURE, first_spec

__all__ = ["load_keras", "load_keras_file", "load_savedmodel"]


def load_savedmodel(folder: str) -> ImageModel:
    """Return a SavedModel, which takes pixels in [0, 1]. It is a program: load those only that you trust."""
    path = Path(folder).expanduser()
    if not (path / "saved_model.pb").is_file():
        raise InvalidInput(
            f"{path} is no SavedModel: name a folder with a file saved_model.pb; a .keras file is keras-file:PATH"
        )
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # what is missing or damaged shows in many ways
        raise InvalidInput(
            f"the SavedModel {path} could not be loaded ({brief(error)}): save it again, or load it in Python and pass "
            "module:callable"
        ) from error
    if not callable(model) and SIGNATURE not in model.signatures:
        there = ", ".join(map(repr, model.signatures)) or "none"
        raise InvalidInput(
            f"the SavedModel {path} cannot be called and has no signature {SIGNATURE!r} (it has {there}): save it "
            "again with one, or load it in Python and pass module:callable"
        )
    spec = first_spec(model)
    shape = None if spec is None or spec.shape.rank is None else spec.shape.as_list()
    if shape is not None and len(shape) != 4:
        raise InvalidInput(
            f"pictures need a model whose input has 4 axes, batch counted; {path} takes {spec.shape}: wrap it in "
            "Python in a function of pictures, and pass module:callable"
        )
    # A SavedModel does not say where its channels are: three of them, or one, are told by the shape.
    axis = 1 if shape is not None and shape[1] in (1, 3) and shape[3] not in (1, 3) else -1
    sides = (None, None) if shape is None else tuple(shape[2:] if axis == 1 else shape[1:3])
    size = None if None in sides else (int(sides[0]), int(sides[1]))
    return ImageModel(model, size, channel_axis=axis)
