"""One microphone's path through the room: placed sound becomes frames, frames become utterances."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from node.core.model import TICK
from node.core.room.endpointing import Audio, Ended, Endpointer, Endpointing, Event
from node.core.room.masking import turned_down

if TYPE_CHECKING:
    from node.core.room.endpointing import Samples
    from node.core.room.hearing import Floats

SILENCE_DBFS = -100.0
"""Level of a microphone that has delivered nothing but zeros."""


class VoiceDetector(Protocol):
    """Speech probabilities of a microphone's consecutive frames: (n, 512) samples give (n,)."""

    def __call__(self, frames: Samples) -> Floats: ...

    def reset(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """512 samples, the tick they fill, and the probability (0-1) that they are speech."""

    tick: int
    samples: Samples
    voice: float


class MicPath:
    """Cuts placed sound into frames, and judged frames into utterances.

    Frames lie on the grid of ticks. Where sound begins within a tick, zeros fill it up; the
    utterance made of it still begins where the sound began.
    """

    def __init__(self, detector: VoiceDetector, endpointing: Endpointing, position: int) -> None:
        self._detector = detector
        self._endpointing = endpointing
        self._endpointer = Endpointer(endpointing)
        self._power = 0.0
        self._measured = 0
        self.frames: deque[Frame] = deque()
        self.position = self._origin = position
        self._unframed: Samples = np.zeros(position % TICK, np.int16)
        self._start(position)

    @property
    def next_tick(self) -> int:
        """Tick of the frame that is being filled."""
        return self._next

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, or may be about to: in frames judged, or waiting to be."""
        least = self._endpointing.start_threshold
        return self._endpointer.triggered or any(frame.voice >= least for frame in self.frames)

    @property
    def settled(self) -> int:
        """How many of the oldest frames end what is running, as none of them is speech; else 0."""
        left = self._endpointer.quiet_left
        if not left or len(self.frames) < left:
            return 0
        waiting = itertools.islice(self.frames, left)
        silent = sum(frame.voice < self._endpointing.stop_threshold for frame in waiting)
        return left if silent == left else 0

    def take(self, samples: Samples) -> list[Frame]:
        """Append int16 samples at 16 kHz; returns the frames they fill, also added to `frames`."""
        self.position += len(samples)
        sound = np.concatenate([self._unframed, samples])
        whole = len(sound) // TICK * TICK
        self._unframed = sound[whole:]
        filled = self._filled(sound[:whole].reshape(-1, TICK)) if whole else []
        self.frames.extend(filled)
        return filled

    def fill_up(self) -> list[Frame]:
        """Fill up the last frame with silence."""
        pad = -self.position % TICK
        if not pad or not len(self._unframed):
            return []
        end = self.position
        filled = self.take(np.zeros(pad, np.int16))
        self.position = end
        return filled

    def judge(self, *, foreign: bool = False) -> list[Event]:
        """Send the oldest frame to endpointing; one that is another's is not speech, and faint."""
        frame = self.frames.popleft()
        if foreign:
            heard = self._endpointer.feed(turned_down(frame.samples), 0.0, foreign=True)
        else:
            heard = self._endpointer.feed(frame.samples, frame.voice)
        return self._placed(heard)

    def flush(self) -> list[Event]:
        """End what is open. Every frame must have been judged, the last one included."""
        events = self._placed(self._endpointer.flush())
        self._start(self.position)
        return events

    def jump(self, position: int) -> None:
        """Go on elsewhere, as if nothing had been heard before."""
        self._detector.reset()
        self._start(position)

    def level_dbfs(self) -> float:
        """RMS level since the last call, in dB below full scale."""
        mean = self._power / self._measured if self._measured else 0.0
        self._power, self._measured = 0.0, 0
        return round(10 * float(np.log10(mean)), 1) if mean > 0 else SILENCE_DBFS

    def _start(self, position: int) -> None:
        self.position = self._origin = position
        self._unframed = np.zeros(position % TICK, np.int16)
        self._next = position // TICK
        self._endpointer.jump(self._next * TICK)
        self._surplus = 0

    def _filled(self, sound: Samples) -> list[Frame]:
        """The frames of sound of shape (n, 512)."""
        wide = sound.ravel().astype(np.float32)
        self._power += float(np.dot(wide, wide)) / 32768**2
        self._measured += len(wide)
        first, self._next = self._next, self._next + len(sound)
        voices = self._detector(sound).tolist()
        return [Frame(first + n, sound[n], voice) for n, voice in enumerate(voices)]

    def _placed(self, events: list[Event]) -> list[Event]:
        """Events without the zeros before the first sample and after the last.

        What an event announces in `more` excludes frames that already wait to be judged.
        """
        return [self._place(event) for event in events]

    def _place(self, event: Event) -> Event:
        if isinstance(event, Ended):
            return replace(event, end=min(event.end, self.position))
        if isinstance(event, Audio):
            surplus, self._surplus = self._surplus, 0
            # Frames that wait have been heard: silence in them ends the utterance at once.
            more = max(0, event.more - len(self.frames) * TICK)
            return replace(event, samples=event.samples[surplus:], more=more)
        self._surplus = max(0, self._origin - event.start)
        return replace(event, start=event.start + self._surplus)
