"""What it costs to integrate to 2%: placements of nodes, and the tolerance mode with its calibration.

    python tests/benchmarks/nodes.py measure --model FILE.py:CALLABLE --images FILE.npy --json OUT.json
    python tests/benchmarks/nodes.py page A.json B.json         # the tables of placements in docs/nodes.md
    python tests/benchmarks/nodes.py calibration A.json B.json  # its table of steps="auto"

Images are an array (count, channels, height, width), as the model takes them. The truth is the refined path with
`--truth` nodes, whose own error is told by the difference from half as many. A forward pass counts as a third of a
gradient.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import pathattr as pa
from pathattr.integration import refinement
from pathattr.integration.nodes import ArcLength, Nodes, OutputAware, Refined, Uniform
from pathattr.integration.quadrature import Edges
from pathattr.models.specs import load_model

OVERLAPS = (0.4, 0.1)
LINE = 1.0  # one component whose gate is α: the straight line
LEVEL = 0.02
TOLERANCES = (0.02, 0.05, 0.1)
LADDER = (25, 50, 100, 200, 400)
FURTHER = (800, 1600)  # for placements that are not there yet


class Knots(Nodes):
    """Equal shares of the path's length, and edges where the gates of the strongest components have their kinks."""

    def edges(self, course, steps, scores):
        strongest = course.strengths[np.argsort(-course.energy)[:8]]
        starts = course.schedule.starts(strongest)
        knots = np.concatenate([starts, starts + course.schedule.overlap])
        shares = np.linspace(0.0, 1.0, max(2, steps + 1 - len(knots)))
        alpha = np.unique(np.concatenate([course.at(shares), knots[(knots > 0) & (knots < 1)]]))
        return Edges(alpha, alpha, np.zeros(len(alpha)), 0.5 * (alpha[1:] + alpha[:-1]))


@dataclass(frozen=True)
class Started(Refined):
    """Refined, beginning with another number of nodes."""

    start: int = refinement.START


PLACEMENTS = {
    "uniform in α, left rule, 0 to 1 (published)": ("left", Uniform()),
    "uniform in α, midpoint": ("midpoint", Uniform()),
    "equal shares of length, midpoint": ("midpoint", ArcLength()),
    "equal shares of length and the knots of 8 gates, midpoint": ("midpoint", Knots()),
    "output-aware, 33 passes, √|ΔF|": ("midpoint", OutputAware()),
    "the same, trapezoid": ("trapezoid", OutputAware()),
    "the same, 17 passes": ("midpoint", OutputAware(grid=17)),
    "the same, 65 passes": ("midpoint", OutputAware(grid=65)),
    "the same, mixture 0.1": ("midpoint", OutputAware(mixture=0.1)),
    "the same, mixture 0.6": ("midpoint", OutputAware(mixture=0.6)),
    "the same, |ΔF|": ("midpoint", OutputAware(exponent=1.0)),
    "refined by gradients": ("trapezoid", Refined()),
    "the same, beginning with 9 nodes": ("trapezoid", Started(start=9)),
    "the same, beginning with 33 nodes": ("trapezoid", Started(start=33)),
}
PUBLISHED = "uniform in α, left rule, 0 to 1 (published)"


def attributed(model, x, overlap, batch_size, **options):
    explainer = pa.PathExplainer(
        model,
        family="linear" if overlap == LINE else "svd",
        schedule=pa.LinearRamp(overlap),
        batch_size=batch_size,
        components=False,
        backend_options={"channels_last": True},
        **options,
    )
    nodes = explainer.nodes
    with mock.patch.object(refinement, "START", nodes.start if isinstance(nodes, Started) else refinement.START):
        return explainer(x)


def flat(found):
    return found.numpy().astype(np.float64).reshape(len(found.score), -1)


def relative(found, truth):
    return np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)


def crossing(cost, error):
    """The cost from which on the error stays below the level, between two rungs on log scales; inf if it never does."""
    above = np.flatnonzero(np.asarray(error) > LEVEL)
    if not len(above):
        return float(cost[0])
    k = above[-1]
    if k == len(error) - 1:
        return float("inf")
    part = np.log(error[k] / LEVEL) / np.log(error[k] / error[k + 1])
    return float(cost[k] * (cost[k + 1] / cost[k]) ** part)


def measure(options):
    torch.set_num_threads(options.threads)
    model = load_model(options.model).model
    images = torch.tensor(np.load(options.images), dtype=torch.float32)
    record = {"model": options.name or options.model, "truth": options.truth, "runs": []}
    for first in range(0, len(images), options.group):
        for overlap in (*OVERLAPS, LINE) if options.line else OVERLAPS:
            x = images[first : first + options.group]
            say(f"ω = {overlap}: images {first} to {first + len(x) - 1} of {len(images)}")
            reference, checked = truth(model, x, overlap, options, first)
            run = {
                "overlap": overlap,
                "images": list(range(first, first + len(x))),
                "truth_against_half": checked.tolist(),
                "auto": {
                    str(level): automatic(model, x, overlap, options, level, reference) for level in options.tolerances
                },
                "ladder": {},
            }
            some = max(0, min(len(x), options.images_for_ladder - first))
            for name, (rule, nodes) in PLACEMENTS.items() if some else ():
                if options.only and not name.startswith(tuple(options.only)):
                    continue
                run["ladder"][name] = ladder(
                    model, x[:some], overlap, options.batch_size, rule, nodes, reference[:some]
                )
            record["runs"].append(run)
            Path(options.json).write_text(json.dumps(record))


