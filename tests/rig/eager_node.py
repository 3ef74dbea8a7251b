"""The node with short waits: `python -m tests.rig.eager_node run`.

It soon tries again to connect to the broker and to load its model.
"""

from __future__ import annotations

import sys

from node.adapters import broker
from node.cli import main
from node.service.transcribing import transcriber

RECONNECT_MIN_S, RECONNECT_MAX_S = 0.2, 2.0
MODEL_RETRY_S = 0.2

if __name__ == "__main__":
    broker.RECONNECT_MIN_S, broker.RECONNECT_MAX_S = RECONNECT_MIN_S, RECONNECT_MAX_S
    transcriber.MODEL_RETRY_S = MODEL_RETRY_S
    sys.exit(main())
