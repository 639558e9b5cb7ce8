"""A complete backend: pathattr explains toyframe's models.

Its package publishes it in pyproject.toml, under the name of the framework's top-level module:

    [project.entry-points."pathattr.backends"]
    toyframe = "pathattr_toyframe:ToyBackend"
"""

import numpy as np
import toyframe

from pathattr.errors import InvalidInput
from pathattr.models.backend import NO_OPTIONS, Backend
from pathattr.models.numpy_backend import LINK_FUNCTIONS


class ToyBackend(Backend):
    """Models of toyframe, in the dtype of their weights."""

    name = "toyframe"
    channel_axis = 1

    @classmethod
    def recognises_model(cls, model):
        return isinstance(model, toyframe.Model)

    @classmethod
    def recognises_array(cls, array):
        return isinstance(array, toyframe.Array)

    def __init__(self, model, inputs, call, options=NO_OPTIONS):
        if call.args or call.kwargs or call.name:
            raise InvalidInput("toyframe's models take one input only: pass neither args nor kwargs")
        self.model, self.dtype = model, model.weight.dtype

    has_float64 = True

    def asarray(self, array):
        return toyframe.array(array, self.dtype)

    def wide(self, array):
        return toyframe.array(array, np.float64)

    narrow = asarray

    def to_numpy(self, array):
        return np.asarray(array)

    def restore(self, array, like):
        array = array.astype(like.dtype)
        return toyframe.array(array) if self.recognises_array(like) else array

    def einsum(self, equation, left, right):
        return np.einsum(equation, left, right, optimize=True)

    clip, cos, exp = staticmethod(np.clip), staticmethod(np.cos), staticmethod(np.exp)
    where, reshape, concat = staticmethod(np.where), staticmethod(np.reshape), staticmethod(np.concatenate)

    def link(self, name, outputs, axis):
        return LINK_FUNCTIONS[name](outputs, axis)

    def outputs(self, points, rows):
        return self.model.forward(points)

    def gradient(self, points, objective, targets, rows):
        # With automatic differentiation objective.score is differentiated; a backward pass takes its derivative.
        outputs = self.model.forward(points)
        cotangent = objective.cotangent(self, outputs, targets)
        return objective.score(self, outputs, targets), self.model.backward(points, cotangent)
