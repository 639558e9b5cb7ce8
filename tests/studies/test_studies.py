"""Studies: plans, resuming after a kill at any point, tables and figures."""

import csv
import io
import json
import os
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathattr import NumpyModel
from pathattr.errors import InvalidInput, MissingExtra, ModelError
from pathattr.methods.gradients import GradientInput
from pathattr.metrics.localisation import MassInside
from pathattr.metrics.metric import Metric
from pathattr.metrics.plots import Curve
from pathattr.metrics.scores import Scores
from pathattr.metrics.sparseness import Sparseness
from pathattr.metrics.statistics import bootstrap
from pathattr.studies import Arrays, Setting, Study, summarised, write_report
from pathattr.studies.figures import figures
from pathattr.studies.setting import described_settings
from pathattr.studies.store import COSTS, Found, Unit
from pathattr.testing.models import TanhNetwork

SHAPE = (1, 6, 6)
MODEL = TanhNetwork.random(SHAPE, classes=3).model()
INPUTS = np.random.default_rng(5).normal(size=(7, *SHAPE))
LABELS = [0, 1, 2, 0, 1, 2, 0]
MASKS = np.random.default_rng(6).random((7, 6, 6)) > 0.6
FAULTY = 50.0


class Counted(GradientInput):
    """Gradient × input that notes how many examples it was asked for, and fails on inputs of `FAULTY`."""

    own_settings = ("scale",)

    def __init__(self, model, *, scale=1.0, calls=None, **options):
        super().__init__(model, **options)
        self.scale, self.calls = scale, [] if calls is None else calls

    def _attribute(self, backend, inputs, host, layout, target, progress):
        self.calls.append(len(host))
        if (host == FAULTY).any():
            raise ModelError(f"image {int((host == FAULTY).any(axis=(1, 2, 3)).argmax())}: cannot be explained")
        return super()._attribute(backend, inputs, host * self.scale, layout, target, progress)


@dataclass(frozen=True)
class Curved(Metric):
    """A metric with curves, undefined on some examples, for cheap."""

    shift: float = 0.0

    def scores(self, subject, maps):
        value = np.abs(maps).sum(axis=(1, 2, 3)) + self.shift
        # By the example's own entries: whether it is defined must not depend on the batch.
        value[subject.examples[:, 0, 0, 0] > 1.2] = np.nan
        x = np.linspace(0, 1, 30)
        return Scores(
            repr(self), {"curved": value}, {"curved": "lower"}, {"rise": Curve(x, value[:, None] * x, "x", "y")}
        )


def settings(calls=None, count=3):
    def make(scale):
        return lambda: Counted(MODEL, scale=scale, calls=calls)

    return [Setting(f"scale {k + 1}", make(k + 1.0), {"overlap": (k + 1) / 10, "kind": "test"}) for k in range(count)]


def study(out, calls=None, inputs=INPUTS, **options):
    shown = [np.full((6, 6, 3), 0.5)] * len(inputs)
    data = Arrays(inputs, LABELS[: len(inputs)], masks=MASKS[: len(inputs)], shown=shown)
    given = {"batch": 3, "facts": {"model": "tanh"}, "classes": ["a", "b", "c"]} | options
    chosen = given.pop("settings", None) or settings(calls)
    return Study(data, chosen, given.pop("metrics", {"sparse": Sparseness(), "curved": Curved()}), out, **given)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(files, out):
    for name, data in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def finished(out, calls=None, watch=None):
    made = study(out, calls)
    made.run(watch)
    write_report(made, plots=False)
    return made


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    # Fewer than users get: what is tested here is not how well they estimate.
    with mock.patch("pathattr.metrics.statistics.RESAMPLES", 99):
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    calls = []
    finished(out, calls)
    return contents(out), calls


# --- Going on after a kill --------------------------------------------------------------------------------

FILES = 1 + 3 * 3 + 5  # plan, settings × batches, report


