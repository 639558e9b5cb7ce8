"""A model ready for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pathattr.common.axes import Array
from pathattr.errors import InvalidInput, PathattrError
from pathattr.models.backend import Call, host_memory
from pathattr.models.registry import backend_for, wrapped
from pathattr.pictures.image_model import ImageModel, prepare
from pathattr.pictures.reading import read_picture

BYTES_A_PIXEL = 200  # of the picture that is explained; the least that was measured is 290, on a straight line


class PlacedModel:
    """A model ready for pictures: placed on its device, with its size and where it wants how many channels.

    What is not known of the channels is asked of the model itself, at the first picture.
    """

    def __init__(
        self,
        image_model: ImageModel,
        spec: str,
        device: str | None,
        size: int | None = None,
        backend: str | None = None,
        channel_axis: int | None = None,
        head: str | None = None,
    ) -> None:
        if channel_axis is not None:
            image_model = replace(image_model, channel_axis=channel_axis)
        if size is not None:
            image_model = replace(image_model, size=size)
        probe = np.zeros((1, 3, 8, 8), np.float32)
        self.backend = backend_for(image_model.model, probe, backend)
        if device is not None:
            image_model = replace(image_model, model=self.backend.place(image_model.model, device))
        self.model, self.spec, self.device, self._forced = image_model, spec, device, backend
        self._call = Call(head=head)
        axis = image_model.channel_axis
        self._axis = wrapped(image_model.model, probe, Call(), backend).channel_axis if axis == "auto" else axis
        self._settled = self._axis is not None and image_model.known_channels is not None

    @property
    def channel_axis(self) -> int:
        """Where the channels are, batch axis counted; first as long as nobody has told."""
        return 1 if self._axis is None else self._axis

    def read(self, named: Sequence[tuple[str, Path]]) -> list[tuple[str, Array]]:
        """Return the pictures of named files."""
        return [(name, read_picture(path)) for name, path in named]

    def inputs(self, picture: Array) -> tuple[Array, Array]:
        """Return a picture as shown, (h, w, 3) in [0, 1], and as a batch of one for the model, float32."""
        check_room(self.model.shape or picture.shape[:2])
        self.settle(picture)
        return self._prepared(picture, self.model, self.channel_axis)

    def settle(self, picture: Array) -> None:
        """Ask the model where it takes how many channels, unless that is known: colour or grey, first or last.

        It is what gives an answer at the picture, or else what gives one that is refused, as where several outputs
        leave a choice. Where nothing does, the explanation will tell why; raises InvalidInput where channels may be
        first or last and both give an answer.
        """
        if self._settled:
            return
        counts: tuple[Literal[1, 3], ...] = (3, 1)
        asked = [replace(self.model, channels=count) for count in counts]
        models = asked if self.model.known_channels is None else [self.model]
        own = [1, -1] if self._axis is None else [self._axis]
        others = [] if self._axis is None or self.model.channel_axis != "auto" else [1 if self._axis != 1 else -1]
        for refused, axes, model in product((False, True), (own, others), models):
            answered = [axis for axis in axes if self._answers(picture, model, axis, refused)]
            if len(answered) > 1 and not refused:
                raise InvalidInput(
                    f"the model {self.spec} answers with channels first and with channels last, and nothing says "
                    "which are meant: say --channel-axis 1 for first, or --channel-axis -1 for last"
                )
            if answered:
                self.model, self._axis, self._settled = model, answered[0], not refused
                return

    def _answers(self, picture: Array, model: ImageModel, axis: int, refused: bool) -> bool:
        """Tell whether the model takes a picture so; with `refused`, an answer that its backend refuses counts too."""
        try:
            _, inputs = self._prepared(picture, model, axis)
            adapter = wrapped(model.model, inputs, self._call, self._forced)
            if not adapter.has_outputs:
                return model.known_channels == 3  # nothing can be asked of a gradient alone
            with adapter.running():
                adapter.outputs(adapter.asarray(inputs), np.zeros(1, np.intp))
        except PathattrError:
            return refused
        except (Exception, SystemExit):  # whatever a model does at what it does not take
            return False
        return True

    def _prepared(self, picture: Array, model: ImageModel, axis: int) -> tuple[Array, Array]:
        shown, inputs = prepare(picture, model)
        return shown, np.moveaxis(inputs, 0, axis - 1 if axis > 0 else -1)[None].astype(np.float32)

    def shown(self, points: Array) -> list[Array]:
        """Return points of a path, (n, *example) in input space, as pictures in [0, 1]; what lies outside is cut."""
        first = np.moveaxis(points, self.channel_axis, 1)
        preprocessing = self.model.preprocessing
        raw = [p if preprocessing is None else preprocessing.restore(p) for p in first]
        return [np.broadcast_to(np.clip(np.moveaxis(p, 0, -1), 0, 1), (*p.shape[1:], 3)) for p in raw]

    def target_name(self, target: Any, contrast: bool) -> str:
        """Return what was explained, as a person reads it: a class, a place of dense outputs, or one minus another."""
        names = self.model.classes

        def name(one: Any) -> str:
            if np.ndim(one):
                return f"output {', '.join(map(str, one))}"
            return str(names[one]) if names is not None and one < len(names) else f"class {one}"

        return " − ".join(map(name, target)) if contrast else name(target)


def check_room(shape: tuple[int, ...]) -> None:
    """Raise InvalidInput where one picture of so many pixels cannot be worked on in the memory that is free."""
    height, width = shape
    memory = host_memory()
    if memory is not None and BYTES_A_PIXEL * height * width > memory.free:
        raise InvalidInput(
            f"explaining {height} × {width} pixels takes about {BYTES_A_PIXEL * height * width / 2**30:.2g} GB, and "
            f"{memory.free / 2**30:.2g} GB are free: say a smaller --size"
        )
