"""Whatever the command line refuses says what to do in one sentence, and the command that does so works."""

import errno
import os
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from advising import Refusal, completeness, modules_of, tabled
from pathattr import cli
from refused_commands import Refused, done, fresh, outcome


def refused(line, said, follows, **more):
    return Refused(line, said, follows, early=True, **more)


E = "explain a.png -m own.py:plain --steps 4"
C = "compare a.png -m own.py:plain --steps 4 --family linear"
V = "verify -m own.py:plain --pictures a.png --steps 3"
B = "bench -m own.py:plain --steps 3 --size 8 --count 1"
S = "ablate -m own.py:plain --data pictures --metric sparseness --size 8 --limit 2"
SOME = "ablate -m own.py:dim --data bright --metric sparseness --steps 3 --family linear --baseline 0.1"
TWO = "explain a.png b.png -m own.py:plain --steps 4"
BROKEN = Path(__file__).parents[2] / "examples" / "broken_models.py"
NAMES = "the names are"

OPTIONS = {
    "backend": refused(f"{E} --backend torhc", "unknown backend 'torhc'; the names are jax, numpy",
        f"{E} --backend numpy"),
    "backend of a study": refused(f"{S} --backend torhc", "the names are jax, numpy", f"{S} --steps 3 --backend numpy"),
    "size": refused(f"{E} --size 0", "side of a picture in pixels, at least 1; got 0", f"{E} --size 1"),
    "size of a study": refused(f"{S} --steps 3 --size 0", "at least 1; got 0", f"{S} --steps 3"),
    "no number": Refused(f"{E} --size big", "'--size'.*valid integer", f"{E} --size 8", status=2),
    "missing": Refused("explain -m own.py:plain", "Missing argument.*pictures", E, status=2),
    "unknown": Refused(f"{E} --stesp 3", "No such option: --stesp.*--steps", f"{E} --steps 3", status=2),
    "command": Refused("nonsense", "No such command 'nonsense'.*--help' for help|--help' for help.*No such command",
        "--help", status=2),
    "channel axis": refused(f"{E} --channel-axis 3", "1 for channels first or -1 for last; got 3",
        f"{E} --channel-axis 1"),
    "channel axis of a study": refused(f"{S} --steps 3 --channel-axis 5", "1 for channels first or -1 for last; got 5",
                                       f"{S} --steps 3 --channel-axis 1"),
    "steps": refused(f"{E} --steps 1000000000000", "at most 10,000,000; got 1,000,000,000,000: --steps auto",
        f"{E} --steps auto"),
    "word": refused(f"{E} --steps many", "--steps takes a whole number or auto; got 'many'", [f"{E} --steps 3",
        f"{E} --steps auto --force"]),
    "word of a study": refused(f"{S} --steps many", "--steps takes a whole number or auto", f"{S} --steps 3"),
    "few": refused(f"{E} --steps 0", "steps must be a whole number of at least 1", f"{E} --steps 1"),
    "batch size": refused(f"{E} --batch-size few", "--batch-size takes a whole number or auto",
        [f"{E} --batch-size 3", f"{E} --batch-size auto --force"]),
    "overlap": refused(f"{E} --overlap 2", "between 0 and 1", f"{E} --overlap 1"),
    "family": refused(f"{E} --family sdv", f"unknown family 'sdv'; {NAMES} 'linear', 'svd'.*Did you mean 'svd'",
        f"{E} --family svd"),
    "family of several": refused("compare a.png -m own.py:plain --steps 3 --family svd,nope",
        "unknown family 'nope'; the names are 'linear'",
                                 "compare a.png -m own.py:plain --steps 3 --family svd,linear"),
    "no family": refused("compare a.png -m own.py:plain --family ''", "comma-separated list; got ''", f"{C},svd"),
    "family of verify": refused(f"{V} --family sdv", "Did you mean 'svd'", f"{V} --family svd"),
    "family of bench": refused(f"{B} --family sdv", "Did you mean 'svd'", f"{B} --family svd"),
    "schedule": refused(f"{E} --schedule ramp", f"{NAMES} 'linear', 'cosine', 'sigmoid', 'step'",
        f"{E} --schedule cosine"),
    "ordering": refused(f"{E} --ordering size", f"{NAMES} 'energy', 'frequency'", f"{E} --ordering energy"),
    "unfit ordering": Refused(f"{E} --ordering scale", r"Energy\(\), Rank\(\) and Shuffled\(\)",
                              [f"{E} --ordering {name} --force" for name in ("energy", "rank", "shuffled")]),
    "rule": refused(f"{E} --rule simpson", "'left', 'right', 'midpoint', 'trapezoid'", f"{E} --rule left"),
    "refined rule": refused(f"{E} --nodes refined --rule left",
        "got --rule left: leave the rule out, or choose other nodes with",
                            [f"{E} --nodes refined", f"{E} --nodes uniform --rule left --force"]),
    "nodes": refused(f"{E} --nodes even", f"{NAMES} 'uniform'", f"{E} --nodes uniform"),
    "auto nodes": refused("explain a.png -m own.py:plain --steps auto --nodes uniform",
        "--steps auto refines its nodes.*or leave nodes out",
                          [f"{E} --nodes uniform", "explain a.png -m own.py:plain --steps auto --force"]),
    "jumps": refused(f"{E} --nodes arc-length --overlap 0", "Choose ω > 0 and a continuous ramp, or --nodes uniform",
                     [f"{E} --nodes arc-length --overlap 0.1", f"{E} --nodes uniform --overlap 0 --force"]),
    "baseline": refused(f"{E} --baseline grey", f"{NAMES} 'zero', 'black'", f"{E} --baseline zero"),
    "baseline's number": refused(f"{E} --baseline nan",
        "a constant baseline is a finite number or one per channel; got nan$", f"{E} --baseline 0.5"),
    "black": Refused(f"{E} --baseline black", r"raw image space: pass ImageModel\(model, "
        r"preprocessing=Preprocessing\(mean, std\)\)",
                     "explain a.png -m own.py:normalised --steps 4 --baseline black"),
    "output": refused(f"{E} --output odds", "'probability', 'logit'", f"{E} --output logit"),
    "tolerance": refused("explain a.png -m own.py:plain --steps auto --tolerance 2", "between 0 and 1; got 2",
                         "explain a.png -m own.py:plain --steps auto --tolerance 0.1"),
    "device": Refused(f"{E} --device tpu", "numpy backend has no device 'tpu'; it has cpu", f"{E} --device cpu"),
    "count of scenes": refused("demo --count 0", "--count must be 1 to 20, the rows of one figure; got 0",
        "demo --count 1 --steps 2"),
    "count of pictures": refused(f"{B} --count 0", "--count must be at least 1; got 0", B),
    "scenes of NumPy": Refused("demo --count 1 --steps 2 --backend numpy",
        "say --backend torch, --backend tensorflow or --backend jax$",
                               "demo --count 1 --steps 2 --backend torch"),
    "target of a study": refused(f"{S} --steps 3 --target best", "--target is label or predicted; got 'best'",
                                 [f"{S} --steps 3 --target label", f"{S} --steps 3 --target predicted --out other"]),
}  # fmt: skip

