"""Endpointing: from frames and their speech probabilities to utterances.

Every sample of speech ends up in exactly one utterance. A microphone's utterances never overlap,
and where a long one is split, the second begins at the sample where the first ends.

Thresholds and durations follow Silero's own defaults (start 0.5, stop 0.35) and the practice of
voice assistants (0.3 s before the first speech frame is kept, as the detector answers a little
late). An utterance ends after 1 s of silence: people pause for longer than the 0.6 s of assistants,
and what is cut there is understood less well (four simulated meetings of readers without bleed, 640
words: 23 % wrong, after 1 s 18 %). An utterance stays below Whisper's window of 30 s.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE, TICK

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]

TAIL_MS = 300
"""Sound kept after the last speech frame: final consonants fade below the detector's threshold."""

DETECTOR_LATE_MS = 36
"""How long the detector still hears speech that is over: medians of 34 to 43 ms over 30 sentences,
from no noise to noise 25 dB below the speech. It is part of the pause that ends an utterance."""

ONSET_MS = 1000
ONSET_OVER_QUIETEST = 10.0
"""Sound before the first speech frame that is examined, and the power over its quietest frame (10
dB), as a factor, down to which it belongs to the speech. In a room with echo the detector may
answer half a second late ("Allume la chambre" lost its first word)."""

DIP_FRAMES = 2
"""Quieter frames (64 ms) that may lie between two louder ones of an onset, as in a plosive."""

MOST_EVIDENCE = 2.0
"""For how many frames of speech one counts at most, towards the speech that makes an utterance: for
its probability over the start threshold. If each counts once, "two" and "six" are too short: of 180
spoken digits at -30 dBFS over a fan 16 were missed, so 2 are. Of 121 coughs, 76 instead of 71 are
heard, and no more become words (Jakobovski's digits, the first three of each; Virufy's coughs)."""

PAUSE_MS = 100
"""Shortest pause at which long speech may be split: shorter ones lie inside words."""


