"""The errors for users that several modules raise, by whose fault they are.

NodeError
├── ConfigError    the operator: the configuration is wrong (exit status 78)
├── RequestError   the remote peer: its request is refused, the service continues
├── MicError       the hardware: only that microphone fails
├── ModelError     the installation: no speech model can be loaded
│   └── HubError   the network: the model hub does not deliver it
├── StoreError     the disk: it cannot be read or written; the operation is tried again
└── DamageError    the disk: a file's content is damaged; it is set aside (a database: at a start)

Some modules add their own beside what raises them. Any other exception is a bug: it is logged and
ends the process with status 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h; the systemd unit does not restart on it


class NodeError(Exception):
    """Base class of the errors whose message is for users."""


class ConfigError(NodeError):
    """The configuration is wrong; `problems` has one line for each thing to fix."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class RequestError(NodeError):
    """A request is refused; `code` is an error code of the MQTT interface."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class MicError(NodeError):
    """A microphone cannot be opened, or no longer delivers sound."""


class ModelError(NodeError):
    """The configured speech model cannot be loaded."""


class HubError(ModelError):
    """The model is not on this machine, and the hub does not deliver it, for this `reason`."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(NodeError):
    """The storage folder or its database cannot be read or written."""


class DamageError(NodeError):
    """The content of a file, such as the database, is damaged: trying again will not help."""
