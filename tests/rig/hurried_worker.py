"""The worker that soon asks again for what the broker refuses: `python -m tests.rig.hurried_worker`."""

from __future__ import annotations

import sys

from node.cli import main
from node.service import subscriptions

AGAIN_S = 0.5

if __name__ == "__main__":
    subscriptions.FIRST_AGAIN_S = AGAIN_S
    sys.exit(main())