CLASSES = {
    "no names": Refused(f"{E} --target cat", "names no classes: give the class's index, such as 0, or return "
        "ImageModel",
                        [f"{E} --target 0", "explain a.png -m own.py:named --steps 4 --target dog --force"]),
    "several": Refused("explain a.png -m own.py:named --steps 4 --target cat",
        "it fits red cat, grey cat: write more of one, or .*such as 0$",
                       [f"explain a.png -m own.py:named --steps 4 --force --target {t}" for t in ("'red c'", "0")]),
    "none": Refused("explain a.png -m own.py:named --steps 4 --contrast dgo",
        "fits none of .*4 class names, such as 'dog'.*index from 0 to 3",
                    [f"explain a.png -m own.py:named --steps 4 --force --contrast {t}" for t in ("dog", "3")]),
    "out of range": Refused(f"{E} --target 12", "out of range: the model has 4 outputs, 0 to 3", f"{E} --target 3"),
    "dense": Refused("explain a.png -m own.py:dense --steps 4",
        "pass --target i,j, one index per axis, or a model that returns the scores of",
                     ["explain a.png -m own.py:dense --steps 4 --target 2,1,1", f"{E} --force"]),
    "dense to bench": Refused(B.replace("plain", "dense"), "pass --target i,j, one index",
        f"{B.replace('plain', 'dense')} --target 2,1,1"),
    "dense to study": Refused(f"{S.replace('plain', 'dense')} --steps 3",
        "3 indices; got .*, or a model that returns the scores of one place", f"{S} --steps 3 --out other"),
    "of a gradient": Refused("explain a.png -m own.py:callback --steps 4", "to predict a class from: pass --target$",
                             "explain a.png -m own.py:callback --steps 4 --target 1"),
    "axis": Refused(f"{E} --class-axis 3", "say one from 1 to 1, or leave it out$", [f"{E} --class-axis 1",
        f"{E} --force"]),
    "heads": Refused("explain a.png -m own.py:pair --steps 4", "say --head 0 or another of them$",
                     [f"explain a.png -m own.py:pair --steps 4 --force --head {k}" for k in (0, 1)]),
    "no such head": Refused("explain a.png -m own.py:pair --steps 4 --head 2",
        r"0 \(.*1 \(.*say --head as it stands there$",
                            "explain a.png -m own.py:pair --steps 4 --head 1"),
    "no heads": Refused(f"{E} --head 0", "one array of shape .*; leave the head out$", E),
    "probabilities": Refused("explain a.png -m own.py:probabilities --steps 4",
        "link= is said in Python; here --output raw explains what the model",
                             "explain a.png -m own.py:probabilities --steps 4 --output raw"),
    "sigmoids": Refused("explain a.png -m own.py:sigmoids --steps 4 --size 8",
        "if they are no scores of classes, --output raw; link= is said in Python",
                        "explain a.png -m own.py:sigmoids --steps 4 --size 8 --output raw"),
}  # fmt: skip

