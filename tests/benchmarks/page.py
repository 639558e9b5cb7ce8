"""The page of docs that shows what `peers.py` measured."""

import statistics

from common import spread, table

MIB = 2**20

HEAD = """# Beside its peers

Integrated Gradients of one network from the same weights, on the same pictures, along the straight line from black to
the picture, of the predicted class's probability. pathattr's SVD path is there for reference.

- Seconds per image: the median of the repeats, lowest and highest in brackets. Each method runs in a process of its
  own; the timed calls take turns. Bare gradients are as many gradients in the same blocks and nothing else. The first
  call includes tracing.
- Memory: the most that the first call adds to a process that has model and pictures, and has taken one gradient.
- Points that the model saw and gradients that were taken, per image, are counted inside the model.
- Error: relative L2 distance of the attributions from a dense reference in float64 on the same line. The path of SVD
  has an integral of its own. Gap: |ΣA − (F(x) − F(x'))| over |F(x) − F(x')|, F in float64. Medians over the batch.
"""


def page(found):
    """Return the page: how it was measured, one table a network, one table for what grows."""
    facts = found["machine"]
    packages = ", ".join(f"{name} {number or '(not installed)'}" for name, number in facts["packages"].items())
    lines = [
        HEAD,
        f"{facts['processor']}, {facts['cores']} cores; threads: {found['threads']}; device: {found['device']}.",
        f"Python {facts['python']}, {packages}.",
    ]
    if facts["load"]:
        lines.append(f"Load of the machine before {facts['load'][0]:.1f}, after {found['load_after'][0]:.1f}.")
    lines += ["", f"Measured and written by `{found['command']}`."]
    for result in found["main"]:
        lines += ["", f"## {result['title']}", "", *main_table(result)]
    for name, results in found["growth"].items():
        if results:
            lines += ["", f"## Growing {name}, from {results[0]['title']}", "", *growth_table(name, results)]
    return "\n".join(lines) + "\n"


def main_table(result):
    """Return the lines of one setting: a table, and what its errors were measured against."""
    floors = {
        record["framework"]: statistics.median(record["seconds"])
        for record in result["methods"]
        if record["method"].startswith("gradients-") and record["seconds"]
    }
    rows = []
    for record in result["methods"]:
        cells = [record["status"], *["–"] * 7]
        if record["status"] == "measured":
            floor = floors.get(record["framework"])
            cells = [
                spread(record["seconds"], ".3f"),
                f"{statistics.median(record['seconds']) / floor:.2f}" if floor else "–",
                f"{record['first']:.2f}",
                f"{record['added_bytes'] / MIB:.0f}",
                f"{record['forwards']:.4g}",
                f"{record['gradients']:.4g}",
                _percent(record.get("error")),
                _percent(record.get("gap")),
            ]
        rows.append([record["label"], record["framework"], *cells])
    measures = ("seconds per image", "over bare", "first call", "MiB added", "points", "gradients", "error", "gap")
    note = (
        f"Reference: {result['setting']['nodes']} midpoints; to use every third of them alone would change it by "
        f"{_percent(result['reference_changes'])}."
    )
    return [*table(("method", "framework", *measures), rows), "", note]


def growth_table(name, results):
    """Return the lines of a table of what grows with steps, size or batch."""
    values = [result["setting"][name] for result in results]
    columns = {
        "seconds": lambda record: f"{statistics.median(record['seconds']):.3g}",
        "MiB": lambda record: f"{record['added_bytes'] / MIB:.0f}",
    }
    if results[0]["setting"]["nodes"]:
        columns["error"] = lambda record: _percent(record.get("error"))
    rows = []
    for records in zip(*(result["methods"] for result in results), strict=True):
        cells = [form(r) if r["status"] == "measured" else "–" for form in columns.values() for r in records]
        reason = next((r["status"] for r in records if r["status"] != "measured"), "")
        rows.append([records[0]["label"], records[0]["framework"], *cells, reason])
    head = ["method", "framework", *(f"{column}, {name} {value}" for column in columns for value in values)]
    if any(row[-1] for row in rows):
        return table([*head, "not measured"], rows)
    return table(head, [row[:-1] for row in rows])


def _percent(values):
    if not values or None in values:
        return "–"
    middle = 100 * statistics.median(values)
    return f"{middle:.0f}%" if middle >= 10 else f"{middle:.2g}%"
