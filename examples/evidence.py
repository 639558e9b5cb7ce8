r"""The measurements behind docs/evidence: which path is better, and why, on scenes and on photographs.

    python examples/evidence.py scenes --out results            # 500 generated pictures with exact masks: paths
    python examples/evidence.py scenes-settings --out results   # the same: schedules, overlaps, baselines, outputs
    python examples/evidence.py scenes-fresh --out results      # 300 others: does the best path of the first hold?
    python examples/evidence.py scenes-fresh-settings --out results   # the same: does the best baseline?
    python examples/evidence.py pages --out results             # rewrites the tables and figures of docs/evidence

and with PATHATTR_REAL=FOLDER the same for photographs, 48 and 48 others: `photographs`, `photographs-settings`, ...
That folder has a `models.py` with `squeezenet()` and `imagenet()`: a PyTorch model of pictures in [0, 1], and at least
96 pictures (N, 3, 224, 224) with their classes; neither is part of the project. Every study can be interrupted and
goes on when it is started again. Sample sizes and settings are fixed here, before any result.
"""

import argparse
import os
import re
from pathlib import Path

import numpy as np

import pathattr as pa
from pathattr import scenes
from pathattr.methods.table import METHODS
from pathattr.metrics.diffid import DiffID
from pathattr.metrics.localisation import IoU, MassInside, PointingGame
from pathattr.metrics.road import ROAD
from pathattr.metrics.sparseness import Sparseness
from pathattr.models.specs import load_model
from pathattr.paths.baselines import Blur, Constant, Mean, Zero
from pathattr.paths.orderings import Leading, Scale
from pathattr.studies import Arrays, Setting, Study, summarised
from pathattr.studies.frequency import frequency_content

TOLERANCE = 0.1  # of the attributions, the same for every path: what is compared is the path, not the quadrature
NODES = 24  # on photographs, where gradients are dear: the estimated error is shown beside the scores
GUIDED_STEPS = 50
SEED = 1
COUNTS = {
    "scenes": 500, "scenes-settings": 500, "scenes-fresh": 300, "scenes-fresh-settings": 300,
    "photographs": 48, "photographs-settings": 48, "photographs-fresh": 48, "photographs-fresh-settings": 48,
    "photographs-rest": 48,
}  # fmt: skip
IMAGENET_MEAN = (123 / 255, 117 / 255, 104 / 255)
PAGES = Path(__file__).parent.parent / "docs" / "evidence"

SIG = "SVD, energy (SIG)"
OVERLAPS = (0.1, 0.2, 0.3, 0.45, 0.5, 0.55, 0.6, 0.8)
FEWER = (0.1, 0.3, 0.5, 0.7, 0.9)  # ratios of ROAD with the noisy linear imputer: a system to solve for each


def path(**options):
    """Settings of a `PathExplainer`, integrated as `spent` says unless steps are given."""
    return lambda model, spent, **asked: pa.PathExplainer(model, **(spent | options), **asked)


def guided(**options):
    return lambda model, spent, **asked: METHODS["guided-ig"](model, steps=GUIDED_STEPS, **options, **asked)


def methods(mean):
    """All settings by name; `mean` is the baseline that the papers call mean, the data set's."""
    svd, line = {"family": "svd"}, {"family": "linear"}
    found = {
        SIG: path(**svd),
        "IG": path(**line),
        "gradient × input": lambda model, spent, **asked: METHODS["gradient-input"](model, **asked),
        "Blur IG": path(preset="blur-ig"),
        "Guided IG": guided(),
        # Basis, order and spacing, taken apart.
        "SVD, rank (equal spacing)": path(**svd, ordering="rank"),
        "SVD, shuffled": path(**svd, ordering="shuffled"),
        "DCT, frequency (published)": path(family="dct"),
        "DCT, energy": path(family="dct", ordering="energy"),
        "DCT, rank": path(family="dct", ordering="rank"),
        "wavelet, published (finest first)": path(family="wavelet", ordering="approximation-then-finest"),
        "wavelet, coarse to fine": path(family="wavelet", ordering=Scale()),
        "wavelet, energy": path(family="wavelet", ordering="energy"),
        "Laplacian, published (finest first)": path(family="laplacian", ordering="approximation-then-finest"),
        "Laplacian, coarse to fine": path(family="laplacian", ordering=Scale()),
        "Laplacian, energy": path(family="laplacian", ordering="energy"),
        "control: σ₁ term, then the line": path(**svd, ordering=Leading()),
        "control: mean image, then the line": path(family="dct", ordering=Leading()),
        "control: IG from the image's mean": path(**line, baseline=Mean()),
        "control: coarse band, then the line": path(family="laplacian", ordering=Leading()),
        # Schedules.
        "SIG, cosine": path(**svd, schedule=pa.CosineRamp()),
        "SIG, sigmoid": path(**svd, schedule=pa.SigmoidRamp()),
        "SIG, step (50 steps)": path(**svd, schedule=pa.StepRamp(), steps=50, nodes=None, tolerance=None),
        # Baselines.
        "IG, mean baseline": path(**line, baseline=mean),
        "IG, blurred baseline": path(**line, baseline=Blur()),
        "SIG, mean baseline": path(**svd, baseline=mean),
        "SIG, blurred baseline": path(**svd, baseline=Blur()),
        "SIG from the image's mean": path(**svd, baseline=Mean()),
        "Guided IG, mean baseline": guided(baseline=mean),
        "Guided IG, blurred baseline": guided(baseline=Blur()),
        # Channels and outputs.
        "SIG, joint": path(family="svd-joint"),
        "SIG, logit": path(**svd, output="logit"),
        "SIG, joint, logit": path(family="svd-joint", output="logit"),
        "IG, logit": path(**line, output="logit"),
    }
    for overlap in OVERLAPS:
        found[f"SIG, ω={overlap:g}"] = path(**svd, schedule=pa.LinearRamp(overlap))
    return found


