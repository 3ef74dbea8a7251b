"""The workers that a node knows of, by what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.core.work.messages import WorkError, WorkerStatus, decode_status

if TYPE_CHECKING:
    from node.core.work.messages import ModelId

FLICKER = 1.25
"""Factor by which a worker's real-time factor must change for nodes to be told: deadlines are four
times as long as it says."""

MAX_WORKERS = 256
"""Most workers remembered; others are ignored."""


class Fleet:
    """Which workers are online and of use for this model. A pure record; nothing is sent."""

    def __init__(self, model: ModelId) -> None:
        self._model = model
        self._online: dict[str, WorkerStatus] = {}
        self._told: set[str] = set()

    def saw(self, worker: str, payload: bytes) -> None:
        """Take in a status as published; an empty or unreadable one removes the worker."""
        status = _status(payload)
        if status is not None and status.worker == worker and status.state == "online":
            if worker in self._online or len(self._online) < MAX_WORKERS:
                self._online[worker] = status
        else:
            self._online.pop(worker, None)

    def clear(self) -> None:
        """Forget all: a new connection gets all statuses again."""
        self._online.clear()

    @property
    def useful(self) -> list[WorkerStatus]:
        """Workers that are online with this very model."""
        return [status for status in self._online.values() if self._problem(status) is None]

    @property
    def slots(self) -> int:
        """How many requests the useful workers take at a time, all together."""
        return sum(status.slots for status in self.useful)

    @property
    def rtf(self) -> float | None:
        """Real-time factor of the slowest useful worker that states one."""
        known = [status.rtf for status in self.useful if status.rtf is not None]
        return max(known, default=None)

    def news(self) -> list[str]:
        """Return what is wrong with workers that have this model's name, once for each worker.

        At most `MAX_WORKERS` are spoken of: anybody can publish statuses.
        """
        found = []
        for worker, status in self._online.items():
            problem = self._problem(status)
            if worker in self._told or len(self._told) == MAX_WORKERS:
                continue
            if problem and self._has_its_name(status):
                self._told.add(worker)
                found.append(f"the worker {worker} is of no use: {problem}")
        return found

    def _has_its_name(self, status: WorkerStatus) -> bool:
        return status.model is not None and status.model.name == self._model.name

    def _problem(self, status: WorkerStatus) -> str | None:
        return mismatch(self._model, status.model)


def matters(said: WorkerStatus, now: WorkerStatus) -> bool:
    """Return whether nodes go by what has changed since a worker said something of itself."""
    if (said.state, said.model, said.slots) != (now.state, now.model, now.slots):
        return True
    if said.rtf is None or now.rtf is None:
        return said.rtf is not now.rtf
    low, high = sorted((said.rtf, now.rtf))
    return high > FLICKER * low


def _status(payload: bytes) -> WorkerStatus | None:
    try:
        return decode_status(payload)
    except WorkError:
        return None


def mismatch(wanted: ModelId, there: ModelId | None) -> str | None:
    """Return why a model is not the wanted one; None if it is, as far as both are known."""
    if there is None or there.name != wanted.name:
        return f"its model is {there.name if there else 'unknown'}, not {wanted.name}"
    if wanted.sha256 and there.sha256 and wanted.sha256 != there.sha256:
        return (
            f"its {there.name} has other weights (SHA-256 {there.sha256[:12]}…, not"
            f" {wanted.sha256[:12]}…): give node and worker the same files"
        )
    return None
