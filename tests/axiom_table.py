"""The page of axioms: what each path promises, with the residual measured, and the counterexamples that are kept.

python tests/axiom_table.py > docs/axioms.md
"""

import sys
from itertools import product

from axiom_cases import AXIOMS, VARIANTS, counterexample, expectation, reference, residual
from pathattr import families

WORDS = {"exact": "exact", "to discretisation": "to discretisation", "not promised": "does not hold"}
DESCRIPTION = """\
# Axioms: what each path promises

What a family, its ordering and its schedule promise is held against every model by
[`pathattr verify`](verify-your-model.md), and against analytic models in float64 by the tests of this package. Where an
axiom is not promised, a counterexample is kept.

Measured and written by `python tests/axiom_table.py > docs/axioms.md`.

## What they say
"""
FAMILIES = """
## Families

As they are by default, on pictures of 8 × 8 pixels. Beside each word stands the relative residual: of the promise on a
smooth network in float64, or of the counterexample.
"""
CONDITIONS = """
## Conditions

- **Every path**: completeness, dummy, linearity in the explained score (at equal nodes), translation of input and
  baseline together, one global scale, batch independence, reproducibility. Implementation invariance holds by
  construction: paths and attributions know a model by its values and gradients alone.
- **The straight line** keeps them all. It alone treats features one by one: symmetry, nothing for an unchanged feature,
  one factor per feature. Spectral paths break these three and may leave the box between baseline and input.
- **Sensitivity (a)**: the straight line and the SVD, since one feature that differs is one singular component.
- **Equivariance**: the SVD under any order of rows and of columns and under flips; with separate channels under
  transposition and rotations too. DCT: flips, transposition, rotations. Wavelets and the Laplacian pyramid:
  transposition; flips, and so rotations, where every side can be halved evenly, since an odd side has no middle between
  two pixels (wavelets: symmetric filters of even length only, as of Haar, bior1.x and bior3.x).
- **Channel scale**: where a channel's strengths depend on no other channel.
- **Orderings** that look at places (rank, which breaks ties so; shuffled; the published order of bands) are not
  promised to move with what changes places. Singular components are not defined one by one where singular values are
  equal: strengths by energy need only their sum, ranks need each.
- **Schedules**: promises to rounding are for continuous ramps. A jump that rounding moves across the border of two
  intervals is integrated with the next one, and jumps share out their nodes by energy over all channels. Jumps as
  published take the gradient before the jump, which is incomplete.
- **Distance**: orthogonal components (SVD, DCT, orthogonal wavelets on even sides). **Eckart-Young**: singular
  components, the strongest first; at every rank, no path is closer to the input.
- **ω → 1**: attributions tend to Integrated Gradients at the rate 1 − ω for models with a Lipschitz gradient; no
  monotony is promised. `pathattr verify` records the distance at ω = 0.9, 0.95 and 0.975.
"""
OTHERS = """
## Other orderings, schedules and sides

What differs from the family as it is by default. Promises are conservative: an ordering or a schedule that breaks an
axiom for some family does not promise it for any.
"""
COUNTEREXAMPLES = """
## Counterexamples

All are built by `tests/axiom_cases.py`, with the smallest and the largest residual over the paths that do not promise
the axiom; the ordinary problem is the smooth network at two random inputs.
"""


def number(value):
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-") if value < 0.01 else f"{value:.2g}"


def measured(name, axiom):
    """Return the residual of a promise, or of the counterexample where there is one."""
    kept = not VARIANTS[name].promises(axiom) and expectation(name, axiom) is None
    return number(residual(counterexample(name, axiom)[1] if kept else reference(name), axiom).worst)


def of_families():
    """Return the table of the families as they are by default."""
    yield f"| axiom | {' | '.join(families.FAMILIES)} |"
    yield "|---|" + len(families.FAMILIES) * "---|"
    for axiom in AXIOMS:
        cells = [f"{WORDS[VARIANTS[name].promise(axiom)]} {measured(name, axiom)}" for name in families.FAMILIES]
        yield f"| {axiom} | {' | '.join(cells)} |"


def differences(name):
    """Return the axioms that a variant promises unlike its family: (violated, held all the same, promised besides)."""
    family, variant = VARIANTS[name.replace(",", " ").split()[0]], VARIANTS[name]
    fewer = [axiom for axiom in AXIOMS if family.promises(axiom) and not variant.promises(axiom)]
    more = [axiom for axiom in AXIOMS if variant.promises(axiom) and not family.promises(axiom) and variant.has(axiom)]
    return [a for a in fewer if not expectation(name, a)], [a for a in fewer if expectation(name, a)], more


def of_others():
    """Return the table of other orderings, schedules and sides."""
    yield "| path | no longer holds | no longer promised, held here | holds besides |"
    yield "|---|---|---|---|"
    for name in VARIANTS:
        if name not in families.FAMILIES:
            cells = [", ".join(f"{a} {measured(name, a)}" for a in axioms) or "-" for axioms in differences(name)]
            yield f"| {name} | {' | '.join(cells)} |"


def of_counterexamples():
    """Return one line for each counterexample and axiom: the residuals, and how many paths are meant."""
    found = {}
    for name, axiom in product(VARIANTS, AXIOMS):
        if not VARIANTS[name].promises(axiom) and expectation(name, axiom) is None:
            build, case = counterexample(name, axiom)
            found.setdefault(build.__doc__, {}).setdefault(axiom, {})[name] = residual(case, axiom).worst
    for says, axioms in found.items():
        yield f"{says}\n"
        for axiom, sizes in axioms.items():
            span = " to ".join(dict.fromkeys(number(size) for size in (min(sizes.values()), max(sizes.values()))))
            paths = "; ".join(sizes) if len(sizes) < 6 else f"{len(sizes)} of the {len(VARIANTS)} paths"
            yield f"- {axiom} {span} ({paths})"
        yield ""


def page():
    yield DESCRIPTION
    yield "| axiom | says |"
    yield "|---|---|"
    yield from (f"| {name} | {axiom.says} |" for name, axiom in AXIOMS.items())
    for text, lines in (
        (FAMILIES, of_families),
        (CONDITIONS + OTHERS, of_others),
        (COUNTEREXAMPLES, of_counterexamples),
    ):
        yield text
        yield from lines()


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    print("\n".join(page()).rstrip())
