"""What the loaders of PyTorch's libraries refuse says what to do, and doing it works."""

import json
import sys
from functools import cache
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import pathattr as pa
from advising import Refusal, check, completeness, tabled
from pathattr.models.specs import load_model
from pathattr_torch import loaders


def absent(*names):
    return dict.fromkeys(names)  # as if not installed: None among the modules


def loaded(spec, libraries=None):
    """Return what a spec names, other libraries standing in for some."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in (libraries or {}).items():
            patch.setitem(sys.modules, name, module)
        return load_model(spec)


def library(name, **members):
    made = ModuleType(name)
    made.__dict__.update(members)
    return {name: made}


def by_function(folder):
    """Load a model that a function returns, as file.py:function."""
    (folder / "mine.py").write_text("import torch\ndef made():\n    return torch.nn.Flatten().eval()\n")
    try:
        return loaded(f"{folder / 'mine.py'}:made")
    finally:
        sys.modules.pop("mine", None)


# Stand-ins with the documented interfaces: neither library imports beside a CPU build of torch alone.


def torchvision(*, broken=False):
    picture = SimpleNamespace(crop_size=[8], resize_size=[8], mean=[0.5] * 3, std=[0.25] * 3)
    weights = SimpleNamespace(transforms=lambda: picture, meta={"categories": ["cat"]})
    detecting = SimpleNamespace(transforms=SimpleNamespace, meta={"categories": ["cat"]})
    kinds = {"resnet": weights, "detector": detecting, "bare": None}

    def get_model_weights(name):
        if name not in kinds:
            raise ValueError(f"Unknown model {name}")
        return SimpleNamespace(DEFAULT=kinds[name]) if kinds[name] else SimpleNamespace()

    models = SimpleNamespace(
        get_model_weights=get_model_weights, get_model=lambda name, weights: torch.nn.Flatten(),
        list_models=lambda module: ["resnet"],
    )  # fmt: skip
    return library("torchvision", models=models)


def timm(*, refuses=True):
    """Versions before 0.8 warn of missing weights and fill in random ones; later ones raise RuntimeError."""
    networks = {"net": 2, "features": 0}
    settings = {"input_size": (3, 8, 8), "crop_pct": 1.0, "mean": (0.5,) * 3, "std": (0.25,) * 3}

    def create_model(name, pretrained):
        if name == "bare" and refuses:
            raise RuntimeError("No pretrained weights exist for bare.")
        made = torch.nn.Flatten()
        made.num_classes, made.pretrained_cfg = networks.get(name, 2), {"url": "" if name == "bare" else "https://..."}
        return made

    data = SimpleNamespace(
        resolve_model_data_config=lambda model: settings, infer_imagenet_subset=lambda model: None
    )  # fmt: skip
    return library(
        "timm", data=data, is_model=lambda name: name in ("bare", *networks), create_model=create_model,
        list_models=lambda pretrained: ["net"],
    )  # fmt: skip


def classifiers(libraries):
    """Load what torchvision and timm name where they are asked as the errors say."""
    found = []
    if "torchvision" in libraries:
        models = libraries["torchvision"].models
        found += [loaded(f"torchvision:{name}", libraries) for name in models.list_models(module=models)]
    if "timm" in libraries:
        found += [loaded(f"timm:{name}", libraries) for name in libraries["timm"].list_models(pretrained=True)]
    assert found
    return found


def asking(spec, libraries, said):
    return lambda out: Refusal(lambda: loaded(spec, libraries), said,
                               lambda: [classifiers(libraries), by_function(out)])  # fmt: skip


CLASSIFIERS = r".*list_models\(module=torchvision\.models\) names its .*in a function and say file\.py:function"
PRETRAINED = r".*: timm\.list_models\(pretrained=True\) names .* in a function and say file\.py:function"

TORCHVISION = {
    "unknown": asking("torchvision:resnt", torchvision(), "torchvision has no model 'resnt'" + CLASSIFIERS),
    "no weights": asking("torchvision:bare", torchvision(), "no weights for 'bare', and random ones" + CLASSIFIERS),
    "detector": asking("torchvision:detector", torchvision(), "'detector' classifies no single pict" + CLASSIFIERS),
    "missing": lambda _: Refusal(
        lambda: loaded("torchvision:resnet", absent("torchvision")),
        r"^torchvision:NAME needs torchvision, .*pip install torchvision, in the build that fits your torch",
        lambda: loaded("torchvision:resnet", torchvision()), pa.MissingExtra,
    ),
    "of another torch": lambda _: Refusal(
        unfit, r"does not work with this torch \(RuntimeError: .*nms does not exist\): pip install torchvision",
        lambda: loaded("torchvision:resnet", torchvision()), pa.MissingExtra,
    ),
}  # fmt: skip

TIMM = {
    "unknown": asking("timm:nett", timm(), "timm has no model 'nett'" + PRETRAINED),
    "no weights": asking("timm:bare", timm(), r"no weights that fit \(RuntimeError: No .*bare\)" + PRETRAINED),
    "random": asking("timm:bare", timm(refuses=False), "timm has no weights for 'bare', and random ones" + PRETRAINED),
    "features": asking("timm:features", timm(), "gives features and has no classes" + PRETRAINED),
    "missing": lambda _: Refusal(lambda: loaded("timm:net", absent("timm")), "^timm:NAME needs timm.*pip install timm",
                                 lambda: loaded("timm:net", timm()), pa.MissingExtra),
}  # fmt: skip


def unfit():
    def fail(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders.importlib, "import_module", fail)
        load_model("torchvision:resnet")


@cache
def classifier():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4, num_labels=4))


def folder(out, change=lambda weights: None, **settings):
    """Return a folder that save_pretrained has written, its weights and its configuration changed."""
    from transformers import ViTImageProcessor

    classifier().save_pretrained(out)
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(out)
    weights = load_file(out / "model.safetensors")
    change(weights)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(json.loads((out / "config.json").read_text()) | settings))
    return out


def saved_whole(out, change):
    """Load the model oneself and save it whole, as the error says."""
    from transformers import AutoModelForImageClassification

    broken = folder(out, change)
    model = AutoModelForImageClassification.from_pretrained(broken, ignore_mismatched_sizes=True)
    model.save_pretrained(broken)
    return loaded(f"hf:{broken}")


def incomplete(said, change):
    return lambda out: Refusal(
        lambda: loaded(f"hf:{folder(out / 'a', change)}"),
        said + ".*Use a checkpoint that was trained to classify, or load the model yourself and save it whole",
        lambda: [loaded(f"hf:{folder(out / 'b')}"), saved_whole(out / "c", change)],
    )


OWN = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForImageClassification": "mine.M"}}

HUGGING_FACE = {
    "missing weights": incomplete(
        r"missing: classifier\.bias, classifier\.weight",
        lambda weights: [weights.pop("classifier." + part) for part in ("weight", "bias")],
    ),
    "left over": incomplete(r"left over: old\.weight", lambda weights: weights.update({"old.weight": torch.zeros(2)})),
    "of another shape": incomplete(
        r"of another shape: classifier\.bias", lambda weights: weights.update({"classifier.bias": torch.zeros(7)})
    ),
    "nothing there": lambda out: Refusal(
        lambda: loaded(f"hf:{out}"), "safetensors .*: check the name, or save model and processor with save_pretrained",
        lambda: loaded(f"hf:{folder(out / 'saved')}"),
    ),
    "custom code": lambda out: Refusal(
        lambda: loaded(f"hf:{folder(out / 'a', **OWN)}"),
        r"brings custom code, which is never run: load the model in a function of yours and say file\.py:function",
        lambda: by_function(out),
    ),
    "missing": lambda out: Refusal(
        lambda: loaded("hf:any", absent("transformers")), r"^hf:NAME needs transformers.*pip install 'pathattr\[hf\]'",
        lambda: loaded(f"hf:{folder(out)}"), pa.MissingExtra,
    ),
}  # fmt: skip

TABLE = tabled({"torchvision": TORCHVISION, "timm": TIMM, "Hugging Face": HUGGING_FACE})


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name, tmp_path):
    check(TABLE[name](tmp_path))


test_every_refusal_of_a_module_is_in_the_table = completeness(
    lambda factory: [made(factory.mktemp("case")) for made in TABLE.values()], [loaders]
)
