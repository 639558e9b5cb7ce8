"""The methods that explain PyTorch models, each a function of `TorchSide` that returns what to time."""

import numpy as np
import torch
from torch import nn

import networks
import pathattr as pa


class Counted(nn.Module):
    """A model that counts the points it was shown, and those whose gradient was taken."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.forwards = self.gradients = 0
        self.eval()

    def forward(self, x):
        self.forwards += len(x)
        outputs = self.inner(x)
        if outputs.requires_grad:
            outputs.register_hook(self._noted)
        return outputs

    def _noted(self, gradient):
        self.gradients += len(gradient)


class TorchSide:
    """The job's network, pictures, baseline and targets, as PyTorch has them."""

    def __init__(self, job):
        torch.set_num_threads(job.threads)
        self.steps, self.block, self.device = job.steps, job.block, job.device
        torch.manual_seed(0)  # a callable that makes random weights makes the same in every process
        found = networks.load_torch(job.network, job.arrays())
        self.model = Counted(found.model.to(job.device))
        self.images, self.start = (torch.tensor(a, device=job.device) for a in job.normalised(found.preprocessing))
        self.targets = torch.tensor(job.targets, device=job.device)

    def probabilities(self, x):
        return torch.softmax(self.model(x), dim=1)

    def gradient(self, points, targets):
        """Return the gradients of the targets' probabilities."""
        points = points.detach().requires_grad_(True)
        chosen = self.probabilities(points).gather(1, targets[:, None])
        return torch.autograd.grad(chosen.sum(), points)[0]

    def warm_up(self):
        self.gradient(self.images[:1], self.targets[:1])

    def logits(self):
        """Return the logits of the pictures, a block at a time."""
        with torch.no_grad():
            return torch.cat([self.model(part) for part in self.images.split(self.block)]).cpu().double().numpy()

    def counts(self):
        return self.model.forwards, self.model.gradients

    def peak(self):
        """Return the most bytes held on the GPU since the last call; None on the CPU."""
        if self.device != "cuda":
            return None
        most = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return most

    def numpy(self, maps):
        """Return what a method gave as (batch, channels, height, width)."""
        return maps.detach().cpu().double().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps, float)

    def reference(self, nodes):
        """Integrate along the line with so many midpoints, a multiple of 3, in float64 and without any library.

        Returns the probabilities at both ends (2, batch), the attributions, and for each picture the relative change
        if only every third node, which are midpoints too, were used: more than what is wrong with all of them.
        """
        self.model.double()
        images, start = self.images.double(), self.start.double()
        found = [
            self._integral(image, start, target, nodes) for image, target in zip(images, self.targets, strict=True)
        ]
        ends, maps, changes = zip(*found, strict=True)
        return np.array(ends).T, np.stack(maps) if nodes else None, changes

    def _integral(self, image, start, target, nodes):
        with torch.no_grad():
            ends = self.probabilities(torch.stack([start, image]))[:, target].tolist()
        if not nodes:
            return ends, None, None
        thirds = torch.zeros((3, *image.shape), dtype=torch.float64, device=image.device)
        for first in range(0, nodes, self.block):
            node = torch.arange(first, min(first + self.block, nodes), device=image.device)
            alpha = (node.double() + 0.5)[:, None, None, None] / nodes
            thirds.index_add_(0, node % 3, self.gradient(start + alpha * (image - start), target.expand(len(node))))
        every, third = (total / nodes * (image - start) for total in (thirds.sum(0), 3 * thirds[1]))
        return ends, every.cpu().numpy(), float((every - third).norm() / every.norm())


def bare(side):
    """As many gradients in the same blocks, and nothing else: what no method can do without."""
    count = side.steps * len(side.images)
    points = side.images.repeat(-(-side.block // len(side.images)), 1, 1, 1)[: side.block].contiguous()
    targets = side.targets.repeat(-(-side.block // len(side.images)))[: side.block]

    def run():
        for first in range(0, count, side.block):
            size = min(side.block, count - first)
            side.gradient(points[:size], targets[:size])

    return run


def pathattr_on(family):
    def make(side):
        explainer = pa.PathExplainer(
            side.model, family=family, steps=side.steps, batch_size=side.block, baseline=side.start
        )
        return lambda: explainer(side.images, side.targets).attributions

    return make


def captum(rule):
    def make(side):
        from captum.attr import IntegratedGradients

        method = IntegratedGradients(side.probabilities)
        return lambda: method.attribute(
            side.images, side.start[None], side.targets, n_steps=side.steps, method=rule, internal_batch_size=side.block
        )

    return make


def saliency(side):
    """PAIR's library knows no framework: one NumPy picture at a time, gradients through a callback."""
    from saliency.core import INPUT_OUTPUT_GRADIENTS, IntegratedGradients

    method = IntegratedGradients()
    images, start = side.images.cpu().numpy(), side.start.cpu().numpy()

    def gradients(points, call_model_args=None, expected_keys=None):
        # Under NumPy 2 the library's points are float64, whatever the picture was.
        points = torch.tensor(points, dtype=side.images.dtype, device=side.device)
        found = side.gradient(points, call_model_args.expand(len(points)))
        return {INPUT_OUTPUT_GRADIENTS: found.cpu().numpy()}

    return lambda: np.stack([
        method.GetMask(x, gradients, target, start, x_steps=side.steps, batch_size=side.block)
        for x, target in zip(images, side.targets, strict=True)
    ])  # fmt: skip


METHODS = {
    "gradients-torch": bare,
    "pathattr-linear": pathattr_on("linear"),
    "pathattr-svd": pathattr_on("svd"),
    "captum-trapezoid": captum("riemann_trapezoid"),
    "captum-gausslegendre": captum("gausslegendre"),
    "saliency": saliency,
}
