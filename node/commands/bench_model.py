"""What a Whisper model costs on this machine, measured on the model itself."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from node.adapters.whisper import Clip
from node.adapters.whisper.decoding import Decoder
from node.adapters.whisper.encoding import Encoder
from node.adapters.whisper.opening import open_model
from node.commands.bench_sound import voice
from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    from node.adapters.whisper import EngineSettings

SPOKEN_TOKENS_PER_S = 3.0
"""Of speech: about 2.3 words a second, 1.3 tokens a word. A model would write anything for babble,
so it is made to write this much.
"""

UTTERANCES_S = (2.0, 4.0, 8.0)
"""Lengths of typical utterances."""

WINDOW_S = 30.0
"""Whisper's window, full of speech: what a recording without pauses is cut into."""

WINDOW_FACTOR = 10
"""A full window costs about this many utterances of 8 s; it is skipped if that takes too long."""

ROUNDS = 3
"""Each measurement is the median of this many, if there is time."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall-clock seconds to transcribe `seconds` of sound, and processor seconds of all threads.

    `encode_s`: up to its encoding and language; `decode_s`: from there to the text.
    """

    seconds: float
    encode_s: float
    decode_s: float
    cpu_s: float

    @property
    def takes_s(self) -> float:
        return self.encode_s + self.decode_s

    @property
    def rtf(self) -> float:
        """Real-time factor: below 1 is faster than speech."""
        return self.takes_s / self.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """What utterances and a full window cost a model with this number of threads.

    `full`: utterances of any length are also encoded over a full window.
    """

    threads: int
    full: bool
    utterances: tuple[Cost, ...]
    window: Cost | None = None

    @property
    def rtf(self) -> float:
        """Real-time factor over utterances of all lengths."""
        return sum(c.takes_s for c in self.utterances) / sum(c.seconds for c in self.utterances)

    @property
    def cpu_rtf(self) -> float:
        """Processor seconds of all threads per second of speech."""
        return sum(c.cpu_s for c in self.utterances) / sum(c.seconds for c in self.utterances)


class ModelBench:
    """One model, loaded with this number of threads."""

    def __init__(self, settings: EngineSettings, language: str | None, threads: int) -> None:
        self._settings = replace(settings, threads=threads)
        self._language = language
        self._threads = threads

    def measure(self, deadline: float, until: float) -> Measured:
        """Load the model, and transcribe utterances of each length, then a full window.

        Args:
            deadline: monotonic time after which nothing is measured twice.
            until: monotonic time; a full window that would take longer is left out.

        Raises:
            ModelError: the model cannot be loaded.
        """
        self._open()
        self._once(UTTERANCES_S[0])  # the first run of a process is slower
        utterances = tuple(self._cost(seconds, deadline) for seconds in UTTERANCES_S)
        expected_s = WINDOW_FACTOR * utterances[-1].takes_s
        in_time = time.monotonic() + expected_s < until
        full = self._cost(WINDOW_S, deadline) if in_time else None
        return Measured(self._threads, self._settings.window == "full", utterances, full)

    def _open(self) -> None:
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415  # it takes a second

        self._whisper: Any = open_model(self._settings)
        multilingual = self._whisper.model.is_multilingual
        tokenizer = Tokenizer(self._whisper.hf_tokenizer, multilingual, "transcribe", "en")
        self._prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        self._never = [-1, tokenizer.eot]  # -1: what the model's own settings suppress
        decoder = Decoder(self._whisper, self._settings)
        self._encoder = Encoder(self._whisper, self._settings, decoder)

    def _cost(self, seconds: float, deadline: float) -> Cost:
        costs = [self._once(seconds)]
        while len(costs) < ROUNDS and time.monotonic() + costs[-1].takes_s < deadline:
            costs.append(self._once(seconds))
        return Cost(
            seconds,
            statistics.median(cost.encode_s for cost in costs),
            statistics.median(cost.decode_s for cost in costs),
            statistics.median(cost.cpu_s for cost in costs),
        )

    def _once(self, seconds: float) -> Cost:
        """Transcribe as the engine does: features, one encoding, language and text from it."""
        clip = Clip(voice(seconds), self._language)
        full = self._settings.window == "full"
        began, used = time.perf_counter(), time.process_time()
        look = self._encoder.alone(clip, self._settings.beam_size, full=full)
        encoded = time.perf_counter()
        self._decode(look.encoding, round(seconds * SPOKEN_TOKENS_PER_S))
        ended = time.perf_counter()
        return Cost(seconds, encoded - began, ended - encoded, time.process_time() - used)

    def _decode(self, encoding: Any, tokens: int) -> None:
        self._whisper.model.generate(
            encoding,
            [self._prompt],
            beam_size=self._settings.beam_size,
            # CTranslate2 gives at most half of it to new tokens.
            max_length=max(2 * tokens, tokens + len(self._prompt) - 1),
            suppress_tokens=self._never,
        )


def hearing_cpu_s(mics: int, seconds: float) -> float:
    """Return processor seconds per second of one microphone: detection, ownership, endpointing.

    Measured on `mics` microphones in one room that hear each other.
    """
    from node.adapters.vad import Silero  # noqa: PLC0415  # not for other commands
    from node.core.room.endpointing import Endpointing  # noqa: PLC0415  # not for other commands
    from node.core.room.room import Room  # noqa: PLC0415  # not for other commands

    room, silero = Room(Endpointing(), "drop"), Silero()
    tracks = [voice(seconds, seed) for seed in range(mics)]
    for mic in range(mics):
        room.add(str(mic), silero.detector())
    used, step = time.process_time(), SAMPLE_RATE // 10
    for begin in range(0, len(tracks[0]), step):
        for mic, track in enumerate(tracks):
            room.feed(str(mic), track[begin : begin + step])
    return (time.process_time() - used) / (mics * seconds)
