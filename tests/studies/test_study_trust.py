"""A study's files are trusted no further than they can be checked, and one process at a time works on them."""

import json
import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import NumpyModel
from pathattr.common.archives import Unreadable
from pathattr.errors import InvalidInput
from pathattr.methods.gradients import GradientInput
from pathattr.metrics.sparseness import Sparseness
from pathattr.paths.baselines import Baseline
from pathattr.studies import Arrays, Setting, Study, write_report
from pathattr.studies.setting import as_text, described_settings
from pathattr.studies.store import Unit
from pathattr.testing.models import TanhNetwork

SHAPE = (1, 6, 6)
MODEL = TanhNetwork.random(SHAPE, classes=3).model()
OTHER = TanhNetwork.random(SHAPE, classes=3, seed=1).model()
INPUTS = np.random.default_rng(5).normal(size=(5, *SHAPE))
LABELS = [0, 1, 2, 0, 1]
ROWS = 2 * 5 * 2  # of the table: settings, examples, columns of the metric


def study(out, settings=None, inputs=INPUTS, **options):
    chosen = settings or [
        Setting("gradients", lambda: GradientInput(MODEL)),
        Setting("noisy", lambda: GradientInput(MODEL, baseline="mean")),
    ]
    data = Arrays(inputs, LABELS[: len(inputs)])
    return Study(data, chosen, {"sparse": Sparseness()}, out, **({"batch": 2} | options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    study(out).run()
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def out(finished, tmp_path):
    for name, data in finished.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def results(out):
    return sorted((out / "results").rglob("*.npz"))


def made_again(out, finished, count, reason):
    """See that bad results are named, are not taken into tables, are set aside, and come out as they were."""
    made = study(out)
    with pytest.warns(UserWarning, match=reason) as told:
        table = made.table()
    kept = {path.read_bytes() for path in results(out)}
    assert len(table) < ROWS
    assert {str(each.message).split("; ")[-1] for each in told} == {
        "it is left out, and made again when the study goes on"
    }
    with pytest.warns(UserWarning, match=reason) as told:
        study(out).run()
    assert len(told) == count
    assert all("it is kept as" in str(each.message) for each in told)
    aside = list(out.rglob("*.set-aside-*"))
    assert len(aside) == count
    assert {path.read_bytes() for path in aside} <= kept
    assert {name: (out / name).read_bytes() for name in finished} == finished


# --- Results ----------------------------------------------------------------------------------------------


def test_results_that_were_exchanged_are_noticed(out, finished):
    first, second, *_ = results(out)  # two settings on one batch
    first_data, second_data = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_data)
    second.write_bytes(first_data)
    made_again(out, finished, 2, "it is about another setting")


def test_a_result_of_another_batch_is_noticed(out, finished):
    one, other = (path for path in results(out) if "gradients" in path.name and "batch-0002" not in str(path))
    one.write_bytes(other.read_bytes())
    made_again(out, finished, 1, "it is about another batch")


def test_a_result_of_another_study_is_noticed(out, finished, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    study(other, seed=1).run()
    results(out)[0].write_bytes(results(other)[0].read_bytes())
    made_again(out, finished, 1, "it is about another study")


def test_rows_out_of_place_are_noticed(out, finished):
    made = study(out)
    unit = Unit(0, made.batches[0], "gradients")
    found = made._store.read(unit)
    found.rows[:] = found.rows[::-1]
    made._store.write(unit, found)
    with pytest.raises(Unreadable, match="its examples are not those of its batch, in their order"):
        made._store.read(unit)
    made_again(out, finished, 1, "its examples are not those of its batch, in their order")


@pytest.mark.parametrize("harm", [lambda data: data[:-40], lambda data: b"", lambda data: data[40:] + data[:40]])
def test_a_damaged_result_is_set_aside_and_made_again(out, finished, harm):
    path = results(out)[1]
    path.write_bytes(harm(path.read_bytes()))
    made_again(out, finished, 1, "damaged or is not this study's")


def test_a_second_bad_file_does_not_replace_the_first(out):
    path = results(out)[0]
    for data in (b"first", b"second"):
        path.write_bytes(data)
        with pytest.warns(UserWarning, match="it is kept as"):
            study(out).run()
    assert [path.read_bytes() for path in sorted(out.rglob("*.set-aside-*"))] == [b"first", b"second"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in the file system are POSIX's")
def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(out, finished):
    path = results(out)[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.warns(UserWarning, match="it is not a plain file; it is kept as"):
        study(out).run()
    assert {name: (out / name).read_bytes() for name in finished} == finished


@given(st.data())
def test_a_flipped_bit_changes_no_table(finished, tmp_path_factory, data):
    out = tmp_path_factory.mktemp("flipped")
    for name, content in finished.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    expected = study(out).table().csv()
    path = results(out)[0]
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study(out).run()
        assert study(out).table().csv() == expected


# --- The plan ---------------------------------------------------------------------------------------------


def flipped(text):
    return text.replace('"sparse"', '"sparsf"', 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda text: "", "is not a study's plan"),
        (lambda text: text[: len(text) // 2], "is not a study's plan"),
        (lambda text: "[" * 100_000, "is not a study's plan"),
        (lambda text: "[1, 2]", "it is something else"),
        (lambda text: '{"format": 2, "kind": "else"}', "it is something else"),
        (lambda text: '{"format": 2}', "it does not agree with its checksum"),
        (lambda text: text.replace('"scores": [', '"scores": ["text", ', 1), "it does not agree with its checksum"),
        (lambda text: text.replace('"scores": [', '"scores": [[1, 2], ', 1), "it does not agree with its checksum"),
        (lambda text: text.replace('"format": 2', f'"format": {"9" * 5000}'), "is not a study's plan"),
        (flipped, "it does not agree with its checksum"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "was written in format 1, this version has 2"),
    ],
)
def test_a_damaged_plan_is_a_sentence(out, harm, said):
    plan = out / "plan.json"
    text = harm(plan.read_text(encoding="utf-8"))
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=said) as caught:
        study(out).run()
    assert "give another --out" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert plan.read_text(encoding="utf-8") == text  # it may be the user's own


def test_a_plan_too_large_to_be_one_is_not_read(out, monkeypatch):
    monkeypatch.setattr("pathattr.studies.plan._MOST", 100)
    with pytest.raises(
        InvalidInput, match=r"it has \d+ bytes, and 100 are the most that make sense; give another --out"
    ):
        study(out).run()


def test_a_plan_holds_outputs_that_are_not_finite(tmp_path):
    def outputs(x):
        return np.stack([x.sum(axis=(1, 2, 3)), np.full(len(x), -np.inf)], axis=1)

    model = NumpyModel(outputs, lambda x, c: c[:, :1, None, None] * np.ones_like(x))
    made = [Setting("masked", lambda: GradientInput(model, output="logit", link="softmax"))]
    data = Arrays(INPUTS, [0] * 5)
    for _ in range(2):
        Study(data, made, {"sparse": Sparseness()}, tmp_path).plan.settle(tmp_path / "plan.json")
    assert "-inf" in json.loads((tmp_path / "plan.json").read_text())["models"]["masked"]["outputs"]


def test_facts_that_json_cannot_hold_are_refused_before_any_work(tmp_path):
    for facts in ({"model": object()}, {"x": float("nan")}):
        with pytest.raises(InvalidInput, match=r"must be plain values: .*; give text, finite numbers, lists and dicts"):
            study(tmp_path, facts=facts).run()
    assert list(tmp_path.iterdir()) == []


# --- What determines the results --------------------------------------------------------------------------


def goes_on(out, settings):
    study(out, settings).run()


def test_another_model_in_any_setting_is_noticed(tmp_path):
    def settings(second):
        return [Setting("a", lambda: GradientInput(MODEL)), Setting("b", lambda: GradientInput(second))]

    goes_on(tmp_path, settings(MODEL))
    goes_on(tmp_path, settings(MODEL))
    with pytest.raises(InvalidInput, match="another model under the same name: b: its scores"):
        goes_on(tmp_path, settings(OTHER))


def test_other_arithmetic_is_noticed(tmp_path, monkeypatch):
    goes_on(tmp_path, None)
    backend = "pathattr.models.numpy_backend.NumpyBackend"
    monkeypatch.setattr(f"{backend}.conditions", {"autocast": "bfloat16", "device": "another"})
    with pytest.raises(InvalidInput, match="settings gradients with model's autocast"):
        goes_on(tmp_path, None)
    monkeypatch.setattr(f"{backend}.conditions", {"device": "another"})
    goes_on(tmp_path, None)  # another device rounds otherwise, no more


@pytest.mark.parametrize("frameworks", ["torch"])
def test_another_precision_or_option_of_a_backend_is_noticed(tmp_path, frameworks):
    torch = pytest.importorskip(frameworks)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3)).eval()
    inputs = INPUTS.astype(np.float32)

    def settings(model, **options):
        return [Setting("a", lambda: GradientInput(model, backend="torch", **options))]

    study(tmp_path, settings(net), inputs).run()
    with pytest.raises(InvalidInput, match=r"backend_options: \{\} there, \{'autocast': 'bfloat16'\} now"):
        study(tmp_path, settings(net, backend_options={"autocast": "bfloat16"}), inputs).run()
    double = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3)).eval()
    double.load_state_dict(net.state_dict())
    with pytest.raises(InvalidInput, match="model's precision: float32 there, float64 now"):
        study(tmp_path, settings(double.double()), inputs).run()


