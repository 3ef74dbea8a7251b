"""Tests with the real programs, which `make test-clients` installs; other runs skip them."""

from __future__ import annotations

import os

if "CLIENTS" not in os.environ:
    collect_ignore_glob = ["test_*"]