MIXED = {
    "tolerance": refused(f"{E} --tolerance 0.1", "a number of steps, here 4, aims at none: say --steps auto, or "
        "leave --tolerance out$",
                         ["explain a.png -m own.py:plain --steps auto --tolerance 0.1", f"{E} --force"]),
    "tolerance beside the default": refused("explain a.png -m own.py:plain --tolerance 0.1",
        "here 200, aims at none: say --steps auto", E),
    "tolerance to compare": refused(f"{C} --tolerance 0.1", "here 4, aims at none", [C,
        f"{C.replace('4', 'auto')} --tolerance 0.1 --force"]),
    "tolerance to study": refused(f"{S} --steps 3 --tolerance 0.1", "aims at none: say --steps auto",
        f"{S} --steps auto --tolerance 0.1"),
    **{f"{option.split()[0]} on a line, {command.split()[0]}": refused(
        f"{command} --family linear {option}", f"{option.split()[0]} plays no part here.*Leave it out, or choose "
            f"another --family$",
        [f"{command} --family linear", f"{command} --family {other} {option} {force}"])
       for command, other, force in ((E, "svd", "--force"), (C, "linear,svd", "--force"), (V, "svd", ""), (B, "svd",
           ""))
       for option in ("--overlap 0.4", "--ordering energy", "--schedule cosine")
       if command != B or option == "--overlap 0.4"},
    "tolerance of jumps": refused(f"{B} --overlap 0 --tolerance 0.5",
        "not refined to one. Leave it out, or say an --overlap above 0$",
                                  [f"{B} --overlap 0", f"{B} --overlap 0.4 --tolerance 0.5"]),
    **{f"a study's {options.partition('--')[2]}": refused(f"{S} {options}", said, f"{S} {instead}") for options,
        said, instead in (
        ("--steps 3 --family linear --overlap 0.2", "another --family", "--steps 3 --family svd --overlap 0.2"),
        ("--steps 3 --method ig --schedule cosine", "another --family", "--steps 3 --family dct --schedule cosine"),
        ("--steps 3 --family dct --channels joint", "add that", "--steps 3 --family dct,svd --channels joint"),
        ("--steps 3 --method smoothgrad --baseline mean", "another --method", "--steps 3 --method ig --baseline mean"),
        ("--method smoothgrad --tolerance 0.1", "another --method", "--method ig --tolerance 0.1"),
        ("--method gradient-input --steps 3", "takes one gradient", "--method ig --steps 3"),
        ("--steps 3 --fill zero", "another --metric", "--steps 3 --fill zero --metric deletion"),
    )},
}  # fmt: skip


