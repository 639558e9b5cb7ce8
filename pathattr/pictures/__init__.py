"""Pictures as files, and as a model takes them."""

from pathattr.pictures.image_model import ImageModel, prepare
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.pictures.reading import read_picture

__all__ = ["ImageModel", "Preprocessing", "prepare", "read_picture"]