@given(st.lists(st.tuples(st.integers(0, FILES - 1), st.booleans()), min_size=1, max_size=2))
def test_a_study_killed_at_any_file_goes_on_to_the_same_files(tmp_path_factory, reference, kills):
    expected, _ = reference
    out = tmp_path_factory.mktemp("killed")
    calls = []
    lost = 0
    for at, before in kills:
        seen = []

        def put(source, target, real, at=at, before=before, seen=seen):
            seen.append(target)
            if len(seen) == at + 1:
                if not before:
                    with suppress(FileExistsError):  # a plan that is there already
                        real(source, target)
                raise KeyboardInterrupt
            real(source, target)

        # How a whole file gets its name: the plan by a link, all others by a rename.
        with (
            mock.patch("pathattr.common.files.os.link", partial(put, real=os.link)),
            mock.patch("pathattr.common.files.os.replace", partial(put, real=os.replace)),
        ):
            try:
                finished(out, calls)
            except KeyboardInterrupt:
                # Only what was in work when the kill came before its file is lost, and done again.
                lost += before and "results" in str(seen[-1])
    finished(out, calls)
    assert contents(out) == expected
    assert len(calls) == 3 * 3 + lost


@given(st.integers(0, 40))
def test_a_study_stopped_in_the_middle_of_anything_goes_on_to_the_same_files(tmp_path_factory, reference, at):
    out = tmp_path_factory.mktemp("stopped")
    told = []

    def watch(done, total, doing):
        told.append((done, total, doing))
        if len(told) > at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finished(out, watch=watch)
    finished(out)
    assert contents(out) == reference[0]


@given(st.sets(st.integers(0, 8)), st.sampled_from(["gone", "cut", "foreign"]))
def test_results_that_are_gone_damaged_or_foreign_are_made_again_and_no_others(
    tmp_path_factory, reference, places, harm
):
    out = tmp_path_factory.mktemp("harmed")
    restore(reference[0], out)
    made = study(out)
    files = sorted((out / "results").rglob("*.npz"))
    other = study(out, seed=1)
    for place in places:
        if harm == "gone":
            files[place].unlink()
        elif harm == "cut":
            files[place].write_bytes(files[place].read_bytes()[:-40])
        else:
            unit = Unit(place // 3, made.batches[place // 3], f"scale {place % 3 + 1}")
            other._store.write(unit, made._store.read(unit))
    calls = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        finished(out, calls)
    kept = {name: data for name, data in contents(out).items() if "set-aside" not in name}
    assert kept == reference[0]
    assert len(calls) == len(places)
    # What was bad is kept, and named.
    assert len(contents(out)) - len(kept) == len(told) == (0 if harm == "gone" else len(places))
    reason = "damaged|it is no archive" if harm == "cut" else "it is about another study"
    assert all(re.search(reason, str(each.message)) for each in told)


def test_progress_counts_what_is_done_and_never_goes_back(tmp_path):
    told = []
    made = study(tmp_path)
    made.run(lambda done, total, doing: told.append((done, total, doing)))
    done = [each[0] for each in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 9)
    assert {total for _, total, _ in told} == {9}
    assert "scale 2, batch 3 of 3" in {doing for _, _, doing in told}
    assert made.progress == (9, 9)


def test_a_stopped_study_has_judged_all_settings_on_the_same_first_examples(tmp_path):
    def watch(done, total, doing):
        if done >= 4:  # one setting into the second batch
            raise KeyboardInterrupt

    made = study(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        made.run(watch)
    counts = [np.isfinite(found.scores["sparse"].score).sum() for found in made.results().values()]
    assert counts == [6, 3, 3]
    summary, _ = write_report(made, plots=False)
    assert "Unfinished: 12 of 21 explanations" in (tmp_path / "summary.md").read_text()
    assert summary.rows[1].differences["sparse", "sparseness"].count == 3


# --- The plan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"batch": 2}, "examples in a batch: 3 there, 2 now"),
        ({"target": "predicted"}, "target: label there, predicted now"),
        ({"facts": {"model": "other"}}, "model: tanh there, other now"),
        ({"metrics": {"sparse": Sparseness()}}, "metrics without curved"),
        ({"metrics": {"sparse": Sparseness(), "curved": Curved(1.0)}}, r"metrics curved: Curved\(shift=0.0\) there"),
        ({"settings": settings(count=4)}, "settings with scale 4"),
        ({"inputs": INPUTS + 1e-6}, "examples: 7 there, 7 now, 7 of them different"),
        ({"inputs": INPUTS[:4]}, "examples: 7 there, 4 now, 3 of them different"),
    ],
)
def test_another_study_in_the_folder_is_refused_by_what_differs(tmp_path, changes, message):
    study(tmp_path).run()
    before = contents(tmp_path)
    with pytest.raises(InvalidInput, match=message) as caught:
        study(tmp_path, **changes).run()
    assert "another --out" in str(caught.value)
    assert contents(tmp_path) == before


