"""The PyTorch adapter of pathattr."""

from pathattr_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