def no_work(patch):
    patch.setattr("pathattr.studies.work.Work.found", lambda *args: pytest.fail("worked before looking"))


STUDIES = {
    "data": Refused(f"{S} --data nothing --steps 3", "there is no data 'nothing': expected scenes, a folder",
        f"{S} --data pictures --steps 3", while_=no_work),
    "family": refused(f"{S} --family sdv", "Did you mean 'svd'", f"{S} --steps 3 --family svd"),
    "no family": refused(f"{S} --family ''", "comma-separated list; got ''", f"{S} --steps 3 --family svd,dct"),
    "no metric": refused(f"{S} --metric ''", "comma-separated list; got ''", f"{S} --steps 3 --metric sparseness"),
    "schedule": refused(f"{S} --schedule ramp", f"{NAMES} 'linear', 'cosine'", f"{S} --steps 3 --schedule cosine"),
    "ordering": refused(f"{S} --ordering size", f"{NAMES} 'energy', 'frequency'", f"{S} --steps 3 --ordering energy"),
    "method": refused(f"{S} --method sig2", "'gradient-input'", f"{S} --method gradient-input"),
    "overlap": refused(f"{S} --overlap 0.1:1", "ranges start:stop:step",
        f"{S} --steps 3 --family svd --overlap 0.1:1:0.9"),
    "overlap's range": refused(f"{S} --overlap 0:2:0.5", "between 0 and 1",
        f"{S} --steps 3 --family svd --overlap 0:1:1"),
    "metric": refused(f"{S} --metric difid", "Did you mean 'diffid'",
        f"{S} --steps 3 --family svd --metric diffid --fill zero"),
    "fill": refused(f"{S} --metric deletion --fill grey", "'mean', 'zero', 'blur'",
        f"{S} --steps 3 --family svd --metric deletion --fill zero"),
    "reference": Refused(f"{S} --steps 3 --reference nope", "no setting is called 'nope'; .*'svd'",
        f"{S} --steps 3 --reference svd", while_=no_work),
    "limit": Refused(f"{S} --steps 3 --limit 0", "at least 1; got 0", f"{S} --steps 3 --limit 1", while_=no_work),
    "infidelity": Refused(f"{S} --steps 3 --metric infidelity --method blur-ig,ig",
        r"blur-ig \(from Diffused\(.*in a study of their own",
                          f"{S} --steps 3 --metric infidelity --method ig", while_=no_work),
    "slopes": Refused(f"{S} --steps 3 --metric infidelity --method smoothgrad",
        r"smoothgrad \(slopes\).*in a study of their own",
                      f"{S} --steps 3 --metric sparseness --method smoothgrad", while_=no_work),
    "masks": Refused(f"{S} --steps 3 --metric iou",
        "2 of 2 examples have neither mask nor box, such as 0/b.png.*or leave the metric out", f"{S} --steps 3",
            while_=no_work),
    "of another origin": refused(f"{S} --steps 3 --out mine",
        "mine has files of another origin, table.csv: give another --out", f"{S} --steps 3 --out other"),
    "another study": Refused(f"{S} --steps 4", "holds another study.*Give another --out",
        [f"{S} --steps 4 --out other"], given=[f"{S} --steps 3"]),
    "some fail": Refused(
        SOME, r"failed: linear on 1/c\.png: .*1 of 2 explanations failed, as .*summary\.md says.*tries these again$",
        [lambda: replaced("own.py", "np.nan", "1"), SOME],
    ),
    "the model fails": Refused(f"{S.replace('plain', 'fails')} --steps 3",
        r"the model failed: ValueError: not me \(.*own\.py, line \d+, in fail\)", f"{S} --steps 3"),
    "the model ends": Refused(f"{S.replace('plain', 'ends')} --steps 3",
        r"ended the program, exit\(3\) \(.*own\.py, line \d+.*it must return its outputs", f"{S} --steps 3"),
}  # fmt: skip