def test_another_model_of_the_same_name_is_noticed(tmp_path):
    study(tmp_path).run()
    other = TanhNetwork.random(SHAPE, classes=3, seed=1).model()
    named = [Setting(f"scale {k}", lambda k=k: Counted(other, scale=float(k))) for k in (1, 2, 3)]
    with pytest.raises(InvalidInput, match="another model under the same name: scale 1"):
        study(tmp_path, settings=named).run()


def test_another_model_is_noticed_where_both_are_certain(tmp_path):
    def certain(scale):
        model = NumpyModel(lambda x: np.tile([scale, -scale], (len(x), 1)), lambda x, c: np.zeros_like(x))
        return [Setting("only", lambda: GradientInput(model, link="softmax"))]

    data = Arrays(INPUTS, np.zeros(len(INPUTS), int))
    first, second = (Study(data, certain(s), {"curved": Curved()}, tmp_path) for s in (20.0, 30.0))
    scores = [made.plan.models["only"].scores for made in (first, second)]
    assert scores[0] == scores[1]  # probability 1 of both
    first.plan.settle(tmp_path / "plan.json")
    with pytest.raises(InvalidInput, match="another model under the same name: only: its outputs"):
        second.plan.settle(tmp_path / "plan.json")


def test_facts_order_and_points_in_a_call_may_change(tmp_path, reference):
    study(tmp_path).run()
    calls = []
    again = [Setting(s.name, s.explainer) for s in reversed(settings(calls))]
    for setting in again:
        setting.explainer().batch_size = 5
    study(tmp_path, settings=again).run()
    assert calls == []