SHARED = (SIG, "IG", "Guided IG", "control: IG from the image's mean")
"""Settings that both studies of scenes have: integrated by the same estimate as what they are compared with."""

ON_PHOTOGRAPHS = (
    SIG, "IG", "Blur IG", "Guided IG", "SVD, rank (equal spacing)", "DCT, frequency (published)", "DCT, energy",
    "wavelet, published (finest first)", "Laplacian, energy", "control: σ₁ term, then the line",
    "control: mean image, then the line", "control: IG from the image's mean",
)  # fmt: skip
"""A photograph costs as much as thirty scenes: those settings first that a claim hangs on."""

CANDIDATE = "Laplacian, energy"
"""The best path on scenes and photographs."""
BASELINE = "IG, blurred baseline"
"""What did better still, when baselines had been measured: a candidate too, by the same rule."""
ON_FRESH = (SIG, "IG", CANDIDATE)
"""What examples that nothing was chosen on are asked about."""


def scenes_study(out, part, limit=None):
    image_model = load_model("scenes", backend="torch")
    made = scenes.generate(limit or COUNTS[part], seed=SEED + ("fresh" in part))
    inputs = np.stack([image_model.preprocessing.normalise(np.moveaxis(x, -1, 0)) for x in made.images]).astype("f4")
    data = Arrays(inputs, made.labels, masks=made.masks, shown=list(made.images.astype(float)),
                  names=[f"scene {i}" for i in range(len(inputs))])  # fmt: skip
    every = methods(Zero())
    metrics = fills() | {"pointing": PointingGame(), "mass": MassInside(), "iou": IoU(), "ROAD": ROAD(ratios=FEWER)}
    chosen = {name: every[name] for name in CHOSEN[part]}
    spent = {"steps": "auto", "tolerance": TOLERANCE}
    asked = {"preprocessing": image_model.preprocessing, "batch_size": 32}
    return study(data, image_model.model, chosen, metrics, spent, asked, out / part, scenes.CLASSES)


def photographs_study(out, part, limit=None):
    module = real()
    images, labels = module.imagenet()
    # Pictures come sorted by class: every other one first, so that a part of the study has all kinds of them.
    count = COUNTS[part]
    order = [*range(0, count, 2), *range(1, count, 2)]
    if "fresh" in part:
        order = [COUNTS["photographs"] + i for i in order]
    order = order[:limit]
    shown = [x.permute(1, 2, 0).double().numpy() for x in images[order]]
    data = Arrays(images[order].numpy(), labels[order].numpy(), shown=shown,
                  names=[f"photograph {i}" for i in order])  # fmt: skip
    asked = {"preprocessing": pa.Preprocessing(), "batch_size": 16}
    every = methods(Constant(IMAGENET_MEAN))
    chosen = {name: every[name] for name in CHOSEN[part]}
    spent = {"steps": NODES, "nodes": "refined"}
    metrics = fills() | {"ROAD": ROAD(ratios=FEWER)}
    return study(data, module.squeezenet(), chosen, metrics, spent, asked, out / part, None)


STUDIES = {part: photographs_study if part.startswith("photographs") else scenes_study for part in COUNTS}


