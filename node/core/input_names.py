"""Which of the inputs that PortAudio lists a name of the configuration means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def fitting(wanted: str, names: Sequence[str]) -> list[int]:
    """Positions in `names` of what `wanted` means; the name is good where it is just one.

    A name in full goes before any part of one; in a part, upper and lower case are the same.
    """
    if wanted in names:
        return [names.index(wanted)]
    part = wanted.casefold()
    return [position for position, name in enumerate(names) if part in name.casefold()]
