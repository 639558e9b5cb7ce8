"""The integral along a path: nodes, points, gradients in blocks, sums."""
