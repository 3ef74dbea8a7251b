"""`python -m node`."""

# Older Pythons must be able to read this far: they are told what is needed, not what they miss.
import sys

OLDEST, NEWEST = (3, 11), (3, 13)
"""The same as in pyproject.toml and systemd/install.sh: what the lock files have wheels for."""

if not OLDEST <= sys.version_info[:2] <= NEWEST:
    serving = f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    this = f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    sys.exit(
        f"Scribe Node runs on {serving}, and this is {this}; give one of them, for example"
        " `make run PYTHON=python3.11`"
    )

from node.cli import main  # noqa: E402 -- only a Python that can read it

sys.exit(main())
