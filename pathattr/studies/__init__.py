"""Ablation studies: settings judged on the same examples, resumable, with honest statistics."""

from pathattr.studies.collect import collected
from pathattr.studies.data import Arrays, Batch, Data, Pictures
from pathattr.studies.grid import Combined, Grid, combined
from pathattr.studies.report import write_report
from pathattr.studies.setting import Setting
from pathattr.studies.study import Study
from pathattr.studies.summary import Summary, summarised
from pathattr.studies.table import Table

__all__ = [
    "Arrays",
    "Batch",
    "Combined",
    "Data",
    "Grid",
    "Pictures",
    "Setting",
    "Study",
    "Summary",
    "Table",
    "collected",
    "combined",
    "summarised",
    "write_report",
]