class Kept(Baseline):
    """A baseline that holds an array, and says so as NumPy does: shortened."""

    def __init__(self, array):
        self.array = array

    def __call__(self, example, context):
        return np.broadcast_to(self.array.reshape(-1)[0], example.shape)

    def __repr__(self):
        return f"Kept({self.array!r})"


def test_descriptions_tell_long_arrays_apart_and_no_runs():
    long, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1e-9
    told = [described_settings(GradientInput(MODEL, baseline=Kept(array)))["baseline"] for array in (long, other)]
    assert told[0] != told[1]
    assert told[0] == described_settings(GradientInput(MODEL, baseline=Kept(long.copy())))["baseline"]
    assert max(map(len, told)) < 400

    class Plain(Baseline):
        def __call__(self, example, context):
            return example

    assert as_text(Plain()) == as_text(Plain())
    assert "0x" not in as_text(Plain())
    same = (np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32), np.zeros((3, 1)), np.zeros((2, 3), np.float32))
    assert len({as_text(array) for array in same}) == 3


def test_examples_of_the_same_bytes_and_another_shape_or_type_are_others():
    zeros = [np.zeros((1, 2, 3)), np.zeros((1, 3, 2)), np.zeros((1, 2, 6), np.float32), np.zeros((1, 2, 3), np.int64)]
    assert len({Arrays(inputs).digest(0) for inputs in zeros}) == 4


