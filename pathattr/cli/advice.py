"""What errors and warnings of the package advise, in the words of the command line."""

from __future__ import annotations

import ast
import re
import shlex

OPTIONS = (
    "family", "ordering", "schedule", "steps", "tolerance", "nodes", "rule", "baseline", "target", "output",
    "class_axis", "head", "batch_size", "seed", "backend",
)  # fmt: skip

# head='aux', class_axis=2, head= alone; not what stands in a call, such as SVD(channels='joint').
_SAID = re.compile(
    rf"(?<!\w\()\b({'|'.join(OPTIONS)})="
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|(?=\s|$))"""
)
_PHRASES = [
    (re.compile(r" \((?:rule|nodes|tolerance|head|class_axis|backend)=None\)"), ""),  # it says "leave it out" already
    (re.compile(r"\btarget=\(\.\.\.\)"), "--target i,j"),
    (re.compile(r"\. For a whole example pass the array itself as baseline="), ""),
    (re.compile(r", or pass output= a function of all of them"), ""),
    (re.compile(r"\bpreprocessing=(Preprocessing\([^)]*\))"), r"ImageModel(model, preprocessing=\1)"),
]
_PYTHONS = {
    "link='": "link= is said in Python; here --output raw explains what the model returns as it is, so let it return "
    "what is meant",
    "input_name=": "input_name= is said in Python; here wrap the model in a function of the pictures alone",
}


def in_options(text: str) -> str:
    """Return a text with what it advises as options: `head='aux'` as `--head aux`.

    What the command line has no option for is told, with what to do instead.
    """
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    told = _SAID.sub(lambda found: f"--{found[1].replace('_', '-')}{_word(found[2])}", text)
    return "; ".join([told, *(instead for name, instead in _PYTHONS.items() if name in text)])


def _word(value: str) -> str:
    return f" {shlex.quote(str(ast.literal_eval(value)))}" if value else ""