def test_a_foreign_plan_is_not_overwritten(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is not a study's plan"):
        study(tmp_path).run()
    assert (tmp_path / "plan.json").read_text() == "{}"


def test_the_description_of_an_explainer_tells_its_arrays_and_no_addresses():
    def output(values):
        return values[:, 0]

    array, other = np.zeros(SHAPE), np.ones(SHAPE)
    first = described_settings(Counted(MODEL, baseline=array, output=output))
    assert first == described_settings(Counted(MODEL, baseline=array.copy(), output=output))
    assert first != described_settings(Counted(MODEL, baseline=other, output=output))
    assert "0x" not in repr(first)
    assert described_settings(Counted(MODEL, batch_size=3)) == described_settings(Counted(MODEL))


# --- Failures ---------------------------------------------------------------------------------------------


def test_equal_settings_are_not_decidedly_apart_by_rounding():
    def found(values):
        rows = np.arange(len(values))
        costs = dict.fromkeys(COSTS, np.zeros(len(values)))
        return Found(rows, rows, costs, {"m": Scores("m", {"m": values}, {"m": "higher"})}, {}, {})

    values = np.random.default_rng(0).random(20)
    apart = {"a": found(values), "b": found(values + 1e-8), "c": found(values + 1e-3)}
    lines = summarised(apart).markdown().decode().splitlines()
    assert [line.startswith("| c") for line in lines if "**" in line] == [True]


def test_an_example_that_fails_is_named_and_its_batch_mates_are_kept(tmp_path):
    inputs = INPUTS.copy()
    inputs[4, 0, 0, 0] = FAULTY
    made = study(tmp_path, inputs=inputs)
    made.run()
    assert [(setting, name) for setting, name, _ in made.failures()] == [(f"scale {k}", "example 4") for k in (1, 2, 3)]
    whole = study(tmp_path / "whole")
    whole.run()
    for setting in ("scale 1", "scale 3"):
        kept = np.arange(7) != 4
        found, expected = (s.scores(setting)["sparse"].score for s in (made, whole))
        # The example's value does not depend on its batch-mates: to the last digits of a matrix product's sums.
        assert np.allclose(found[kept], expected[kept], rtol=1e-12)
        assert np.isnan(found[4])
    rows = [row for row in csv.DictReader(io.StringIO(made.table().csv().decode())) if row["example"] == "example 4"]
    assert {row["value"] for row in rows} == {""}
    assert all("cannot be explained" in row["failed"] for row in rows)
    write_report(made, plots=False)
    assert "Failed: scale 2 on example 4" in (tmp_path / "summary.md").read_text()


def test_what_failed_is_tried_again_and_the_rest_is_not(tmp_path, monkeypatch):
    calls, scores = [], Curved.scores

    def short_of_memory(self, subject, maps):
        if (subject.examples[:, 0, 0, 0] == INPUTS[4, 0, 0, 0]).any():
            raise MemoryError("nothing left")
        return scores(self, subject, maps)

    made = study(tmp_path / "broken", calls)
    with monkeypatch.context() as patched:
        patched.setattr(Curved, "scores", short_of_memory)
        made.run()
    reason = "MemoryError: nothing left"
    assert made.failures() == [(f"scale {k}", "example 4", reason) for k in (1, 2, 3)]
    calls.clear()
    again = study(tmp_path / "broken", calls)
    again.run()
    assert calls == [3, 3, 3]  # the one batch in which there was a failure, for each setting
    study(tmp_path / "whole").run()
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_setting_that_fails_on_all_of_the_first_batch_is_an_error(tmp_path):
    inputs = INPUTS.copy()
    inputs[:3, 0, 0, 0] = FAULTY
    with pytest.raises(InvalidInput, match="scale 1 fails on every example of the first batch: image 0: cannot"):
        study(tmp_path, inputs=inputs).run()


def test_what_a_study_lacks_is_said_before_any_work(tmp_path):
    data = Arrays(INPUTS)
    with pytest.raises(InvalidInput, match="mass must know where the object is, and 7 of 7 examples have neither"):
        Study(data, settings(), {"mass": MassInside()}, tmp_path)
    with pytest.raises(InvalidInput, match="needs examples with labels"):
        Study(data, settings(), {"sparse": Sparseness()}, tmp_path, target="label")
    with pytest.raises(InvalidInput, match="two settings are called 'scale 1'"):
        Study(data, settings() + settings(), {"sparse": Sparseness()}, tmp_path)
    with pytest.raises(InvalidInput, match="at least one setting"):
        Study(data, [], {"sparse": Sparseness()}, tmp_path)
    assert Study(data, settings(), {"sparse": Sparseness()}, tmp_path).target == "predicted"
    made = study(tmp_path)
    made.run()
    with pytest.raises(InvalidInput, match="no setting is called 'scale 9'"):
        write_report(made, reference="scale 9")
    with pytest.raises(InvalidInput, match="no setting is called"):
        made.found("scale 9")


def test_a_missing_extra_is_named_where_it_is_asked_for(tmp_path, monkeypatch):
    made = study(tmp_path)
    made.run()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pathattr\[study\]"):
        write_report(made, parquet=True, plots=False)
    _, files = write_report(made, plots=False)
    assert "table.parquet" not in {path.name for path in files}
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pathattr\[plot\]"):
        write_report(made)


# --- What is judged ---------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metric_on_each_example_by_itself(tmp_path):
    from pathattr.metrics import Subject

    made = study(tmp_path)
    made.run()
    for setting in made.settings:
        for row in (0, 3, 6):
            subject = Subject(MODEL, INPUTS[[row]], LABELS[row], masks=MASKS[[row]])
            attribution = setting.explainer()(INPUTS[[row]], LABELS[row])
            expected = Sparseness()(subject, attribution)
            found = made.found(setting.name)
            # As above: a batch of three and one of one.
            assert found.scores["sparse"].score[row] == pytest.approx(expected.score[0], rel=1e-12)
            assert found.costs["gap"][row] == pytest.approx(attribution.gap[0], rel=1e-9)
            assert found.targets[row] == LABELS[row]


def test_predicted_targets_are_what_the_model_says(tmp_path):
    made = study(tmp_path, target="predicted")
    made.run()
    assert made.found("scale 1").targets.tolist() == MODEL.value(INPUTS).argmax(axis=1).tolist()


def test_a_subject_is_shared_by_settings_that_ask_the_same(tmp_path, monkeypatch):
    from pathattr.studies import study as module

    made, real = [], module.Subject
    monkeypatch.setattr(module, "Subject", lambda *args, **kw: made.append(kw["output"]) or real(*args, **kw))
    several = [
        Setting(f"{output} {scale}", lambda output=output, scale=scale: Counted(MODEL, output=output, scale=scale))
        for output in ("probability", "logit")
        for scale in (1.0, 2.0)
    ]
    study(tmp_path, settings=several).run()
    assert sorted(made) == ["logit"] * (3 + 1) + ["probability"] * (3 + 1)  # one more for the plan


# --- Tables -----------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_example_setting_and_column(tmp_path):
    import pyarrow.parquet

    made = finished(tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 3 * 7 * 3  # settings, examples, columns
    keys = {(row["setting"], row["example"], row["metric"], row["column"]) for row in rows}
    assert len(keys) == len(rows)
    for row in rows:
        found = made.found(row["setting"])
        value = found.scores[row["metric"]].values[row["column"]][int(row["number"])]
        assert row["value"] == ("" if np.isnan(value) else repr(float(value)))
        assert float(row["gap"]) == found.costs["gap"][int(row["number"])]
        assert row["class"] == "abc"[LABELS[int(row["number"])]]
    table = pyarrow.parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [row["setting"] for row in table] == [row["setting"] for row in rows]
    assert [row["value"] for row in table] == [float(row["value"]) if row["value"] else None for row in rows]
    assert {type(row["overlap"]) for row in table} == {float}


def test_the_summary_is_means_and_paired_differences(tmp_path):
    made = finished(tmp_path)
    summary = summarised(made.results(), "scale 2")
    assert [row.setting for row in summary.rows] == ["scale 1", "scale 2", "scale 3"]
    one, two = (made.scores(f"scale {k}")["curved"].score for k in (1, 2))
    row = summary.rows[0]
    assert row.scores["curved", "curved"] == bootstrap(one)
    assert row.differences["curved", "curved"] == bootstrap(one - two)
    assert row.differences["curved", "curved"] == made.scores("scale 1")["curved"].compare(
        made.scores("scale 2")["curved"]
    )
    assert row.scores["curved", "curved"].count == np.isfinite(one).sum() < 7
    assert not summary.rows[1].differences
    assert row.gradients == 1
    assert row.gap == np.median(made.found("scale 1").costs["relative_gap"])
    lines = list(csv.DictReader(io.StringIO(summary.csv().decode())))
    assert len(lines) == 3 * 3
    assert float(lines[2]["difference"]) == row.differences["curved", "curved"].mean
    assert lines[2]["better"] == "lower"


def test_markdown_and_latex_are_whole_tables(tmp_path):
    odd = [Setting("50% | a_b ω=1", settings()[0].explainer), *settings()[1:]]
    made = study(tmp_path, settings=odd)
    made.run()
    write_report(made, plots=False, reference="scale 2")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert [len(table) for table in tables] == [2 + 3, 2 + 2]
    assert "sparse ↑ | curved ↓" in tables[0][0]
    assert "*scale 2*" in text
    tex = (tmp_path / "summary.tex").read_text(encoding="utf-8")
    assert r"50\% \textbar{} a\_b $\omega$=1" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2
    columns = {line.count(" & ") for line in tex.split("tabular}")[1].splitlines() if line.endswith(r"\\")}
    assert columns == {2 + 4}
    assert all(ord(character) < 128 for character in tex)


def test_small_numbers_keep_their_digits():
    from pathattr.studies.summary import _digits, _interval

    assert _interval(bootstrap(np.array([2e-5, 4e-5])), _digits([3e-5])).startswith("0.0000300 [")
    assert _digits([0.4, np.nan]) == 3
    assert _digits([]) == 3
    assert _interval(bootstrap(np.array([np.nan])), 3) == "–"


# --- Figures ----------------------------------------------------------------------------------------------


def overlapping(figure):
    """Return pairs of texts of a figure that lie over each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):  # those outside the limits are not drawn
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label2 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    texts = [text for text in texts if text.get_text().strip() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    return [
        (a, b)
        for i, (a, one) in enumerate(boxes)
        for b, two in boxes[i + 1 :]
        if min(one.x1, two.x1) - max(one.x0, two.x0) > 1 and min(one.y1, two.y1) - max(one.y0, two.y0) > 1
    ]


@pytest.mark.parametrize("count", [10, 18])
def test_figures_are_readable_whatever_the_number_of_settings(tmp_path, count):
    made = study(tmp_path, settings=settings(count=count))
    made.run()
    results = made.results()
    summary = summarised(results)
    drawn = dict(figures(made, results, summary))
    pages = 1 if count <= 10 else 3
    assert list(drawn) == [
        "overlap",
        *(f"curves-curved{f'-{k + 1}' if pages > 1 else ''}" for k in range(pages)),
        "maps",
    ]
    for name, figure in drawn.items():
        assert not overlapping(figure), name
        assert max(figure.get_size_inches()) < 30
    shown = [name for name in drawn if name.startswith("curves")]
    labels = [text.get_text() for name in shown for text in drawn[name].legends[0].get_texts()]
    assert set(labels) == set(results)
    assert all(drawn[name].legends[0].get_texts()[0].get_text() == "scale 1" for name in shown)


def test_the_plan_is_written_first_and_says_what_is_done(tmp_path):
    made = study(tmp_path, record={"note": "here"})

    def watch(done, total, doing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.run(watch)
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert list(contents(tmp_path)) == ["plan.json"]
    assert plan["fingerprint"] == made.plan.fingerprint
    assert plan["determines"]["settings"]["scale 2"]["scale"] == "2.0"
    assert plan["record"]["note"] == "here"
    assert len(plan["determines"]["examples"]) == 7


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="the shipped classifier needs a framework")
    page = (Path(__file__).parents[2] / "docs" / "ablation.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    found = {"__name__": "page"}  # dataclasses look for their module's name
    exec(compile(code, "docs/ablation.md", "exec"), found)
    assert found["summary"].rows[1].setting == "first, then the line"
    assert len(found["study"].table()) == 2 * 4 * 6  # settings, examples, columns of DiffID
    assert (tmp_path / "study-of-controls" / "maps.png").exists()