def test_masks_and_labels_of_arrays_are_what_they_say():
    with pytest.raises(InvalidInput, match="threshold soft masks first"):
        Arrays(INPUTS, masks=np.full((5, 6, 6), 0.2))
    with pytest.raises(InvalidInput, match=r"entries masked .*array\.filled\(0\)"):
        Arrays(INPUTS, masks=np.ma.masked_array(np.ones((5, 6, 6)), np.eye(6)[None].repeat(5, axis=0)))
    for labels in ([0.5] * 5, ["a"] * 5, [[0]] * 5, [-1] * 5, np.ma.masked_array([0] * 5, [1, 0, 0, 0, 0])):
        with pytest.raises(InvalidInput, match="labels must be whole numbers, one for each example"):
            Arrays(INPUTS, labels)
    torch = pytest.importorskip("torch")
    assert Arrays(INPUTS, torch.tensor(LABELS)).labels.tolist() == LABELS
    assert Arrays(INPUTS, masks=torch.ones((5, 6, 6))).masks.all()


# --- Nothing of the user's is changed ---------------------------------------------------------------------


def test_the_explainers_of_a_study_stay_as_they_were(tmp_path):
    told = []

    def progress(done, total):
        told.append((done, total))

    explainers = [GradientInput(MODEL, progress=given) for given in (progress, True, False)]
    before = [dict(vars(explainer)) for explainer in explainers]
    made = [Setting(str(k), lambda explainer=explainer: explainer) for k, explainer in enumerate(explainers)]
    study(tmp_path, made).run()
    assert [vars(explainer) for explainer in explainers] == before
    assert told == []  # it is the study that tells how far it is


def test_a_study_judges_by_what_its_explainers_ask(tmp_path):
    """Every option of the question reaches the model that judges, those to come included."""
    from pathattr.methods.explainer import QuestionOptions
    from pathattr.metrics.subject import Subject

    options = {"output": "logit", "link": "softmax", "class_axis": 1, "channel_axis": 1, "batch_size": 3, "head": None}
    explainer = GradientInput(MODEL, **options)
    made = study(tmp_path, [Setting("a", lambda: explainer)], seed=7)
    found = made.subject(explainer, made.data.batch([0]), [0])
    assert isinstance(found, Subject)
    for name in QuestionOptions.__annotations__:
        assert getattr(found, name) == (7 if name == "seed" else getattr(explainer, name)), name


