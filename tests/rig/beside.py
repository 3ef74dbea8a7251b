"""Runs the tests of a folder in processes beside each other: `python -m tests.rig.beside 2 FOLDER`.

For tests of a few milliseconds: pytest-xdist tells its workers of each test and is told how each
part of it went, which costs as much as some of these tests. Here a process is told its files, once.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main() -> int:
    """Return 0 if all processes did."""
    files = sorted(Path(sys.argv[2]).glob("test_*.py"))
    count = min(int(sys.argv[1]), len(files))
    with ThreadPoolExecutor(count) as pool:
        done = list(pool.map(run, [files[number::count] for number in range(count)]))
    for one in done:
        sys.stdout.buffer.write(one.stdout)
    return int(any(one.returncode for one in done))


def run(files: list[Path]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
