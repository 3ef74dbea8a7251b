"""What can go wrong, named by whose fault it is.

NodeError
├── ConfigError    the operator: the configuration is wrong (exit status 78)
├── RequestError   the remote peer: its request is refused, the service goes on
├── MicError       the hardware: that microphone alone is out
├── ModelError     the installation: no speech model can be loaded
├── StoreError     the disk: nothing can be kept on it; what was to be done is tried again
└── DamageError    the disk: its database is damaged; the next start sets that aside

Anything else that is raised is a bug: it is logged and ends the process with status 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h; the systemd unit does not restart on it


class NodeError(Exception):
    """Base of every error this package raises on purpose; its text is for people."""


class ConfigError(NodeError):
    """The configuration is wrong; `problems` holds one line for each thing to mend."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RequestError(NodeError):
    """A request is refused; `code` is one of the codes of the MQTT interface."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class MicError(NodeError):
    """A microphone cannot be opened or has stopped delivering."""


class ModelError(NodeError):
    """No speech model can be loaded from where the configuration points."""


class StoreError(NodeError):
    """The storage folder or its database cannot be read or written."""


class DamageError(NodeError):
    """The database's content makes no sense: no other attempt will do better."""
