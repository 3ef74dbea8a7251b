"""`python -m node`."""

# Older Pythons must be able to parse this file, to say which Python is needed.
import sys

OLDEST, NEWEST = (3, 11), (3, 13)
"""The versions the lock files have wheels for, as in pyproject.toml and systemd/install.sh."""

if not OLDEST <= sys.version_info[:2] <= NEWEST:
    needed = f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    this = f"Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    sys.exit(
        f"Scribe Node runs on {needed}, and this is {this}; use one of those, for example"
        " `make run PYTHON=python3.11`"
    )

from node.cli import main  # noqa: E402 -- only for a Python that can parse it

sys.exit(main())
