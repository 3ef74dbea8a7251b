"""All microphones of one room, tick by tick: voice activity, ownership, endpointing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.endpointing import (
    MOST_EVIDENCE,
    TAIL_MS,
    Ended,
    Endpointing,
    Event,
    Started,
    Withdrawn,
)
from node.core.room.hearing import KEPT_TICKS
from node.core.room.mic_path import Frame, MicPath
from node.core.room.ownership import (
    OWNED,
    POSSIBLE_SPEECH,
    STILL_OWNED,
    Ownership,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.core.room.endpointing import Samples
    from node.core.room.mic_path import VoiceDetector

Mode = Literal["drop", "tag", "off"]

LONGEST_FILL = SAMPLE_RATE
"""A gap of up to 1 s inside an utterance is filled with silence; a longer one ends the utterance.
"""

PATIENCE_TICKS = 10
"""Ticks (0.32 s) of sound for which the room waits for a microphone that falls behind."""

TICKS_AT_ONCE = 2
"""Ticks (64 ms) that several microphones are heard and judged by: that takes half the time of
single ticks."""

SILENT_TICKS_AT_ONCE = 32
"""Ticks (1 s) of silence that are heard at once."""

ENDLESS = 1 << 62
"""End of an utterance that is still running."""

NOTHING = range(0)

BEYOND_MS = 200
"""How much of an utterance, besides as much as pre-roll and tail, may lie beyond another
microphone's that has the same speech. In more there may be a sentence that only this one has."""

REMEMBERED_UTTERANCES = 64
"""Utterances of a microphone that may be judged again and withdrawn: two a second, for as long as
sound is kept."""

MicEvents = list[tuple[str, Event]]
"""What has become certain: events, each with its microphone."""