def test_settings_of_several_heads_are_judged_each_by_its_own(tmp_path):
    torch = pytest.importorskip("torch")

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(36, 3), torch.nn.Linear(36, 3)

        def forward(self, x):
            return self.first(x.flatten(1)), self.second(x.flatten(1))

    net, inputs = Heads().eval(), INPUTS.astype(np.float32)
    made = [Setting(f"head {k}", lambda k=k: GradientInput(net, backend="torch", head=k)) for k in (0, 1)]
    judged = study(tmp_path, made, inputs)
    judged.run()
    scores = [judged.found(f"head {k}").costs["score"] for k in (0, 1)]
    for k, layer in enumerate((net.first, net.second)):
        with torch.no_grad():
            expected = layer(torch.tensor(inputs).flatten(1)).softmax(1)[range(5), LABELS].numpy()
        np.testing.assert_allclose(scores[k], expected, rtol=1e-5)  # float32
        np.testing.assert_allclose(judged.plan.models[f"head {k}"].scores, expected[:2], rtol=1e-5)


# --- One process at a time --------------------------------------------------------------------------------


def test_a_second_at_work_says_so_and_goes_on_when_the_first_has_ended(tmp_path, finished):
    said = []

    def watch(done, total, doing):
        if not said:
            with pytest.raises(InvalidInput, match=r"another process is at work on .*: wait until it ends") as caught:
                study(tmp_path).run()
            said.append(str(caught.value))

    study(tmp_path).run(watch)
    assert said
    study(tmp_path).run()
    assert {name: (tmp_path / name).read_bytes() for name in finished} == finished


@pytest.mark.parametrize("second", [{"seed": 1}, {}])
def test_of_two_that_begin_at_once_one_does_all_of_its_work(tmp_path, second):
    barrier, outcomes = threading.Barrier(2), {}
    made = {"first": study(tmp_path), "second": study(tmp_path, **second)}
    for each in made.values():
        assert each.plan  # asked beforehand, so that both arrive at the empty folder together

    def run(name):
        barrier.wait()
        try:
            made[name].run()
            outcomes[name] = "done"
        except InvalidInput as error:
            outcomes[name] = str(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [name for name, outcome in outcomes.items() if outcome == "done"]
    assert done
    for name in done:
        assert made[name].progress == (6, 6)
        assert len(made[name].table()) == ROWS
    for name in outcomes.keys() - set(done):
        assert "holds another study" in outcomes[name] or "another process is at work" in outcomes[name]
    if second:
        assert len(done) == 1


KILLED = """
import os, signal, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
from test_study_trust import study
written = []
def watch(done, total, doing):
    if done >= float(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
study(sys.argv[2]).run(watch)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_study_killed_by_the_system_holds_nothing_and_loses_nothing(tmp_path, finished):
    for done in (1.5, 4):
        command = [sys.executable, "-c", KILLED, __file__, str(tmp_path), str(done)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    calls = []
    study(tmp_path).run(lambda done, total, doing: calls.append(done))
    assert min(calls) >= 4
    assert {name: (tmp_path / name).read_bytes() for name in finished} == finished


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("pathattr.studies.study.hold", fail)
    with pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\): see that nothing else works on"):
        study(tmp_path).run()
    assert study(tmp_path).progress == (6, 6)


# --- Names that others chose ------------------------------------------------------------------------------

EVIL = "=cmd|' /C calc'!A0 \x1b[31m<img src=x>"


def test_names_do_nothing_in_any_file_of_a_report(tmp_path):
    made = Study(
        Arrays(INPUTS, LABELS, names=[f"{EVIL}{k}" for k in range(5)]),
        [Setting(f"{EVIL}{k}", lambda: GradientInput(MODEL), {EVIL: EVIL}) for k in range(2)],
        {f"{EVIL}m": Sparseness()},
        tmp_path,
        classes=[f"{EVIL}{k}" for k in range(3)],
    )
    made.run()
    summary, files = write_report(made, plots=True, notes=[EVIL], parquet=False)
    for path in files:
        if path.suffix == ".png":
            continue
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text, path
        if path.suffix == ".csv":
            assert not [
                cell for line in text.splitlines() for cell in line.split(",") if cell.lstrip('" ').startswith("=")
            ]
        if path.suffix == ".md":
            assert "<img" not in text
            assert "cmd|" not in text.replace("\\|", "")
    assert not any("\x1b" in cell for row in summary.cells() for cell in row)
