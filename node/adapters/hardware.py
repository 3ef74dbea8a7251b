"""What tells this machine from every other, for ids that outlive a change of names."""

from __future__ import annotations

import hashlib
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")

SALT = b"scribe-node:"
"""machine-id(5): the id is confidential; what is published is a hash of it, keyed by its use."""

HEX_DIGITS = 12


def hardware_id(sys_root: Path) -> str | None:
    """12 hexadecimal digits that stay with this machine; None where nothing identifies it.

    A Raspberry Pi's serial number stays also when its card is written anew, and differs where
    cards are copied; the id of the installed system serves elsewhere.
    """
    for file in (sys_root / "firmware/devicetree/base/serial-number", MACHINE_ID):
        try:
            identity = file.read_bytes().strip(b"\0\n ")
        except OSError:  # no Raspberry Pi; a container without an id of its own
            continue
        if identity:
            return digest(identity)
    return None


def digest(identity: bytes) -> str:
    return hashlib.sha256(SALT + identity).hexdigest()[:HEX_DIGITS]
