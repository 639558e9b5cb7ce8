"""Models that no attribution can explain as they are, one for each thing that `pathattr verify` finds by name.

pathattr verify --model examples/broken_models.py:batch_statistics
"""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody does


class Sound(nn.Module):
    """A small classifier of pictures of any size, random weights, nothing wrong."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.filters = nn.Parameter(torch.randn(8, 3, 5, 5, generator=draw) / 5)
        self.weights = nn.Parameter(torch.randn(8, 4, generator=draw))
        self.eval()

    def features(self, x):
        return torch.relu(F.conv2d(x, self.filters, stride=3)).mean((2, 3))

    def forward(self, x):
        return 2 * self.features(x) @ self.weights


class BatchStatistics(Sound):
    """Normalises by what else is in the batch, evaluation mode or not."""

    def features(self, x):
        return torch.relu(F.batch_norm(F.conv2d(x, self.filters, stride=3), None, None, training=True)).mean((2, 3))


class Randomness(Sound):
    """Dropout that evaluation mode does not switch off."""

    def features(self, x):
        return F.dropout(super().features(x), 0.5, training=True)


class State(Sound):
    """Counts its calls, and what it says depends on the count."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1 + 0.5 ** (self.calls % 4))


class Rounding(Sound):
    """Rounds its features, as a quantised model does: the gradient is 0 wherever there is one."""

    def features(self, x):
        return torch.round(20 * super().features(x)) / 20


class Detached(Sound):
    """Leaves PyTorch on the way: no gradient comes back."""

    def features(self, x):
        return torch.from_numpy(super().features(x).detach().numpy())


class WrongBackward(Sound):
    """A ReLU that lets every gradient through, as some methods of visualisation do."""

    class PassThrough(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return torch.relu(x)

        @staticmethod
        def backward(context, gradient):
            return gradient

    def features(self, x):
        return self.PassThrough.apply(F.conv2d(x, self.filters, stride=3)).mean((2, 3))


class NotFinite(Sound):
    """Takes the logarithm of features that are 0 for a black picture."""

    def features(self, x):
        return torch.log(super().features(x))


sound, batch_statistics, randomness, state = Sound, BatchStatistics, Randomness, State
rounding, detached, wrong_backward, not_finite = Rounding, Detached, WrongBackward, NotFinite


def training_mode():
    """Return the sound model as training leaves it."""
    return Sound().train()
