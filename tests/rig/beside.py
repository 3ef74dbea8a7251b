"""Runs the tests of a folder in processes beside each other: `python -m tests.rig.beside 2 FOLDER`.

For tests of a few milliseconds: pytest-xdist tells its workers of each test and is told how each
part of it went, which costs as much as some of these tests. Here a process is told its files, once.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Return the worst of the statuses."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    files = sorted(folder.glob("test_*.py"))
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *files[number::count]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(count)
    ]
    for one in running:
        said, _ = one.communicate()
        sys.stdout.buffer.write(said)
        sys.stdout.flush()
    return max(one.returncode for one in running)


if __name__ == "__main__":
    sys.exit(main())
