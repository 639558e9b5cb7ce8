r"""Integrated Gradients of pathattr and of its peers: the same network, pictures, steps and blocks, measured in turn.

    python tests/benchmarks/peers.py --network resnet18,resnet50 --grow steps,size,batch \
        --out results --markdown docs/benchmarks-peers.md

writes results/peers.json and a page of tables. Peers come with `pip install 'pathattr[peers]'`; one that is not
installed is listed as such. The growth of sizes and batches is measured on the first network, that of steps on the
small one (scenes, 96×96).
GPUs (--device cuda) are provided for, but untested: none was at hand.
"""

import argparse
import functools
import json
import math
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import networks
import worker
from common import CORES, machine, pictures
from page import page
from pathattr import scenes
from worker import METHODS, Failure, Worker

NETWORKS = "resnet18, resnet50, scenes or file.py:callable (PyTorch only); several with commas"
GROWTH = {"steps": (20, 200, 2000), "size": (224, 448, 896), "batch": (1, 4, 16)}
AGREEMENT = 1e-4  # of logits in two frameworks, relative to the largest: float32 through fifty layers


@dataclass(frozen=True)
class Setting:
    """One network and everything that its explanations depend on; `nodes` are those of the reference, 0 for none."""

    network: str
    size: int
    steps: int
    batch: int
    block: int
    nodes: int
    repeats: int
    device: str
    threads: int

    @property
    def title(self):
        return (
            f"{self.network}, {self.size}×{self.size}, {self.steps} steps, batch {self.batch}, blocks of {self.block}"
        )


@functools.cache
def prepared(setting, folder):
    """Return the job of a setting, with targets, and what `worker.prepare` says: logits, ends, reference, changes."""
    job = worker.Job(
        network=setting.network,
        weights=str(folder / f"{setting.network}.npz") if setting.network in networks.RESNETS else "",
        images=pictures(setting.batch, setting.size),
        targets=np.zeros(setting.batch, np.int64),
        steps=setting.steps, block=setting.block, device=setting.device, threads=setting.threads,
    )  # fmt: skip
    helper = Worker(worker.prepare, job, setting.nodes)
    logits, targets, *reference = helper.ask()
    helper.close()
    return replace(job, targets=targets), logits, *reference


def measured(setting, names, folder):
    """Return what was measured of each method in one setting, as plain values."""
    # The reference does not depend on steps and repeats: it is made once for all of them.
    job, logits, ends, exact, changes = prepared(replace(setting, steps=0, repeats=0), folder)
    job = replace(job, steps=setting.steps)
    records = {name: _record(name) for name in names}
    workers = {}
    for name, record in records.items():
        if record["status"] == "measured":
            workers[name] = Worker(worker.measure, job, name)

    def each(action, order):
        for name in order:
            if records[name]["status"] == "measured":
                try:
                    action(records[name], workers[name])
                except Failure as failure:
                    records[name]["status"] = f"failed: {failure}"

    def agrees(record, ready):
        record["logits_off"] = float(np.abs(ready.ask() - logits).max() / np.abs(logits).max())
        if not record["logits_off"] <= AGREEMENT:
            raise Failure(f"its logits differ by {record['logits_off']:.1e} of the largest")

    def first(record, ready):
        spent, added, forwards, gradients, maps = ready.ask("first")
        per = {"first": spent, "forwards": forwards, "gradients": gradients}
        record |= {key: value / setting.batch for key, value in per.items()} | {"added_bytes": added}
        if maps is not None:
            change = ends[1] - ends[0]
            record["gap"] = (np.abs(maps.sum((1, 2, 3)) - change) / np.abs(change)).tolist()
        if maps is not None and exact is not None and METHODS[record["method"]].line:
            norms = [np.linalg.norm(a.reshape(setting.batch, -1), axis=1) for a in (maps - exact, exact)]
            record["error"] = (norms[0] / norms[1]).tolist()

    def again(record, ready):
        record["seconds"].append(ready.ask("again") / setting.batch)

    each(agrees, workers)
    each(first, workers)
    for repeat in range(setting.repeats):  # in turn, and no method always after the same one
        each(again, list(workers)[:: 1 if repeat % 2 else -1])
    for ready in workers.values():
        ready.close()
    return {
        "title": setting.title,
        "setting": vars(setting),
        "reference_changes": changes,
        "methods": list(records.values()),
    }


def _record(name):
    method = METHODS[name]
    status = worker.missing(name) or "measured"
    return {"method": name, "label": method.label, "framework": method.framework, "status": status, "seconds": []}


def settings(options):
    """Return the settings of the main tables, and of each growth table by its name."""
    size = {network: scenes.SIZE if network == "scenes" else 224 for network in options.network}
    thirds = lambda count: 3 * math.ceil(count / 3)  # noqa: E731 - the reference compares with every third node
    main = [
        Setting(network, options.size or size[network], options.steps, options.batch, options.block,
                thirds(options.reference), options.repeats, options.device, options.threads)
        for network in options.network
    ]  # fmt: skip
    growth = {}
    for name, values in options.grow.items():
        if name == "steps":
            nodes = thirds(max(options.reference, 10 * max(values)))
            base = replace(main[0], network="scenes", size=min(main[0].size, scenes.SIZE), nodes=nodes)
        else:
            base = replace(main[0], steps=options.growth_steps, nodes=0)
        growth[name] = [replace(base, **{name: value}) for value in values]
    return main, growth


def growing(text):
    """Read "steps,size=224/448": what to grow, with values of one's own or GROWTH's."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, values = part.partition("=")
        if name not in GROWTH:
            raise argparse.ArgumentTypeError(f"unknown {name!r}; expected {', '.join(GROWTH)}")
        found[name] = tuple(map(int, values.split("/"))) if values else GROWTH[name]
    return found


def methods(text):
    """Read "pathattr-linear,saliency"."""
    names = text.split(",")
    if unknown := set(names) - set(METHODS):
        raise argparse.ArgumentTypeError(f"unknown {', '.join(sorted(unknown))}; expected {', '.join(METHODS)}")
    return names


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=lambda text: text.split(","), default=["resnet18"], help=NETWORKS)
    parser.add_argument("--size", type=int, help="of the pictures; 224, of scenes 96")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--block", type=int, default=8, help="the most points in one call of the model")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reference", type=int, default=2001, help="midpoints of the reference")
    parser.add_argument("--grow", type=growing, default={}, help="steps,size,batch or steps=20/200,...")
    parser.add_argument("--growth-steps", type=int, default=16, help="steps while sizes and batches grow")
    parser.add_argument("--methods", type=methods, default=list(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main():
    options = arguments()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Of the workers' NumPy: decompositions are made there.
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python tests/benchmarks/peers.py", *sys.argv[1:]])
    facts = machine("torch", "tensorflow", "captum", "saliency")
    main_settings, growth = settings(options)
    found = {"command": command, "machine": facts, "threads": options.threads, "device": options.device,
             "main": [], "growth": {name: [] for name in growth}}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        waiting = [(found["main"], one) for one in main_settings]
        waiting += [(found["growth"][name], one) for name, several in growth.items() for one in several]
        for results, setting in waiting:
            print(setting.title, file=sys.stderr, flush=True)
            results.append(measured(setting, options.methods, Path(folder)))
            found["load_after"] = os.getloadavg()
            # After every setting: what is done survives whatever comes next.
            (options.out / "peers.json").write_text(json.dumps(found, indent=1))
            if options.markdown:
                options.markdown.write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
