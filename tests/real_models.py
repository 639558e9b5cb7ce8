"""The pretrained SqueezeNet of PATHATTR_REAL, rebuilt in Keras and in JAX from the same weights (NHWC, RGB in [0, 1]).

    PATHATTR_REAL=FOLDER python tests/real_models.py docs/parity-squeezenet.md

explains photographs with all three and writes the table of differences from PyTorch in float64.

Not part of the package: `PATHATTR_REAL` names a folder with `models.py` and `squeezenet_imagenet.npz`, which tests use
where it is set.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FIRES = [f"fire{i}" for i in range(2, 10)]
POOLED_AFTER = {"conv1", "fire4", "fire8"}
MEAN = np.array([104.0, 117.0, 123.0], np.float32)  # BGR, of 255


def folder():
    """Return the folder, or None where it is not given."""
    return Path(os.environ["PATHATTR_REAL"]) if os.environ.get("PATHATTR_REAL") else None


def torch_models():
    """Return the module of the PyTorch originals."""
    found = importlib.util.spec_from_file_location("real_torch_models", folder() / "models.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def weights():
    """Return kernels (height, width, in, out) and biases by layer."""
    with np.load(folder() / "squeezenet_imagenet.npz") as file:
        arrays = {name: file[name].astype(np.float32) for name in file.files}
    layers = {name.rpartition(".")[0] for name in arrays if name.endswith(".bias")}
    return {name: (arrays[f"{name}.weight"].transpose(2, 3, 1, 0), arrays[f"{name}.bias"]) for name in layers}


def squeezenet_torch():
    """Return the original."""
    return torch_models().squeezenet()


def squeezenet_jax(dtype="float32"):
    """Return (apply, params)."""
    import jax
    import jax.numpy as jnp

    def conv(p, x, stride=1, padding=0):
        sides = ((padding, padding), (padding, padding))
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, p[0], (stride, stride), sides, dimension_numbers=numbers) + p[1]

    def pool(x):  # PyTorch's ceil_mode: a last window may hang over the edge
        over = [(0, -(size - 3) % 2) for size in x.shape[1:3]]
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), *over, (0, 0)])

    def apply(p, x):
        x = x[..., ::-1] * 255 - MEAN
        x = pool(jax.nn.relu(conv(p["conv1"], x, 2)))
        for name in FIRES:
            x = jax.nn.relu(conv(p[f"fires.{name}.squeeze"], x))
            wide = conv(p[f"fires.{name}.expand3"], x, padding=1)
            x = jax.nn.relu(jnp.concatenate([conv(p[f"fires.{name}.expand1"], x), wide], -1))
            x = pool(x) if name in POOLED_AFTER else x
        return jax.nn.relu(conv(p["final"], x, padding=1)).mean((1, 2))

    return apply, {n: tuple(jnp.asarray(a, dtype) for a in arrays) for n, arrays in weights().items()}


def squeezenet_keras():
    """Return a functional Keras model on whichever backend Keras runs."""
    import keras
    from keras import layers

    to_fill = []

    def conv(name, x, stride=1, padding=0):
        kernel, bias = weights()[name]
        layer = layers.Conv2D(len(bias), kernel.shape[0], stride)
        to_fill.append((layer, (kernel, bias)))
        return layer(layers.ZeroPadding2D(padding)(x) if padding else x)

    def pool(x):  # after ReLU, padding by zeros changes no maximum
        return layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(tuple((0, -(s - 3) % 2) for s in x.shape[1:3]))(x))

    start = layers.Input((224, 224, 3))
    x = keras.ops.flip(start, -1) * 255 - MEAN
    x = pool(layers.ReLU()(conv("conv1", x, 2)))
    for name in FIRES:
        x = layers.ReLU()(conv(f"fires.{name}.squeeze", x))
        sides = [conv(f"fires.{name}.expand1", x), conv(f"fires.{name}.expand3", x, padding=1)]
        x = layers.ReLU()(layers.Concatenate()(sides))
        x = pool(x) if name in POOLED_AFTER else x
    model = keras.Model(start, layers.GlobalAveragePooling2D()(layers.ReLU()(conv("final", x, padding=1))))
    for layer, arrays in to_fill:
        layer.set_weights(list(arrays))
    return model


FAMILIES = ("linear", "svd", "dct", "wavelet", "laplacian")
COUNT, STEPS = 6, 20


def photographs(count=COUNT):
    """Return photographs (count, 3, 224, 224) in [0, 1], spread over the classes."""
    images, _ = torch_models().imagenet()
    return images[:: len(images) // count][:count].numpy()


def attribute(dtype):
    """Return maps by family and model, channels first, of the class that PyTorch predicts."""
    import keras

    import pathattr as pa

    keras.backend.set_floatx(dtype)
    x = photographs().astype(dtype)
    models = {
        "torch": squeezenet_torch().to(getattr(__import__("torch"), dtype)),
        f"keras on {keras.backend.backend()}": squeezenet_keras(),
        "jax": squeezenet_jax(dtype),
    }
    maps = {}
    for family in FAMILIES:
        target = None
        for name, model in models.items():
            last = name != "torch"
            explainer = pa.PathExplainer(
                model, family=family, steps=STEPS, output="logit", channel_axis=-1 if last else 1, batch_size=20
            )
            result = explainer(np.moveaxis(x, 1, -1) if last else x, target)
            target = result.target
            found = result.numpy().astype(np.float64)
            maps[family, name] = np.moveaxis(found, -1, 1) if last else found
    return maps


def run(dtype):
    """Attribute in a process of its own; return relative L2 differences of each photograph by family and model."""
    environment = os.environ | {"JAX_ENABLE_X64": str(int(dtype == "float64")), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, __file__, "run", dtype], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def differences(dtype):
    """Return, by model and family, the relative L2 difference of each photograph from PyTorch in the same dtype."""
    maps = attribute(dtype)
    table = {}
    for (family, name), found in maps.items():
        reference = maps[family, "torch"].reshape(COUNT, -1)
        delta = found.reshape(COUNT, -1) - reference
        relative = np.linalg.norm(delta, axis=1) / np.linalg.norm(reference, axis=1)
        table.setdefault(name, {})[family] = relative.tolist()
    del table["torch"]
    return table


def write(path):
    """Write the page of the docs."""
    lines = [
        "# One pretrained network in three frameworks",
        "",
        f"SqueezeNet 1.0 (ImageNet-1k), the same weights in PyTorch, Keras and JAX; {COUNT} photographs,",
        f"{STEPS} midpoints, the logit of the class that PyTorch predicts. Relative L2 difference from PyTorch in the",
        "same dtype, per photograph: median and largest. In float32 an activation that rounding moves across the kink",
        "of a ReLU, or past its neighbour in a max pooling, takes the gradient of everything before it along. The Haar",
        "path is piecewise constant, so that its max poolings have exact ties, which rounding breaks even in float64.",
        "",
        "Measured and written by `PATHATTR_REAL=FOLDER python tests/real_models.py docs/parity-squeezenet.md`; weights",
        "and photographs are not part of the project.",
        "",
        "| model | dtype | family | median | largest |",
        "|---|---|---|---|---|",
    ]
    for dtype in ("float64", "float32"):
        for name, families in run(dtype).items():
            lines += [
                f"| {name} | {dtype} | {family} | {np.median(found):.1e} | {max(found):.1e} |"
                for family, found in families.items()
            ]
    Path(path).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        print(json.dumps(differences(sys.argv[2])))
    else:
        write(sys.argv[1])
