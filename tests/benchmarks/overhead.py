"""How much longer an explanation takes than the same number of bare gradients, for every family.

    python tests/benchmarks/overhead.py [--model resnet50|resnet18|scenes|mlp|file.py:callable] [--framework torch]

Each repeat times the families in turn, with and without attributions per component, and bare gradients before and after
each; the table shows medians of the ratio and of the milliseconds beyond the gradients, and their spread. On a CPU with
one thread it is the processor's time, which other processes disturb less. `--profile` adds where the time goes.
"""

import argparse
import json
import os
import time
from pathlib import Path

import pathattr as pa
from bare import FRAMEWORKS, repeated, subject
from common import CORES, machine, seconds, spread, table
from parts import PARTS, REST, shares
from pathattr import scenes
from pathattr.families import FAMILIES


def processor_seconds(function):
    """Return how much of the processor's time a call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


def measured(options, asked):
    """Return by family the gradients taken, and the ratios of every repeat; with shares of the time if asked."""
    model, x, block = asked.model, asked.x, min(options.batch_size, options.steps)
    points = asked.points(repeated(x, block))
    explainers, found = {}, {}
    for name in options.families:
        for components in (True,) if options.components_only else (True, False):
            explainer = explainers[name, components] = pa.PathExplainer(
                model, family=name, steps=options.steps, batch_size=block, components=components,
                channel_axis=asked.channel_axis,
            )  # fmt: skip
            for _ in range(2):
                explainer(x, 0)  # warms up; from the second call on compiled functions are found again
        found[name] = {"with": [], "without": [], "beyond": []}

    def bare():
        for first in range(0, options.steps, block):
            asked.gradients(points if first + block <= options.steps else points[: options.steps - first])

    def spent(function):
        one = options.device == "cpu" and options.threads == 1
        return processor_seconds(function) if one else seconds(function, options.device)

    bare()
    for _ in range(options.repeats):
        before = spent(bare) / options.steps
        for (name, components), explainer in explainers.items():
            results = []
            taken = spent(lambda explainer=explainer, to=results: to.append(explainer(x, 0)))
            count = found[name]["gradients"] = int(results[0].evaluations[0])
            after = spent(bare) / options.steps
            gradients = count * 0.5 * (before + after)
            found[name]["with" if components else "without"].append(taken / gradients)
            if components:
                found[name]["beyond"].append(1000 * (taken - gradients))
            before = after
    if options.profile:
        for name, record in found.items():
            record["shares"] = shares(lambda name=name: explainers[name, True](x, 0), options.device)
    return found


def tables(found):
    """Return the lines of the tables."""
    head = ("family", "gradients", "time over bare gradients", "beyond them, ms", "without components")
    rows = [
        (
            n, r["gradients"], spread(r["with"], ".3f"), spread(r["beyond"], ".1f"),
            spread(r["without"], ".3f") if r["without"] else "–",
        )
        for n, r in found.items()
    ]  # fmt: skip
    lines = table(head, rows)
    if any("shares" in record for record in found.values()):
        parts = (*PARTS, REST)
        rows = [(n, *(f"{100 * r['shares'][part]:.1f}%" for part in parts)) for n, r in found.items()]
        lines += ["", *table(("share of the time", *parts), rows)]
    return lines


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="torch")
    parser.add_argument("--size", type=int, help="of the picture; 224, for scenes 96")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--families", type=lambda text: text.split(","), default=list(FAMILIES))
    parser.add_argument("--components-only", action="store_true", help="leave out runs without attributions of them")
    parser.add_argument("--threads", type=int, default=CORES, help="JAX and NumPy: OMP_NUM_THREADS")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda is untested: none was at hand")
    parser.add_argument("--profile", action="store_true", help="also show which part takes how much of the time")
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    options = parser.parse_args()
    options.size = options.size or (scenes.SIZE if options.model == "scenes" else 224)
    return options


def main():
    options = arguments()
    facts = machine(options.framework)
    found = measured(options, subject(options.framework, options.model, options.size, options.device, options.threads))
    print(
        f"{options.model} in {options.framework}, {options.size}×{options.size}, {options.steps} steps, "
        f"blocks of {options.batch_size}, "
        f"{options.threads} threads, {options.device}, {options.repeats} repeats: median (lowest – highest)\n"
    )
    print("\n".join(tables(found)))
    if options.json:
        kept = {key: value for key, value in vars(options).items() if key != "json"}
        facts |= {"load_after": os.getloadavg()}
        options.json.write_text(json.dumps({"options": kept, "machine": facts, "families": found}, indent=1))


if __name__ == "__main__":
    main()
