"""What the kernel knows of the wall clock's error, from the NTP client that sets it."""

from __future__ import annotations

import ctypes
import logging
import os

from node.core.clocks import ClockState

log = logging.getLogger(__name__)

STA_UNSYNC = 0x40

RESERVE = 512
"""Bytes behind the fields that are read: more than any later version of the structure has."""


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`, see adjtimex(2). `modes` 0 changes nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # microseconds
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * RESERVE),
    )


def read_clock() -> ClockState | None:
    """Return the state of the wall clock; None if this process may not read it.

    Reading needs no rights, but some sandboxes forbid the system call.
    """
    state = _Timex()
    # Python has no call of its own for it.
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state)) < 0:
        log.info(
            "the error of the clock cannot be read (%s): merged transcripts will not say how well"
            " the clocks of the nodes agree",
            os.strerror(ctypes.get_errno()),
        )
        return None
    return ClockState(not state.status & STA_UNSYNC, state.maxerror / 1000)
