"""Model specs: what each form makes, and that every failure is a sentence."""

import json
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import pathattr as pa
from pathattr import scenes
from pathattr.models import specs
from pathattr.models.specs import load_model

SOURCE = """
from pathattr import ImageModel, NumpyModel, Preprocessing

def plain():
    return NumpyModel(lambda x: x.sum((2, 3)), lambda x, c: c[:, :, None, None] + 0 * x)

def dressed():
    return ImageModel(plain(), size=32, preprocessing=Preprocessing(0.5, 0.5), classes=["a", "b", "c"])

def broken():
    raise RuntimeError("no weights here\\nsecond line")

number = 3
"""


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("my_models", None)


def test_scenes_is_the_shipped_classifier():
    torch = pytest.importorskip("torch", reason="the scenes classifier needs a framework")
    model = load_model("scenes")
    assert model.shape == (scenes.SIZE, scenes.SIZE)
    assert tuple(model.classes) == scenes.CLASSES
    made = scenes.generate(4, seed=5)
    inputs = np.stack([pa.pictures.prepare(image.astype(float), model)[1] for image in made.images])
    with torch.no_grad():
        logits = model.model(torch.tensor(inputs, dtype=torch.float32)).numpy()
    expected = scenes.forward(scenes.load_weights(), inputs)
    # float32 against the float64 reference: sums of up to 600 products of rounding 6e-8.
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_python_file_and_a_module_give_the_users_model(user_file, monkeypatch):
    plain = load_model(f"{user_file}:plain")
    assert isinstance(plain.model, pa.NumpyModel)
    assert plain.channel_axis == "auto"
    sys.modules.pop("my_models", None)
    monkeypatch.chdir(user_file.parent)
    dressed = load_model("my_models:dressed")
    assert dressed.size == 32
    assert dressed.preprocessing == pa.Preprocessing(0.5, 0.5)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (":nothing", "has no callable 'nothing'; it has ImageModel, NumpyModel, Preprocessing, broken, dressed, plain"),
        (":number", "has no callable 'number'"),
        (":broken", r"could not be made: RuntimeError: no weights here .*my_models\.py, line 11, in broken.$"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(user_file, rest, message):
    with pytest.raises(pa.InvalidInput, match=message):
        load_model(f"{user_file}{rest}")


def test_a_file_that_cannot_be_imported_says_why(tmp_path):
    path = tmp_path / "bad_models.py"
    path.write_text("import not_there_at_all")
    with pytest.raises(pa.InvalidInput, match=r"importing .*bad_models\.py failed: ModuleNotFoundError"):
        load_model(f"{path}:f")
    with pytest.raises(pa.InvalidInput, match="there is no file"):
        load_model(f"{tmp_path / 'absent.py'}:f")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scense", "unknown model 'scense': expected scenes, .*module:callable.* Did you mean 'scenes'"),
        ("not_a_module_of_mine:f", "no module 'not_a_module_of_mine'"),
        ("torchvision:", "names no model: write torchvision:NAME"),
    ],
)
def test_unknown_specs_list_the_forms(spec, message):
    with pytest.raises(pa.InvalidInput, match=message):
        load_model(spec)


