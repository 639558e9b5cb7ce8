"""Sparseness: how few entries hold the attribution. It says nothing about whether they are the right ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from pathattr.common.axes import Array
from pathattr.metrics.metric import Metric
from pathattr.metrics.scores import Scores
from pathattr.metrics.subject import Subject


@dataclass(frozen=True)
class Sparseness(Metric):
    """The Gini index of |a| over all entries of a map (Chalasani et al. 2020): 0 for equal ones, 1 − 1/n for one alone.

    `complexity` is the entropy of |a|/Σ|a| in nats (Bhatt et al. 2020), from 0 to log n. NaN for a map of zeros.
    """

    def scores(self, subject: Subject, maps: Array) -> Scores:
        shares = np.sort(np.abs(maps.reshape(len(maps), -1)), axis=1)
        # By the largest first: a sum of very small or large entries has fewer digits, or none.
        with np.errstate(invalid="ignore"):  # 0/0
            shares = shares / shares[:, -1:]
            shares = shares / shares.sum(axis=1, keepdims=True)
        count = shares.shape[1]
        rank = np.arange(1, count + 1)
        gini = 1 - 2 * (shares * (count - rank + 0.5) / count).sum(axis=1)
        values = {"sparseness": gini, "complexity": special.entr(shares).sum(axis=1)}
        return Scores(repr(self), values, {"sparseness": "higher", "complexity": "lower"})
