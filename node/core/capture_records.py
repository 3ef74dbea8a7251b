"""The form of what a capture process writes; `capture_child.py` describes it.

That program imports this for every microphone: it holds no more than both sides must share.
"""

import struct

HEADER = struct.Struct("<4sId")
"""Tag, bytes of payload, seconds of CLOCK_MONOTONIC: what stands before each record."""

SAMPLE_BYTES = 2
"""Of 16-bit PCM."""