def fake_module(monkeypatch, name, **members):
    module = ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_torchvision_models_bring_size_crop_normalisation_and_names(monkeypatch):
    """A stand-in with torchvision's documented interface: the real one does not import beside a CPU build of torch."""
    transforms = SimpleNamespace(crop_size=[224], resize_size=[256], mean=[0.4, 0.5, 0.6], std=[0.2, 0.2, 0.3])
    weights = SimpleNamespace(transforms=lambda: transforms, meta={"categories": ["cat", "dog"]})

    models = SimpleNamespace(
        get_model_weights=lambda name: SimpleNamespace(DEFAULT=weights),
        get_model=lambda name, weights: SimpleNamespace(eval=lambda: (name, weights)),
    )
    fake_module(monkeypatch, "torchvision", models=models)
    model = load_model("torchvision:resnet18")
    assert model.model == ("resnet18", weights)
    assert (model.size, model.crop, model.classes) == (224, 0.875, ("cat", "dog"))
    assert model.preprocessing == pa.Preprocessing((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


def test_timm_models_bring_their_evaluation_settings(monkeypatch):
    """A stand-in with timm's documented interface: timm imports torchvision."""
    config = {"input_size": (3, 240, 200), "crop_pct": 0.95, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    info = SimpleNamespace(num_classes=lambda: 2, index_to_description=lambda i: f"name {i}")
    data = SimpleNamespace(
        resolve_model_data_config=lambda model: config,
        infer_imagenet_subset=lambda model: "imagenet-1k",
        ImageNetInfo=lambda subset: info,
    )
    created = SimpleNamespace(num_classes=2, pretrained_cfg={"hf_hub_id": "timm/net.a1_in1k"})
    created.eval = lambda: created
    fake_module(
        monkeypatch,
        "timm",
        data=data,
        is_model=lambda name: name == "net",
        create_model=lambda name, pretrained: created,
    )
    model = load_model("timm:net.a1_in1k")
    assert (model.model, model.size, model.crop) == (created, (240, 200), 0.95)
    assert model.classes == ("name 0", "name 1")


@pytest.mark.parametrize(
    ("settings", "size", "crop"),
    [
        ({"size": {"height": 32, "width": 48}}, (32, 48), 1.0),
        (
            {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
            (32, 32),
            0.8,
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), 0.875),
        ({"do_resize": False, "size": {"height": 8, "width": 8}}, None, 1.0),
    ],
)
def test_hugging_face_processors_are_understood(monkeypatch, settings, size, crop):
    """A stand-in with the documented attributes of image processors; a real folder is loaded below."""
    processor = SimpleNamespace(**{"image_mean": [0.5], "image_std": [0.25], "rescale_factor": 1 / 255} | settings)
    network = SimpleNamespace(config=SimpleNamespace(id2label={1: "dog", 0: "cat"}))
    network.eval = lambda: network
    fake_module(
        monkeypatch,
        "transformers",
        AutoModelForImageClassification=SimpleNamespace(from_pretrained=lambda name, **options: (network, {})),
        AutoImageProcessor=SimpleNamespace(from_pretrained=lambda name, **options: processor),
    )
    model = load_model("hf:any")
    assert (model.size, model.crop, model.classes) == (size, crop, ("cat", "dog"))
    assert model.preprocessing == pa.Preprocessing(0.5, 0.25)


def test_pixels_that_a_processor_leaves_at_255_are_scaled_as_it_does(monkeypatch):
    processor = SimpleNamespace(size=None, do_rescale=False, do_normalize=True, image_mean=[127.5], image_std=[51.0])
    network = SimpleNamespace(config=SimpleNamespace(id2label={0: "cat"}))
    network.eval = lambda: network
    fake_module(
        monkeypatch,
        "transformers",
        AutoModelForImageClassification=SimpleNamespace(from_pretrained=lambda name, **options: (network, {})),
        AutoImageProcessor=SimpleNamespace(from_pretrained=lambda name, **options: processor),
    )
    preprocessing = load_model("hf:any").preprocessing
    # (255·raw − 127.5) / 51 at raw = 1
    assert preprocessing.normalise(np.ones((3, 1, 1))).ravel() == pytest.approx([2.5] * 3)


def test_loaders_are_listed_without_importing_anything():
    assert {"torchvision", "timm", "hf"} <= set(specs.loaders())


def test_a_real_hugging_face_folder_is_explained(tmp_path):
    """In a process of its own: importing transformers warns of things that are not ours."""
    script = f"""
import torch
from transformers import ViTConfig, ViTForImageClassification
torch.manual_seed(0)  # of some random weights the scores at both ends differ by next to nothing, and any gap is large
config = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                   image_size=32, patch_size=8, num_labels=4)
ViTForImageClassification(config).save_pretrained({str(tmp_path)!r})
(__import__("pathlib").Path({str(tmp_path)!r}) / "preprocessor_config.json").write_text(
    '{{"image_processor_type": "ViTImageProcessor", "size": {{"height": 32, "width": 32}}, "do_resize": true,'
    ' "do_rescale": true, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}}')
import numpy as np, pathattr as pa
from pathattr.models.specs import load_model
model = load_model("hf:" + {str(tmp_path)!r})
shown, inputs = pa.pictures.prepare(np.random.default_rng(0).random((40, 50, 3)), model)
explainer = pa.PathExplainer(model.model, preprocessing=model.preprocessing, steps=50)
result = explainer(inputs[None].astype("float32"))
print(model.size, model.classes, result.numpy().shape, float(result.relative_gap[0]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(32, 32) ('LABEL_0', 'LABEL_1', 'LABEL_2', 'LABEL_3') (1, 3, 32, 32)" in done.stdout
    # A random transformer is smooth: 50 midpoints leave a small part of the difference.
    assert float(done.stdout.split()[-1]) < 0.05


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("of", ["model", "processor"])
def test_on_a_terminal_nobody_is_asked_whether_to_run_the_code_of_a_folder(tmp_path, of):
    """The library asks where `trust_remote_code` is left open and someone could answer; the answer would be yes."""
    import pty
    import select
    import time

    if of == "model":
        mapped = {"AutoConfig": "mine.Mine", "AutoModelForImageClassification": "mine.M"}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": mapped}))
    else:
        script = f"""
from transformers import ViTConfig, ViTForImageClassification
config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=8,
                   patch_size=4)
ViTForImageClassification(config).save_pretrained({str(tmp_path)!r})
"""
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        settings = {"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "mine.P"}}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "mine.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", "from pathattr.cli import main; main()"]
    number, there = pty.openpty()
    started = subprocess.Popen(
        [*command, "explain", "a.png", "-m", f"hf:{tmp_path}"],
        stdin=there, stdout=there, stderr=there,
        cwd=tmp_path, env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
    )  # fmt: skip
    os.close(there)
    os.write(number, b"y\n" * 5)  # read by whoever asks
    said, patience = b"", time.monotonic() + 300
    while time.monotonic() < patience:
        if not select.select([number], [], [], 1)[0]:
            if started.poll() is not None:
                break
            continue
        try:
            part = os.read(number, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not part:
            break
        said += part
    started.kill()
    started.wait()
    os.close(number)
    text = said.decode().replace("\r\n", "\n")
    assert "brings custom code, which is never run: load the model in a function" in text, text
    assert "[y/N]" not in text, text
    assert not list(tmp_path.rglob("ran"))
