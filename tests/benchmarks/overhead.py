"""How much longer an explanation takes than the same number of bare gradients, for every family.

    python tests/benchmarks/overhead.py [--model resnet50|resnet18|scenes|file.py:callable] [--size 224] [--profile]

Each repeat times the families in turn, with and without attributions per component, and bare gradients before and after
each; the table shows medians of the ratio and their spread. `--profile` adds where the time goes.
"""

import argparse
import json
import os
from pathlib import Path

import networks
import torch
from common import CORES, machine, normalised, pictures, seconds, spread, table
from parts import PARTS, REST, shares

import pathattr as pa
from pathattr import scenes
from pathattr.families import FAMILIES


def bare(model, points, count):
    """Take `count` gradients of a probability, as many points at once as there are, as a careful user would."""
    for first in range(0, count, len(points)):
        x = points[: count - first].detach().requires_grad_(True)
        torch.autograd.grad(torch.softmax(model(x), 1)[:, 0].sum(), x)


def measured(options, model, x):
    """Return by family the gradients taken, and the ratios of every repeat; with shares of the time if asked."""
    points = x.expand(options.batch_size, -1, -1, -1).contiguous()
    explainers, found = {}, {}
    for name in options.families:
        for components in (True,) if options.components_only else (True, False):
            explainer = explainers[name, components] = pa.PathExplainer(
                model, family=name, steps=options.steps, batch_size=options.batch_size, components=components
            )
            explainer.but(steps=options.batch_size)(x, 0)  # warms up, in blocks of the same size
        found[name] = {"with": [], "without": []}
    bare(model, points, options.batch_size)

    def floor(count):
        return seconds(lambda: bare(model, points, count), options.device) / count

    for _ in range(options.repeats):
        before = floor(options.steps)
        for (name, components), explainer in explainers.items():
            results = []
            spent = seconds(lambda explainer=explainer, to=results: to.append(explainer(x, 0)), options.device)
            count = found[name]["gradients"] = int(results[0].evaluations[0])
            after = floor(count)
            found[name]["with" if components else "without"].append(spent / count / (0.5 * (before + after)))
            before = after
    if options.profile:
        for name, record in found.items():
            record["shares"] = shares(lambda name=name: explainers[name, True](x, 0), options.device)
    return found


def tables(found):
    """Return the lines of the tables."""
    head = ("family", "gradients", "time over bare gradients", "without components")
    rows = [
        (n, r["gradients"], spread(r["with"], ".3f"), spread(r["without"], ".3f") if r["without"] else "–")
        for n, r in found.items()
    ]
    lines = table(head, rows)
    if any("shares" in record for record in found.values()):
        parts = (*PARTS, REST)
        rows = [(n, *(f"{100 * r['shares'][part]:.1f}%" for part in parts)) for n, r in found.items()]
        lines += ["", *table(("share of the time", *parts), rows)]
    return lines


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--size", type=int, help="of the picture; 224, for scenes 96")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--families", type=lambda text: text.split(","), default=list(FAMILIES))
    parser.add_argument("--components-only", action="store_true", help="leave out runs without attributions of them")
    parser.add_argument("--threads", type=int, default=CORES, help="of PyTorch; NumPy has OPENBLAS_NUM_THREADS")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda is untested: none was at hand")
    parser.add_argument("--profile", action="store_true", help="also show which part takes how much of the time")
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    options = parser.parse_args()
    options.size = options.size or (scenes.SIZE if options.model == "scenes" else 224)
    return options


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    facts = machine("torch")
    image_model = networks.load_torch(options.model)
    x = torch.tensor(normalised(pictures(1, options.size), image_model.preprocessing), device=options.device)
    found = measured(options, image_model.model.to(options.device), x)
    print(
        f"{options.model}, {options.size}×{options.size}, {options.steps} steps, blocks of {options.batch_size}, "
        f"{options.threads} threads, {options.device}, {options.repeats} repeats: median (lowest – highest)\n"
    )
    print("\n".join(tables(found)))
    if options.json:
        kept = {key: value for key, value in vars(options).items() if key != "json"}
        facts |= {"load_after": os.getloadavg()}
        options.json.write_text(json.dumps({"options": kept, "machine": facts, "families": found}, indent=1))


if __name__ == "__main__":
    main()
