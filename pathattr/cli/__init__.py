"""The command line: parse, dispatch, progress. No numerics, and no bare traceback."""

from __future__ import annotations

import io
import os
import sys
import traceback


def main() -> None:
    """Run the `pathattr` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit status; failures are sentences on stderr."""
    from pathattr.errors import MissingExtra, PathattrError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks an arrow must not cost what comes after it
    try:
        try:
            from pathattr.cli.app import invoke
        except ImportError as error:
            raise MissingExtra.of(error.name or "typer", "cli", "the command line") from error
        return invoke(arguments)
    except PathattrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: files that were finished stay, none is half-written", file=sys.stderr)
        return 130
    except Exception as error:  # ours to mend: say so without a page of traceback
        if os.environ.get("PATHATTR_TRACEBACK"):
            traceback.print_exc()
        print(
            f"error: {type(error).__name__}: {error}. This was not foreseen; with PATHATTR_TRACEBACK=1 the command "
            "shows where it happened",
            file=sys.stderr,
        )
        return 70
