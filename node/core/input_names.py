"""Which of the inputs that PortAudio lists a name in the configuration means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def fitting(wanted: str, names: Sequence[str]) -> list[int]:
    """Positions in `names` of what `wanted` means; a good name has exactly one.

    A full name comes before any part of one. Upper and lower case are the same in a part.
    """
    if wanted in names:
        return [names.index(wanted)]
    part = wanted.casefold()
    return [position for position, name in enumerate(names) if part in name.casefold()]