FILES = {
    **{f"mine, {name}": refused(
        f"{TWO} --out mine {force}", rf"{name} is there and was not made by this command: give another --out, or move",
        [f"{TWO} --out other", lambda name=name: Path("mine", name).rename(name), f"{TWO} --out mine"],
        given=[lambda name=name: [path.unlink() for path in Path("mine").iterdir() if path.name != name]])
       for name, force in (("a.json", ""), ("a.npz", "--force"), ("a.map.png", ""), ("a.overlay.png", "--force"),
           ("b.json", ""))},
    "mine, a record": refused(f"{V} --out mine", "verify.json is there and was not made by this command",
        f"{V} --out other"),
    "a picture to be read": refused("explain a.map.png a.png -m own.py:plain --steps 4 --out . --force",
                                    "a.map.png would overwrite a picture that is to be read: give another --out",
                                    "explain a.map.png a.png -m own.py:plain --steps 4 --out other",
                                    given=[f"{E} --out ."]),
    "a link to one": refused("explain read.png a.png -m own.py:plain --steps 4 --out . --force",
        "a.map.png would overwrite a picture that is to be read",
                             "explain read.png a.png -m own.py:plain --steps 4 --out other",
                             given=[f"{E} --out .", lambda: os.link("a.map.png", "read.png")]),
    "another question": refused(f"{E} --family dct",
        r"answers another question \(family svd there, dct now\): give another --out, or --force",
                                [f"{E} --family dct --out other", f"{E} --family dct --force"], given=[E]),
    "a file for a folder": refused(f"{E} --out own.py/out",
        "cannot make the output folder own.py/out: Not a directory; choose another --out", f"{E} --out other"),
    "no permission": refused(f"{E} --out locked", "cannot write to the output folder locked: permission denied; "
        "choose another --out", f"{E} --out other",
                             while_=lambda patch: patch.setattr("os.access", lambda path, mode: str(path) != "locked")),
    "no folder for a study": refused(f"{S} --steps 3 --out own.py/out", "cannot make the output folder",
        f"{S} --steps 3 --out other"),
    "a long name": refused(f"explain {'x' * 245}.png -m own.py:plain --steps 4",
        "File name too long; give the picture a shorter name", E),
    "a pipe": Refused("explain pipe.png -m own.py:plain", "it is not a plain file", E,
        given=[lambda: os.mkfifo("pipe.png")]),
    "missing": Refused("explain nowhere.png -m own.py:plain",
        "expected a picture at nowhere.png; got: No such file.*check the path", E),
    "a folder": Refused("explain pictures/0 -m own.py:plain", r"name the pictures in it, such as pictures/0/\*\.png",
        "explain pictures/0/b.png -m own.py:plain --steps 4"),
    "no picture": Refused("compare own.py -m own.py:plain", "own.py is none: convert it to PNG", C),
    "some of several": Refused("explain nowhere.png a.png -m own.py:plain --steps 4",
        r"nowhere\.png: expected.*check the path.*1 of 2 pictures failed", E),
    "sizes": Refused(f"{V} --pictures large.png", r"of any size and these have several.*say --size to make them one",
        f"{V} --pictures large.png --size 8"),
}  # fmt: skip

MADE = {
    "training": Refused(f"verify -m {BROKEN}:training_mode --steps 2", "the model is in training mode",
        f"verify -m {BROKEN}:sound --steps 2"),
    "unknown": Refused("explain a.png -m scense", "unknown model 'scense'.*Did you mean 'scenes'",
        "explain a.png -m scenes --steps 2"),
    "nothing": Refused("explain a.png -m own.py:nothing", "returned nothing: end it with return model", E),
    "no file": Refused("explain a.png -m owm.py:plain", "there is no file owm.py", E),
    "no callable": Refused("explain a.png -m own.py:plane", "own.py has no callable 'plane'; it has .*plain", E),
    "a file alone": Refused("explain a.png -m own.py", "names a file alone: write own.py:NAME", E),
    "of another backend": Refused(f"{E} --backend torch",
        "torch backend takes modules and functions; got .*NumpyModel: pass one, or leave the backend out$", E),
    "channels": Refused("explain a.png -m own_jax.py:either --steps 2",
        "say --channel-axis 1 for first, or --channel-axis -1 for last",
        [f"explain a.png -m own_jax.py:either --steps 2 --force --channel-axis {axis}" for axis in (1, -1)]),
    "size": Refused("explain large.png -m own.py:bare --steps 4",
        r"ValueError: 8 it is \(.*own\.py, line.*9×9.*say --size or return ImageModel\(size",
                    ["explain large.png -m own.py:bare --steps 4 --size 8",
                    "explain large.png -m own.py:sized --steps 4 --force"]),
    "room": Refused(f"{E} --size 10000000", "GB are free: say a smaller --size", f"{E} --size 8"),
    "ends": Refused("explain a.png -m own.py:ends --steps 4",
        r"ended the program, exit\(3\) \(.*it must return its outputs", E),
    "memory": Refused("explain a.png -m own.py:fills --steps 4",
        "runs out of memory on a single point.*smaller inputs", f"{E} --size 4"),
    "broken": Refused(V.replace("plain", "broken").replace("3", "10"),
        r"broken does not pass: gradients are not those of the score, completeness.*; what to do is said above, or "
        r"in pathattr-out/verify\.json", V),
}  # fmt: skip


