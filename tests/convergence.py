"""Measured orders of convergence: how fast attributions approach the integral as steps grow.

python tests/convergence.py table > docs/convergence.md
"""

import sys

import numpy as np

from pathattr import LinearRamp, PathExplainer
from pathattr.families import FAMILIES
from pathattr.integration.quadrature import RULES
from pathattr.testing import ReluNetwork, TanhNetwork

SHAPE = (2, 6, 5)
NETWORKS = {"smooth": TanhNetwork, "ReLU": ReluNetwork}
# Gates of bands have their kinks at tenths: these counts meet those at the same place between two edges, which would
# otherwise come and go and hide the order.
STEPS = (33, 43, 63, 93, 133, 183, 253)
REFERENCE_STEPS = 8191  # far beyond the last of STEPS, and a prime: it shares no edge with them
INPUTS = 6


def orders(family, network, schedule, networks):
    """Return, for every rule, the measured order of INPUTS inputs to each of so many networks: {rule: (examples,)}.

    It is the slope of log ‖error‖ against log steps, fitted over STEPS, of the attributions of one logit.
    """
    found = {rule: [] for rule in RULES}
    for seed in range(networks):
        x, start = np.random.default_rng(seed).normal(size=(2, INPUTS, *SHAPE))
        model = network.random(SHAPE, hidden=16, seed=seed).model()
        options = {
            "family": family, "schedule": schedule, "baseline": start, "output": "logit", "components": False,
            "batch_size": 4096,
        }  # fmt: skip

        def attributions(rule, steps, model=model, x=x, options=options):
            return PathExplainer(model, rule=rule, steps=steps, **options)(x, 1).attributions.reshape(INPUTS, -1)

        exact = attributions("midpoint", REFERENCE_STEPS)
        for rule, slopes in found.items():
            errors = [np.linalg.norm(attributions(rule, steps) - exact, axis=1) for steps in STEPS]
            slopes.append(-np.polyfit(np.log(STEPS), np.log(errors), 1)[0])
    return {rule: np.concatenate(slopes) for rule, slopes in found.items()}


def table(networks=8):
    """Return the page of docs: medians for every rule, kind of network and family."""
    rules = ("left", "right", "trapezoid", "midpoint")
    lines = [
        "# Convergence: measured orders",
        "",
        "How fast attributions approach the integral along the path as steps grow: error ~ steps^(−order). The default",
        f"schedule, `{LinearRamp()!r}`, steps from {STEPS[0]} to {STEPS[-1]}; medians over {networks} random",
        f"networks with {INPUTS} inputs each. The declared order holds for smooth models. On ReLU networks",
        "the gradient jumps at kinks: every rule is then of about the first order, with an error that depends on where",
        "the kinks fall between two points.",
        "",
        "Measured and written by `python tests/convergence.py table > docs/convergence.md`.",
        "",
        f"| network | family | {' | '.join(rules)} |",
        f"|---|---|{'---|' * len(rules)}",
        f"| smooth | *declared* | {' | '.join(str(RULES[rule].order) for rule in rules)} |",
    ]
    for kind, network in NETWORKS.items():
        for family in FAMILIES:
            found = orders(family, network, LinearRamp(), networks)
            lines.append(f"| {kind} | {family} | {' | '.join(f'{np.median(found[rule]):.2f}' for rule in rules)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] != ["table"]:
        sys.exit(__doc__)
    print(table())