def automatic(model, x, overlap, options, tolerance, reference):
    found = attributed(model, x, overlap, options.batch_size, steps="auto", tolerance=tolerance)
    return {
        "cost": (found.evaluations + 1).tolist(),  # one more for the forward passes at both ends
        "estimate": found.error.tolist(),
        "error": relative(flat(found), reference).tolist(),
    }


def truth(model, x, overlap, options, first):
    """The attributions, and for the first group how far half as many nodes are from them; kept where so asked."""
    kept = options.truths and Path(options.truths, f"{overlap}_{first}_{len(x)}_{options.truth}.npz")
    if kept and kept.exists():
        with np.load(kept) as file:
            return file["reference"], file["checked"]
    reference, half = (
        flat(attributed(model, x, overlap, options.batch_size, steps=steps, nodes="refined"))
        for steps in ((options.truth, options.truth // 2) if not first else (options.truth, 1))
    )
    checked = relative(half, reference) if not first else np.empty(0)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, reference=reference, checked=checked)
    return reference, checked


def ladder(model, x, overlap, batch_size, rule, nodes, truth):
    costs, errors = [], []
    for steps in (*LADDER, *FURTHER):
        if steps in FURTHER and (np.array(errors[-1]) < LEVEL).all():
            break
        found = attributed(model, x, overlap, batch_size, steps=steps, rule=rule, nodes=nodes)
        # Left: every point that the published code evaluates, resting or not; others: those that were evaluated.
        gradients = np.full(len(x), steps) if rule == "left" else found.evaluations
        costs.append((gradients + nodes.passes / 3).tolist())
        errors.append(relative(flat(found), truth).tolist())
    return {"cost": costs, "error": errors}


def page(paths):
    """Print the tables of placements, a section a record and overlap."""
    for path in paths:
        record = json.loads(Path(path).read_text())
        for overlap in OVERLAPS:
            runs = [run for run in record["runs"] if run["overlap"] == overlap]
            if runs:
                section(record, overlap, runs)


def section(record, overlap, runs):
    checked = np.concatenate([run["truth_against_half"] for run in runs])
    print(f"""
### {record["model"]}, ω = {overlap}

{sum(len(run["images"]) for run in runs)} images. Truth: {record["truth"]} refined nodes; half as many differ from it by
{np.median(checked):.2%} in the median and {checked.max():.2%} at most ({len(checked)} images).

| placement | gradients for 2%: median [quartiles] | never within the ladder | median error at 50 / 100 / 200 steps |
|---|---|---|---|""")
    for name in PLACEMENTS:
        crossings, rungs = [], {50: [], 100: [], 200: []}
        for run in (run for run in runs if name in run["ladder"]):
            cost, error = (np.array(run["ladder"][name][key]) for key in ("cost", "error"))
            crossings += [crossing(cost[:, i], error[:, i]) for i in range(error.shape[1])]
            for steps, found in rungs.items():
                found += error[LADDER.index(steps)].tolist()
        if crossings:
            low, middle, high = np.quantile(crossings, [0.25, 0.5, 0.75], method="nearest")
            never = sum(np.isinf(crossings))
            shown = " / ".join(f"{np.median(found):.1%}" for found in rungs.values())
            print(f"| {name} | {middle:.0f} [{low:.0f}, {high:.0f}] | {never} of {len(crossings)} | {shown} |")


def calibration(paths):
    """Print what auto takes and how far it is from the truth, one row a record, path and tolerance."""
    print("| network, path | images; truth | tolerance | gradients | estimate | true error | below the estimate |")
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        record = json.loads(Path(path).read_text())
        for overlap in (*OVERLAPS, LINE):
            runs = [run for run in record["runs"] if run["overlap"] == overlap]
            for level in runs[0]["auto"] if runs else ():
                cost, estimate, error = (
                    np.concatenate([run["auto"][level][key] for run in runs]) for key in ("cost", "estimate", "error")
                )
                least, most = np.quantile(cost, [0.1, 0.9])
                cells = (
                    f"{record['model']}, {'straight line' if overlap == LINE else f'ω = {overlap}'}",
                    f"{len(cost)}; {record['truth']}",
                    f"{float(level):.0%}",
                    f"{np.median(cost):.0f} ({least:.0f} to {most:.0f}; {cost.max():.0f})",
                    f"{np.median(estimate):.2%}",
                    f"{np.median(error):.2%}; {np.quantile(error, 0.9):.2%}; {error.max():.2%}",
                    f"{np.sum(error <= estimate)} of {len(error)}",
                )
                print(f"| {' | '.join(cells)} |")


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("measure")
    run.add_argument("--model", required=True)
    run.add_argument("--name")
    run.add_argument("--images", required=True)
    run.add_argument("--images-for-ladder", type=int, default=8)
    run.add_argument("--only", nargs="*", help="placements whose names begin so; the published one must be there")
    run.add_argument("--truth", type=int, default=640)
    run.add_argument("--truths", help="a folder that keeps the truths, to measure again what refinement takes for less")
    run.add_argument("--tolerances", nargs="*", type=float, default=TOLERANCES)
    run.add_argument("--line", action="store_true", help="the straight line too")
    run.add_argument("--group", type=int, default=10)
    run.add_argument("--batch-size", type=int, default=64)
    run.add_argument("--threads", type=int, default=torch.get_num_threads())
    run.add_argument("--json", required=True)
    for name in ("page", "calibration"):
        commands.add_parser(name).add_argument("json", nargs="+")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options)
    else:
        {"page": page, "calibration": calibration}[options.command](options.json)


if __name__ == "__main__":
    main()
