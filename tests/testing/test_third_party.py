"""A backend that somebody else publishes: installed as a package of its own, it is found, and keeps the contract."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pathattr.testing.backends import CHECKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "toy_backend"

USE = """
import sys
import numpy as np, toyframe
import pathattr as pa
from pathattr.models.registry import backends, load_backend
assert "toyframe" in backends()
assert "pathattr_toyframe" not in sys.modules, "loaded before it was needed"
model = toyframe.Model(np.random.default_rng(0).normal(size=(3, 20)))
x = toyframe.array(np.random.default_rng(1).normal(size=(2, 4, 5)))
result = pa.PathExplainer(model, channel_axis=None, steps=400)(x)
assert isinstance(result.attributions, toyframe.Array), type(result.attributions)
print(float(np.abs(result.gap).max()), "torch" in sys.modules)
"""

CONTRACT = """
import numpy as np, toyframe
from pathattr.testing import TanhNetwork, backend_suite
from pathattr_toyframe import ToyBackend

class Network(toyframe.Model):
    def __init__(self, spec):
        super().__init__(spec.w2)
        self.spec = spec
    def forward(self, x):
        return toyframe.array(self.spec.value(np.asarray(x)))
    def backward(self, x, cotangent):
        return toyframe.array(self.spec.vjp(np.asarray(x), np.asarray(cotangent)))

test_contract = backend_suite(ToyBackend, network=Network, array=toyframe.array)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed the toy framework and its backend, built as a wheel by hand."""
    folder = tmp_path_factory.mktemp("third_party")
    wheel = folder / "pathattr_toyframe-1.0-py3-none-any.whl"
    info = "pathattr_toyframe-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("toyframe.py", "pathattr_toyframe.py"):
            archive.write(EXAMPLE / name, name)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pathattr-toyframe\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[pathattr.backends]\ntoyframe = pathattr_toyframe:ToyBackend\n")
        archive.writestr(f"{info}/RECORD", "")
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", target, wheel],
        check=True,
    )
    return target


def run(site, arguments):
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_an_installed_backend_is_found_and_explains(site):
    done = run(site, ["-c", USE])
    assert done.returncode == 0, done.stderr
    gap, torch_imported = done.stdout.split()
    assert float(gap) < 1e-3  # 400 midpoints of a smooth path
    assert torch_imported == "False"


def test_it_keeps_the_contract_run_with_three_lines(site, tmp_path):
    module = tmp_path / "test_toy.py"
    module.write_text(CONTRACT)
    done = run(site, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", tmp_path, module])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CHECKS)} passed" in done.stdout


def test_the_example_is_as_short_as_the_docs_say():
    assert len((EXAMPLE / "pathattr_toyframe.py").read_text().splitlines()) < 100
