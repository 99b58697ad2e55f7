"""What the pytest plugin costs a suite: machine instructions, as a multiple of those without it.

Run it as ``python -m benchmarks.plugin``; it needs valgrind, and takes some minutes. The suite is
that of ``tests/xdist_suite``, in one process, on SQLite, start-up and all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SUITE: Final = Path(__file__).parent.parent / "tests" / "xdist_suite"

#: What is asked of the plugin; without the first it does nothing.
ASKED: Final = ((), ("--reuse-report",), ("--reuse-report", "--reuse-leaks"))


def main() -> int:
    """Count, and print a line for each way to ask."""
    if shutil.which("valgrind") is None:
        print("SKIPPED: it takes valgrind to count, and there is none here.", file=sys.stderr)
        return 77  # what test runners take for "skipped"
    without = instructions(ASKED[0])
    for options in ASKED[1:]:
        print(
            f"{' '.join(options):<32}{instructions(options) / without:.3f} of the suite without it"
        )
    return 0


def instructions(options: tuple[str, ...]) -> int:
    """Return how many instructions the suite takes with these options."""
    with tempfile.TemporaryDirectory() as directory:
        counter = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out"]
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p"]
        where = ["no:randomly", "-c", os.devnull, "--rootdir", SUITE, "suite_shop.py"]
        url = f"sqlite:///{directory}/shop.db"
        done = subprocess.run(
            [*counter, *pytest, *where, *options],
            cwd=SUITE,
            env={**os.environ, "PYTHONHASHSEED": "0", "SHOP_DATABASE": url},
            capture_output=True,
            text=True,
            check=False,
        )
    if " 48 passed" not in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    # Workers and forks of the suite would each have a line of their own.
    (count,) = re.findall(r"Collected : (\d+)", done.stderr)
    return int(count)


if __name__ == "__main__":
    sys.exit(main())
