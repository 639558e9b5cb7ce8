"""The page of what `pathattr verify` found, from the records that it wrote.

python tests/verified_table.py 'TITLE=verify.json' ... > docs/verified.md
"""

import json
import sys
from pathlib import Path

from axiom_table import number

DESCRIPTION = """\
# Verified: what `pathattr verify` found

Residuals are relative, of the worst example; what tolerances mean and how to read a verdict is told in
[verify your model](verify-your-model.md). Written from the records of the runs by `tests/verified_table.py`."""


def command(record):
    """Return the command that made a record, with the files' names alone."""
    file, colon, name = record["model"].rpartition(":")
    pictures = record["pictures"] if isinstance(record["pictures"], list) else []
    shown = "".join(f" --pictures {Path(picture).name}" for picture in pictures)
    return f"`pathattr verify --model {Path(file).name}{colon}{name}{shown}`"


def settings(record):
    """Return the settings line."""
    made = record["settings"]
    pictures = "generated scenes" if isinstance(record["pictures"], str) else "pictures"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"{record['examples']} {pictures}; "
        f"{made['explainer'].removeprefix('PathExplainer(').removesuffix(')')}; output "
        f"{made['output']}, seed {made['seed']}, nudge {made['nudge']:g}; {versions}."
    )


def section(title, record):
    yield f"\n## {title}\n"
    yield f"{command(record)}, {'passed' if record['passed'] else '**did not pass**'}."
    for found in record["diagnoses"]:
        yield f"\n- **{found['name']}**: {found['seen']}"
    if record["axioms"]:
        yield f"\n{settings(record)}\n\n| axiom | promised | residual | tolerance | verdict |\n|---|---|---|---|---|"
    for row in record["axioms"]:
        sizes = ["" if row[name] is None else number(row[name]) for name in ("residual", "tolerance")]
        yield f"| {' | '.join([row['axiom'], row['promise'], *sizes, row['verdict']])} |"


def page(arguments):
    yield DESCRIPTION
    for argument in arguments:
        title, _, file = argument.rpartition("=")
        yield from section(title, json.loads(Path(file).read_text(encoding="utf-8")))


if __name__ == "__main__":
    if not all("=" in argument for argument in sys.argv[1:]) or len(sys.argv) < 2:
        sys.exit(__doc__)
    print("\n".join(page(sys.argv[1:])))
