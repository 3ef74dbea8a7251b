"""What distinguishes this machine from others, for ids that outlive a change of names."""

from __future__ import annotations

import hashlib
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")

SALT = b"scribe-node:"
"""machine-id(5): the id is confidential, so only a hash of it, keyed by its use, is published."""

HEX_DIGITS = 12


def hardware_id(sys_root: Path) -> str | None:
    """Return 12 hexadecimal digits that stay with this machine; None if nothing identifies it.

    A Raspberry Pi has a serial number, which stays when its card is rewritten and differs when the
    card is copied; other machines go by the id of the installed system.
    """
    for file in (sys_root / "firmware/devicetree/base/serial-number", MACHINE_ID):
        try:
            identity = file.read_bytes().strip(b"\0\n ")
        except OSError:  # not a Raspberry Pi, or a container without an id
            continue
        if identity:
            return digest(identity)
    return None


def digest(identity: bytes) -> str:
    return hashlib.sha256(SALT + identity).hexdigest()[:HEX_DIGITS]