class Room:
    """Turns the sound of several microphones into utterances. Owned by the thread that feeds it.

    A tick of one microphone is judged once the others have delivered theirs. A microphone that is
    more than 0.32 s late holds up nobody, and loses nothing: its ticks are judged when they come,
    against what the others had at that time. After a flush the room does not wait for a microphone
    until it is fed again.

    In mode "drop" only owned speech opens and prolongs utterances; one that still turns out to be
    another's ends with `crosstalk_of` set, and must be discarded. In mode "tag" all speech counts,
    and `crosstalk_of` is set likewise. In mode "off" every microphone is heard on its own.
    """

    def __init__(self, endpointing: Endpointing, mode: Mode) -> None:
        self._endpointing = endpointing
        self._mode = mode
        self._ownership = Ownership()
        self._paths: dict[str, MicPath] = {}
        self._unheard: dict[str, list[Frame]] = {}
        self._utterances: dict[str, range] = {}
        self._kept: dict[str, deque[range]] = {}
        self._promised: set[str] = set()
        self._owners: set[str] = set()
        self._awaited: set[str] = set()
        self._compared_from: dict[str, int] = {}

    def add(self, mic: str, detector: VoiceDetector, position: int = 0) -> None:
        """Add a microphone whose first sample lies at `position`."""
        self._paths[mic] = MicPath(detector, self._endpointing, position)
        self._unheard[mic] = []
        self._kept[mic] = deque(maxlen=REMEMBERED_UTTERANCES)
        self._ownership.add(mic)

    def feed(self, mic: str, samples: Samples, slipped: int = 0) -> MicEvents:
        """Append int16 samples at 16 kHz to what a microphone has heard.

        To correct its clock, `slipped` samples among them were doubled (+) or left out (-).
        """
        self._awaited.add(mic)
        self._unheard[mic] += self._paths[mic].take(samples)
        if slipped:
            self._ownership.slipped(mic, self._paths[mic].position, slipped)
        return self._advance()

    def skip_to(self, mic: str, position: int) -> MicEvents:
        """Pass over what was not heard: a short gap becomes silence, a long one a new start."""
        path = self._paths[mic]
        missing = position - path.position
        if missing <= 0:
            return []
        if missing <= LONGEST_FILL:
            self._ownership.moved(mic, position // TICK)
            return self.feed(mic, np.zeros(missing, np.int16))
        events = self.flush(mic)
        path.jump(position)
        self._ownership.restarted(mic, position // TICK)
        return events

    def begin_stream(self, mic: str, position: int) -> MicEvents:
        """Pass over what was not heard before a microphone's first stream, or another one."""
        events = self.skip_to(mic, position)
        self._ownership.restarted(mic, position // TICK)
        return events

    def flush(self, mic: str) -> MicEvents:
        """End whatever a microphone has open, with its last samples."""
        path = self._paths[mic]
        self._awaited.discard(mic)
        self._unheard[mic] += path.fill_up()
        self._hear(dict(self._unheard))  # a copy: it empties the lists of `_unheard`
        events: MicEvents = []
        while path.frames:
            events += self._judge(mic, self._shares(path.frames[0].tick).get(mic))
        events += self._marked(mic, path.flush())
        return events + self._advance()

    def position(self, mic: str) -> int:
        """The sample of the timeline at which the microphone's sound ends."""
        return self._paths[mic].position

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, or may be about to."""
        return any(path.busy for path in self._paths.values())

    def level_dbfs(self, mic: str) -> float:
        """RMS level since the last call, in dB below full scale."""
        return self._paths[mic].level_dbfs()

    def lags_s(self) -> dict[str, float | None]:
        """Delay of each microphone against the earliest one; None where it is unknown."""
        return self._ownership.lags_s()

    def _advance(self) -> MicEvents:
        """Judge what is complete: what all awaited microphones have delivered, within reason."""
        if not self._awaited:
            return []
        ends = [self._paths[mic].next_tick for mic in self._awaited]
        complete = max(min(ends), max(ends) - PATIENCE_TICKS)
        if not self._alone:
            complete -= complete % TICKS_AT_ONCE
        self._take_in(complete)
        events = self._judge_before(complete - (0 if self._alone else self._ownership.delay_ticks))
        if not self._alone and self._ownership.knows_more():
            events += self._judge_again(complete)
        return events

    def _take_in(self, complete: int) -> None:
        """Hear the ticks before `complete` and learn from them; short silence is put off."""
        frames = {
            mic: [frame for frame in several if frame.tick < complete]
            for mic, several in self._unheard.items()
        }
        if self._is_calm(frames, complete):
            return
        self._hear(frames)
        if not self._alone:
            self._ownership.learn(complete)

    def _is_calm(self, frames: dict[str, list[Frame]], complete: int) -> bool:
        """Whether few frames wait, and nobody speaks in them or in those yet to be judged."""
        waiting = [path.frames[0].tick for path in self._paths.values() if path.frames]
        return (
            not self._alone
            and self._ownership.quiet(min(waiting, default=complete), complete)
            and all(len(several) < SILENT_TICKS_AT_ONCE for several in frames.values())
            and all(
                frame.voice < POSSIBLE_SPEECH for several in frames.values() for frame in several
            )
        )

    def _hear(self, frames: dict[str, list[Frame]]) -> None:
        """Pass on the sound of frames and their speech probabilities; the same ticks together."""
        for mic, several in frames.items():
            self._unheard[mic] = self._unheard[mic][len(several) :]
        if self._alone:
            return
        for mic, several in frames.items():
            if several:
                self._compared_from.setdefault(mic, several[0].tick)
        for together in _together(frames):
            first = next(iter(together.values()))[0].tick
            sound = {m: np.concatenate([f.samples for f in fs]) for m, fs in together.items()}
            voices = {m: np.array([f.voice for f in fs]) for m, fs in together.items()}
            self._ownership.hear(first, sound, voices)

    def _judge_before(self, limit: int) -> MicEvents:
        events: MicEvents = []
        while ready := self._ready(limit):
            tick = min(self._paths[mic].frames[0].tick for mic in ready)
            shares = self._shares(tick)
            for mic in ready:
                if self._paths[mic].frames[0].tick == tick:
                    events += self._judge(mic, shares.get(mic))
        return events + self._end_settled()

    def _end_settled(self) -> MicEvents:
        """End speech that silence has ended already; whose silence it is does not matter."""
        events: MicEvents = []
        for mic, path in self._paths.items():
            for _ in range(path.settled):
                events += self._judge(mic, None)
        return events

    def _ready(self, limit: int) -> list[str]:
        paths = self._paths.items()
        return [mic for mic, path in paths if path.frames and path.frames[0].tick < limit]

    @property
    def _alone(self) -> bool:
        return self._mode == "off" or len(self._paths) < 2

    def _shares(self, tick: int) -> dict[str, float]:
        if self._alone or self._mode == "tag":
            return {}
        return self._ownership.judge(tick)

    def _judge(self, mic: str, share: float | None) -> MicEvents:
        """Send a microphone's oldest frame to endpointing; `share` of it is its own, if known."""
        path = self._paths[mic]
        if share is None:
            return self._marked(mic, path.judge())
        owned = share >= (STILL_OWNED if mic in self._owners else OWNED)
        (self._owners.add if owned else self._owners.discard)(mic)
        return self._marked(mic, path.judge(foreign=not owned))

    def _marked(self, mic: str, events: Iterable[Event]) -> MicEvents:
        """A microphone's events; an end says whose speech it was."""
        marked: MicEvents = []
        for event in events:
            if isinstance(event, Started):
                self._utterances[mic] = range(event.start, ENDLESS)
            said = self._reviewed(mic, event) if isinstance(event, Ended) else event
            marked.append((mic, said))
        return marked

    def _reviewed(self, mic: str, ended: Ended) -> Ended:
        """An end that names the microphone whose speech it was, if that is another one."""
        utterance = range(self._utterances.pop(mic).start, ended.end)
        promised = mic in self._promised
        self._promised.discard(mic)
        if self._began_alone(mic, utterance):
            self._utterances[mic] = utterance
            return ended
        other = None if promised else self._speaker(mic, utterance)
        if other is not None:
            return replace(ended, crosstalk_of=other)
        ended = self._cleaned(mic, utterance, ended)
        if promised or ended.crosstalk_of is None:
            self._utterances[mic] = utterance
            self._kept[mic].append(utterance)
            return replace(ended, crosstalk_of=None)
        return ended

    def _began_alone(self, mic: str, utterance: range) -> bool:
        """Whether there was no other microphone yet to compare all of it with."""
        begin = utterance.start // TICK
        return self._alone or begin < self._compared_from.get(mic, begin + 1)

    def _judge_again(self, tick: int) -> MicEvents:
        """Withdraw kept utterances, as far back as sound is kept, that prove to be another's."""
        oldest = (tick - KEPT_TICKS) * TICK + LONGEST_FILL
        events: MicEvents = []
        for mic, kept in self._kept.items():
            for utterance in [one for one in kept if one.start >= oldest]:
                verdict = self._verdict(mic, utterance)
                other = verdict.loudest if self._owns_little(verdict, utterance) else None
                if other is not None and self._covers(other, utterance):
                    kept.remove(utterance)
                    events.append((mic, Withdrawn(utterance.start, other)))
        return events

    def _covers(self, mic: str, utterance: range) -> bool:
        """Whether a microphone keeps or hears an utterance that covers most of this one."""
        running = self._utterances.get(mic, NOTHING)
        return any(self._cover(kept, utterance) for kept in [*self._kept[mic], running])

    def _cover(self, kept: range, utterance: range) -> bool:
        covered = min(kept.stop, utterance.stop) - max(kept.start, utterance.start)
        beyond_ms = self._endpointing.pre_roll_ms + TAIL_MS + BEYOND_MS
        return covered > len(utterance) / 2 and len(utterance) - covered < _samples(beyond_ms)

    def _cleaned(self, mic: str, utterance: range, ended: Ended) -> Ended:
        """An end with the sound left without the others, or with who they were if none is left.

        Where something was taken out, the raw sound goes with it: what is left may be worse.
        """
        if self._mode != "drop":
            return ended
        cleaned = self._ownership.cleaned(mic, utterance, ended.speech)
        ended = replace(ended, raw=self._ownership.raw(mic, utterance))
        if cleaned is None:
            return ended
        own = cleaned.own_samples >= self._least_own(utterance)
        return replace(ended, sound=cleaned.sound, crosstalk_of=None if own else cleaned.loudest)

    def _speaker(self, mic: str, utterance: range) -> str | None:
        """The other microphone whose speech an utterance was; None if it was its own."""
        verdict = self._verdict(mic, utterance)
        if self._owns_little(verdict, utterance) and verdict.loudest is not None:
            return verdict.loudest
        better = verdict.heard_better
        if better is None or not self._covers(better, utterance):
            return None
        running = self._utterances.get(better, NOTHING)
        if running.stop == ENDLESS and self._cover(running, utterance):
            self._promised.add(better)
        return better

    def _verdict(self, mic: str, utterance: range) -> Verdict:
        first, last = utterance.start // TICK, -(-utterance.stop // TICK)
        return self._ownership.review(mic, first, last)

    def _owns_little(self, verdict: Verdict, utterance: range) -> bool:
        return verdict.owned_ticks * TICK < self._least_own(utterance)

    def _least_own(self, utterance: range) -> float:
        """Samples of own speech that an utterance needs: half of a word too short for the rest."""
        spoken = len(utterance) - _samples(self._endpointing.pre_roll_ms + TAIL_MS)
        enough = _samples(self._endpointing.min_speech_ms)
        return max(enough / MOST_EVIDENCE, min(enough, spoken / 2))


def _samples(milliseconds: int) -> int:
    return milliseconds * SAMPLE_RATE // 1000


def _together(frames: dict[str, list[Frame]]) -> list[dict[str, list[Frame]]]:
    """Frames by the ticks they fill: in one piece if all microphones heard the same ticks."""
    heard = {mic: several for mic, several in frames.items() if several}
    if len({(several[0].tick, several[-1].tick) for several in heard.values()}) == 1:
        return [heard]
    ticks: dict[int, dict[str, list[Frame]]] = {}
    for mic, several in heard.items():
        for frame in several:
            ticks.setdefault(frame.tick, {})[mic] = [frame]
    return [ticks[tick] for tick in sorted(ticks)]
