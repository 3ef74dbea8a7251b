"""Tests on the real programs, which `make test-clients` installs; left out of other runs."""

from __future__ import annotations

import os

if "CLIENTS" not in os.environ:
    collect_ignore_glob = ["test_*"]