def real():
    """Return the module of pretrained models and photographs."""
    import importlib.util

    folder = os.environ.get("PATHATTR_REAL")
    if not folder:
        raise SystemExit("PATHATTR_REAL must name the folder with models.py (see the top of this file)")
    found = importlib.util.spec_from_file_location("real_models_of_evidence", Path(folder) / "models.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def fills():
    diffid = {f"DiffID, {fill} fill": DiffID(fill) for fill in ("mean", "zero", "blur")}
    return diffid | {"ROAD, fixed": ROAD("fixed", rank="absolute"), "sparseness": Sparseness()}


def study(data, model, chosen, metrics, spent, asked, out, classes):
    # Laid out as convolutions on CPUs are fastest with: the numbers are the same to rounding.
    asked = {"channel_axis": 1, "backend_options": {"channels_last": True}} | asked
    settings = [
        Setting(name, lambda make=make: make(model, spent, **asked), facts(name, spent))
        for name, make in chosen.items()
    ]
    return Study(data, settings, metrics, out, batch=10, show=3, classes=classes)


def facts(name, spent):
    ω = re.search(r"ω=([\d.]+)", name)
    overlap = float(ω[1]) if ω else {SIG: 0.4, "IG": 1.0}.get(name)
    return {"overlap": overlap, "tolerance": spent.get("tolerance")}


# Pages: tables between markers, written anew; what they say is written by hand.

MAIN = (SIG, "IG", "gradient × input", "Blur IG", "Guided IG")
BASES = tuple(name for name in methods(None) if name.startswith(("SVD", "DCT", "wavelet", "Laplacian", "control")))
LATER = "control: coarse band, then the line"
"""Asked when the others of the bases had been seen."""
OTHERS = tuple(name for name in methods(None) if name == LATER or name not in (*MAIN, *BASES))
CHOSEN = {
    "scenes": tuple(name for name in (*MAIN, *BASES) if name != LATER),
    "scenes-settings": (*SHARED, *OTHERS),
    "photographs": ON_PHOTOGRAPHS,
    "photographs-settings": tuple(name for name in OTHERS if name not in ("SIG, ω=0.2", "SIG, ω=0.45")),
    "photographs-rest": tuple(n for n in dict.fromkeys((*MAIN, *BASES)) if n not in (*ON_PHOTOGRAPHS, LATER)),
    "scenes-fresh": ON_FRESH,
    "photographs-fresh": ON_FRESH,
    "scenes-fresh-settings": (BASELINE,),
    "photographs-fresh-settings": (BASELINE,),
}
"""The settings of each study."""
TABLES = {
    "methods": MAIN,
    "bases": ("IG", *BASES),
    "schedules": (SIG, "SIG, cosine", "SIG, sigmoid", "SIG, step (50 steps)"),
    "overlap": (SIG, *(f"SIG, ω={overlap:g}" for overlap in OVERLAPS), "IG"),
    "baselines": (
        SIG, "SIG, mean baseline", "SIG, blurred baseline", "IG", "IG, mean baseline", "IG, blurred baseline",
        "Guided IG", "Guided IG, mean baseline", "Guided IG, blurred baseline", "SIG from the image's mean",
        "control: IG from the image's mean",
    ),
    "channels-and-outputs": (SIG, "SIG, joint", "SIG, logit", "SIG, joint, logit", "IG", "IG, logit"),
    "best-path": (*ON_FRESH, BASELINE),
}  # fmt: skip


def pages(out):
    # Photographs are there only where PATHATTR_REAL is set: their tables then stay as they are.
    made = {
        part: make(out, part)
        for part, make in STUDIES.items()
        if make is scenes_study or os.environ.get("PATHATTR_REAL")
    }
    for page, names in TABLES.items():
        blocks = {}
        for place in ("scenes", "photographs"):
            # What was chosen on one page is not judged on its examples again.
            examples = f"{place}-fresh" if page == "best-path" else place
            if examples not in made:
                continue
            parts = (examples, f"{examples}-settings", f"{examples}-rest")
            found, notes = collected([made[part] for part in parts if part in made], names)
            blocks[examples] = summarised(found, SIG).markdown().decode() + notes
            png(dots(found), f"{page}-{examples}")
            if page == "overlap":
                png(curve(found), f"overlap-curve-{place}")
        write(page, blocks)
    frequencies()


def collected(studies, names):
    """Return what studies of the same examples found by setting, each from the one with most of them; and notes."""
    have = {one: {setting.name for setting in one.settings} for one in studies}
    studies = sorted(studies, key=lambda one: -len(have[one] & {*names}))
    source = {name: next((one for one in studies if name in have[one]), None) for name in names}
    found = {name: one.found(name) for name, one in source.items() if one is not None}
    return found, "".join(finished(one) for one in studies if one in source.values())


def finished(one):
    done, total = one.progress
    return "" if done == total else f"\nUnfinished: {done} of {total} batches of settings.\n"


def write(page, blocks):
    """Put tables between the markers of a page of docs/evidence."""
    file = PAGES / f"{page}.md"
    text = file.read_text()
    for name, block in blocks.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not between.search(text):
            raise SystemExit(f"{file} has no place for {name}: <!-- {name} --> ... <!-- end -->")
        text = between.sub(lambda match, block=block: f"{match[1]}\n{block}\n{match[2]}", text)
    file.write_text(text)


def png(figure, name):
    from pathattr.results.figures import png_bytes

    (PAGES / "images").mkdir(parents=True, exist_ok=True)
    (PAGES / "images" / f"{name}.png").write_bytes(png_bytes(figure))


def dots(found):
    """Return a figure with one panel a metric: mean and interval of every setting."""
    from matplotlib.figure import Figure

    summary = summarised(found, SIG)
    keys = [key for key in summary.main if key[0] != "sparseness"]
    columns = 4
    lines = -(-len(keys) // columns)
    height = 0.22 * len(summary.rows) + 0.9
    figure = Figure(figsize=(3.0 + 2.2 * columns, height * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, key in zip(panels, keys, strict=False):
        for place, row in enumerate(summary.rows):
            band = row.scores[key]
            colour = "C3" if row.setting == SIG else "C0"
            axes.plot([band.low, band.high], [place, place], color=colour, linewidth=1.5)
            axes.plot(band.mean, place, "o", color=colour, markersize=4)
        axes.set_title(f"{key[0]}: {key[1]}", fontsize="small")
        axes.set_yticks(range(len(summary.rows)), [row.setting for row in summary.rows], fontsize="small")
        axes.set_ylim(len(summary.rows) - 0.5, -0.5)
        axes.tick_params(axis="x", labelsize="small")
        axes.grid(axis="x", alpha=0.3)
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    return figure


def curve(found):
    from pathattr.studies.figures import against_overlap

    # IG is the end of the same line, at ω = 1.
    settings = [Setting(name, None, {"overlap": facts(name, {})["overlap"], "path": "SIG"}) for name in found]
    return against_overlap(settings, summarised(found, SIG))


def frequencies():
    """Draw how each path switches spatial frequencies on, on ten scenes."""
    from matplotlib.figure import Figure

    preprocessing = scenes.PREPROCESSING
    made = scenes.generate(10, seed=SEED)
    inputs = np.stack([preprocessing.normalise(np.moveaxis(x, -1, 0)) for x in made.images])
    alpha = np.linspace(0, 1, 41)
    chosen = ("IG", SIG, "SVD, rank (equal spacing)", "DCT, frequency (published)", "DCT, energy",
              "wavelet, published (finest first)", "Laplacian, published (finest first)", "Blur IG")  # fmt: skip
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True).ravel()
    model = pa.NumpyModel(lambda x: x.sum(axis=(1, 2, 3)), lambda x, c: c[:, None, None, None] * np.ones_like(x))
    every = methods(Zero())
    for axes, name in zip(panels, chosen, strict=True):
        explainer = every[name](model, {}, channel_axis=1, preprocessing=preprocessing)
        bands = np.nanmean(frequency_content(explainer, inputs, alpha, bands=4), axis=0)
        for k, label in enumerate(("lowest quarter", "second", "third", "highest quarter")):
            axes.plot(alpha, bands[:, k], label=label, color=f"C{k}")
        axes.set_title(name, fontsize="small")
    figure.supxlabel("α", fontsize="small")
    figure.supylabel("switched on: ‖γ(α) − x'‖ / ‖x − x'‖ in the band", fontsize="small")
    panels[0].legend(fontsize="x-small", title="frequencies", title_fontsize="x-small")
    png(figure, "frequency-content")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*STUDIES, "pages"))
    parser.add_argument("--out", type=Path, default=Path("evidence"))
    parser.add_argument("--limit", type=int, help="fewer examples, for a try")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    options = parser.parse_args()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    if options.what == "pages":
        pages(options.out)
        return
    made = STUDIES[options.what](options.out, options.what, options.limit)
    made.run(lambda done, total, doing: print(f"{done:.1f} of {total}: {doing}", flush=True))


if __name__ == "__main__":
    main()
