"""The TensorFlow adapter of pathattr; Keras models where Keras runs on TensorFlow."""

from pathattr_tensorflow.backend import TensorFlowBackend

__all__ = ["TensorFlowBackend"]
