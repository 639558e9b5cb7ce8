"""The command line: parse, dispatch, progress. No numerics, and no bare traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings

from pathattr.cli.terminal import open_streams, unheard, warn_in_a_line

LOST = ("EPIPE", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "EBADF")  # what a stream that takes no more says


def main() -> None:
    """Run the `pathattr` command: the process is its own, and is set up for it."""
    open_streams()
    warnings.showwarning = warn_in_a_line
    # Figures are drawn without a window: the name of one that does not exist here must not matter.
    os.environ["MPLBACKEND"] = "agg"
    # TensorFlow logs on stderr which processor it found, and what it could not load.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit status; failures are sentences on stderr."""
    from pathattr.cli.failures import report
    from pathattr.errors import MissingExtra

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks an arrow must not cost what comes after it
    try:
        try:
            from pathattr.cli.app import invoke
        except ImportError as error:
            raise MissingExtra.of(error.name or "typer", "cli", "the command line") from error
        status = invoke(arguments)
        sys.stdout.flush()
        return status
    except OSError as error:  # from what prints itself, such as --help
        lost = error.filename is None and errno.errorcode.get(error.errno or 0) in LOST
        return report(unheard(error) if lost else error)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        return report(error)