def replaced(name, old, new):
    path = Path(name)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def full(patch):
    class Full:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            pass

        def isatty(self):
            return False

        def fileno(self):
            raise ValueError("it is none of the system's")

    patch.setattr("sys.stdout", Full())


def without_typer(patch):
    patch.delitem(sys.modules, "pathattr.cli.app")
    patch.setitem(sys.modules, "typer", None)


def raising(error, where="pathattr.cli.work.rendering.overlay"):
    def fails(*args, **kwargs):
        raise error

    return lambda patch: patch.setattr(where, fails)


def out_of_memory(patch):
    raising(OSError("7 TiB"), "pathattr.methods.explainer.Question.prepared")(patch)
    patch.setattr("pathattr.models.numpy_backend.NumpyBackend.out_of_memory", lambda error: True)


AROUND = {
    "no typer": Refused("--version", r"needs typer, which is not installed: pip install 'pathattr\[cli\]'",
        "--version", while_=without_typer),
    "stdout": Refused(E, "cannot write to standard output: No space left on device; the files that were finished "
        "are kept. Send the output",
                      E, while_=full),
    "memory": Refused(E, r"not enough memory \(7 TiB\): take fewer --steps, a smaller --size, or --batch-size 1$",
                      [f"{E} --steps 2 --force", f"{E} --size 4 --force", f"{E} --batch-size 1 --force"],
                      while_=raising(MemoryError("7 TiB"))),
    "a model's memory": Refused(E, r"not enough memory \(OSError: 7 TiB\): take fewer", f"{E} --batch-size 1",
                                while_=out_of_memory),
    "the loader ends": Refused(E, r"code ended the program, exit\(3\): take that out, it must return$", E,
        while_=raising(SystemExit(3), "pathattr.cli.app.load_model")),
    "not foreseen": Refused(E, "ZeroDivisionError: surprise. This was not foreseen; with PATHATTR_TRACEBACK=1 the "
        "command shows where", E,
                            status=70, while_=raising(ZeroDivisionError("surprise"))),
}  # fmt: skip

TABLE = tabled({
    "options": OPTIONS, "classes": CLASSES, "options that mean nothing": MIXED, "studies": STUDIES, "files": FILES,
    "models": MADE, "around": AROUND,
})  # fmt: skip


TOLD = {}  # what refused commands ended with, by their names in the table


@pytest.mark.parametrize("name", TABLE)
def test_following_the_advice_of_a_refusal_works(name, tmp_path, capsys, monkeypatch):
    entry = TABLE[name]
    status, TOLD[name] = outcome(entry, tmp_path)
    said = capsys.readouterr().err.strip()
    assert (status, "Traceback" in said) == (entry.status, False), said
    assert re.search(entry.said, said, re.DOTALL), said
    if status == 1:
        assert all(line.startswith(("error: ", "failed: ")) for line in said.splitlines()), said
    fresh(monkeypatch, tmp_path)
    for step in [entry.follows] if isinstance(entry.follows, str) else entry.follows:
        done(step)


def again(error):
    raise error


def refusals(factory):
    for name in TABLE.keys() - TOLD.keys():
        _, TOLD[name] = outcome(TABLE[name], factory.mktemp("case"))
    return [
        Refusal(partial(again, error), "", again)
        for told in TOLD.values()
        for error in told
        if isinstance(error, Exception)
    ]


test_every_refusal_of_a_module_is_in_the_table = completeness(refusals, [cli, *modules_of(cli)], ["MemoryError"])
