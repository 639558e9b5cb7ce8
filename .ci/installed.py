"""Check that the installed package holds every file of the source's packages and nothing else, and can be entered.

python .ci/installed.py SOURCE, from another folder.
"""

import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

SOURCE = Path(sys.argv[1]).resolve()

listed = subprocess.run(
    ["git", "ls-files", "pathattr", "pytest_pathattr", "backends"],
    cwd=SOURCE,
    capture_output=True,
    text=True,
    check=True,
)
expected = {name.removeprefix("backends/") for name in listed.stdout.splitlines()}
installed = distribution("pathattr")
packages = {Path(name).parts[0] for name in expected}
files = {file.as_posix(): Path(str(file.locate())).resolve() for file in installed.files if file.parts[0] in packages}
files = {name: path for name, path in files.items() if "__pycache__" not in name}
if differing := files.keys() ^ expected:
    raise SystemExit(f"in the source or in the installed package only: {', '.join(sorted(differing))}")
# The environment itself may lie in the source's folder.
site = Path(sysconfig.get_path("purelib")).resolve()
if elsewhere := [name for name, path in files.items() if not path.is_file() or site not in path.parents]:
    raise SystemExit(f"not in {site}: {', '.join(elsewhere)}")
for point in installed.entry_points:
    point.load()
print(f"{len(files)} files and {len(installed.entry_points)} entry points of {installed.name} are installed")