@dataclass(frozen=True, slots=True)
class Endpointing:
    """How speech is cut into utterances; the `vad` section of the configuration."""

    start_threshold: float = 0.5
    stop_threshold: float = 0.35
    min_speech_ms: int = 250
    hangover_ms: int = 1000
    pre_roll_ms: int = 300
    soft_cap_s: float = 20.0
    hard_cap_s: float = 28.0


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance is certain. It begins at sample `start` of the timeline, its speech at `speech`.

    Two of them are equal if they begin at the same sample.
    """

    start: int
    speech: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Audio:
    """The next samples of the running utterance, int16 at 16 kHz.

    At least `more` samples follow before endpointing can end the utterance.
    """

    samples: Samples
    more: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The running utterance ends before sample `end`; audio sent beyond that is not part of it.

    `crosstalk_of` names the microphone whose speech it was, if it was another's. `speech` is where
    its first speech frame begins and its last one ends, without pre-roll and tail; two ends are
    equal if they cut at the same sample. `sound`, if present, is the whole utterance again, without
    what others said in it; `raw`, if present, is all of it as the microphone heard it.
    """

    end: int
    crosstalk_of: str | None = None
    speech: tuple[int, int] = field(default=(0, 0), compare=False)
    sound: Samples | None = field(default=None, compare=False)
    raw: Samples | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The utterance that began at sample `start`, and had ended as the microphone's own, was the
    speech of the microphone `other`, which has it in an utterance of its own.
    """

    start: int
    other: str


Event = Started | Audio | Ended | Withdrawn


@dataclass(slots=True)
class _Frame:
    """`evidence` is how many frames of speech it counts for: 0 if it is none."""

    samples: Samples
    evidence: float
    foreign: bool = False

    @property
    def voiced(self) -> bool:
        return self.evidence > 0

    @property
    def power(self) -> float:
        wide = self.samples.astype(np.float32)
        return float(np.dot(wide, wide))


def _ticks(milliseconds: float) -> int:
    """Whole frames that cover a duration."""
    return max(1, -(-round(milliseconds * SAMPLE_RATE / 1000) // TICK))


class Endpointer:
    """Cuts one microphone's sound into utterances. Owned by the thread that feeds it."""

    def __init__(self, settings: Endpointing) -> None:
        self._settings = settings
        spared_ms = settings.hangover_ms - DETECTOR_LATE_MS
        self._hangover = max(1, spared_ms * SAMPLE_RATE // 1000 // TICK)
        self._tail = min(_ticks(TAIL_MS), self._hangover)
        self._min_speech = _ticks(settings.min_speech_ms)
        self._soft_cap = _ticks(settings.soft_cap_s * 1000)
        self._hard_cap = _ticks(settings.hard_cap_s * 1000)
        self._pre_roll = _ticks(settings.pre_roll_ms)
        longest = min(_ticks(ONSET_MS), self._soft_cap // 4)
        self._before: deque[_Frame] = deque(maxlen=max(self._pre_roll, longest))
        self._pause = _ticks(PAUSE_MS)
        self._frames: list[_Frame] = []
        self._position = 0
        self._evidence = 0.0
        self._quiet = 0
        self._confirmed = False

    @property
    def triggered(self) -> bool:
        """Whether speech has been heard and not ended, whether or not it is long enough yet."""
        return bool(self._frames)

    @property
    def quiet_left(self) -> int:
        """Frames without speech that would end what is running; 0 if nothing is."""
        return self._hangover - self._quiet if self._frames else 0

    def feed(self, samples: Samples, probability: float, *, foreign: bool = False) -> list[Event]:
        """Take a frame of 512 samples and the probability (0-1) that it is speech.

        A `foreign` frame is another's speech, turned down: it is no onset, and tells nothing of how
        quiet the room is.
        """
        triggered = self.triggered
        start = self._settings.start_threshold
        floor = self._settings.stop_threshold if triggered else start
        evidence = min(max(probability / start, 1.0), MOST_EVIDENCE)
        frame = _Frame(samples, evidence if probability >= floor else 0.0, foreign)
        self._position += len(samples)
        if not triggered and not frame.voiced:
            self._before.append(frame)
            return []
        return self._extend(frame)

    def jump(self, position: int) -> None:
        """Go on at another sample of the timeline, once `flush` has ended what was running."""
        self._position = position

    def flush(self) -> list[Event]:
        """End the running utterance where the sound ends: the session or the stream is over."""
        events: list[Event] = []
        if self._confirmed:
            surplus = self._quiet - min(self._quiet, self._tail)
            events.append(self._ended(len(self._frames) - surplus))
        self._reset(())
        return events

    def _extend(self, frame: _Frame) -> list[Event]:
        if not self._frames:
            self._frames = self._kept_before()
            self._before.clear()
        self._frames.append(frame)
        self._evidence += frame.evidence
        self._quiet = 0 if frame.voiced else self._quiet + 1
        events = self._sound(frame)
        if self._quiet >= self._hangover:
            return events + self._end_of_speech()
        if self._confirmed and len(self._frames) >= self._soft_cap:
            events += self._split()
        return events

    def _kept_before(self) -> list[_Frame]:
        """What is kept before the first speech frame: the pre-roll, or a longer onset."""
        before = list(self._before)
        quietest = min((each.power for each in before if not each.foreign), default=0.0)
        onset = at = len(before)
        while at > 0 and onset - at <= DIP_FRAMES and not before[at - 1].foreign:
            at -= 1
            if before[at].power > ONSET_OVER_QUIETEST * quietest:
                onset = at
        for late in before[onset:]:
            late.evidence = 1.0
        kept = max(self._pre_roll, len(before) - onset + DIP_FRAMES if onset < len(before) else 0)
        return before[max(0, len(before) - kept) :]

    def _sound(self, frame: _Frame) -> list[Event]:
        if self._confirmed:
            return [Audio(frame.samples, self._more)]
        if self._evidence < self._min_speech:
            self._forget_oldest()
            return []
        self._confirmed = True
        return self._beginning()

    def _beginning(self) -> list[Event]:
        """The events of an utterance that begins with the frames held."""
        first = next(index for index, frame in enumerate(self._frames) if frame.voiced)
        sound = np.concatenate([frame.samples for frame in self._frames])
        return [Started(self._start, self._start + first * TICK), Audio(sound, self._more)]

    @property
    def _more(self) -> int:
        pause, cap = self._hangover - self._quiet, self._soft_cap - len(self._frames)
        return max(0, min(pause, cap)) * TICK

    def _forget_oldest(self) -> None:
        """Keep endless sparse noise from growing without bound, and from counting as speech."""
        if len(self._frames) > max(self._soft_cap, self._min_speech):
            self._frames.pop(0)
            self._evidence = sum(frame.evidence for frame in self._frames)

    @property
    def _start(self) -> int:
        return self._position - len(self._frames) * TICK

    def _end_of_speech(self) -> list[Event]:
        surplus = self._quiet - self._tail
        kept = len(self._frames) - surplus
        events: list[Event] = [self._ended(kept)] if self._confirmed else []
        # What follows the tail may be the first sound of the next utterance.
        self._reset(self._frames[kept:] if self._confirmed else self._frames)
        return events

    def _split(self) -> list[Event]:
        cut = self._longest_pause()
        if cut is None:
            if len(self._frames) < self._hard_cap:
                return []
            if self._quiet:  # a cut in a running pause would be followed by silence only
                return self._end_of_speech() if self._quiet >= self._tail else []
            cut = self._quietest_frame()
        ended = self._ended(cut)
        self._frames = self._frames[cut:]
        return [ended, *self._beginning()]

    def _ended(self, frames: int) -> Ended:
        """The end of an utterance that consists of the first `frames` of the frames held."""
        voiced = [index for index in range(frames) if self._frames[index].voiced]
        first, last = (voiced[0], voiced[-1]) if voiced else (0, frames - 1)
        return Ended(
            self._start + frames * TICK,
            speech=(self._start + first * TICK, self._start + (last + 1) * TICK),
        )

    def _longest_pause(self) -> int | None:
        """The frame in the middle of the longest pause of the second half, if one is long enough.

        Only a pause that speech has followed counts: one still running may be the end.
        """
        best, at, run = 0, 0, 0
        for index in range(self._second_half(), len(self._frames)):
            if not self._frames[index].voiced:
                run += 1
                continue
            if run > best:
                best, at = run, index - (run + 1) // 2
            run = 0
        return at if best >= self._pause else None

    def _quietest_frame(self) -> int:
        half = self._second_half()
        powers = [frame.power for frame in self._frames[half:]]
        return half + int(np.argmin(powers))

    def _second_half(self) -> int:
        """Where a cut may lie: after some speech, so that no utterance is silence only."""
        first = next(index for index, frame in enumerate(self._frames) if frame.voiced)
        return min(max(len(self._frames) // 2, first + 1), len(self._frames) - 1)

    def _reset(self, before: tuple[_Frame, ...] | list[_Frame]) -> None:
        self._frames = []
        self._before.clear()
        self._before.extend(before)
        self._evidence = 0.0
        self._quiet = 0
        self._confirmed = False
