"""Other systems for the same text, each as its users run it: with defaults, except for threads.

None of them supports several microphones: each track is processed separately.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.model import SAMPLE_RATE
from tests.bench.speed.setup import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.meeting import Meeting
    from tests.bench.speed.setup import Setup

    Sound = np.ndarray[tuple[int], np.dtype[np.float32]]

BLOCK_S = 30


def blocks(meeting: Meeting, transcribe: Callable[[Sound], None]) -> list[Job]:
    """The prototype's method: blocks of 30 s of every microphone, in one queue."""
    size = BLOCK_S * SAMPLE_RATE
    jobs = []
    for begin in range(0, meeting.tracks.shape[1], size):
        for mic, track in enumerate(meeting.tracks):
            block = _floats(track[begin : begin + size])
            began = time.perf_counter()
            transcribe(block)
            takes = time.perf_counter() - began
            ends = [t.end for t in meeting.turns if t.mic == mic and begin < t.end <= begin + size]
            ready = (begin + len(block)) / SAMPLE_RATE
            jobs.append(Job(ready, takes, tuple(end / SAMPLE_RATE for end in ends)))
    return jobs


class OpenAiBlocks:
    """The prototype's method with openai-whisper, in float32 on PyTorch."""

    def __init__(self, setup: Setup) -> None:
        import torch  # noqa: PLC0415

        from tests.bench.speed.openai_model import model  # noqa: PLC0415

        torch.set_num_threads(setup.threads)
        self.model = model(setup.size)
        self.parts_s: dict[str, float] = {}

    def run(self, meeting: Meeting) -> list[Job]:
        return blocks(meeting, lambda sound: self.model.transcribe(sound, fp16=False))


class FasterWhisper:
    """faster-whisper with its defaults, loaded once."""

    def __init__(self, setup: Setup) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415  # takes a second

        self.whisper = WhisperModel(
            str(setup.folder), device="cpu", compute_type="int8", cpu_threads=setup.threads
        )
        self.parts_s: dict[str, float] = {}
        self.transcribe(np.zeros(SAMPLE_RATE, np.float32))

    def transcribe(self, sound: Sound, **options: Any) -> None:
        # The segments come from a generator, which does the work.
        for _ in self.whisper.transcribe(sound, **options)[0]:
            pass


class FasterWhisperBlocks(FasterWhisper):
    """The prototype's method with faster-whisper instead of openai-whisper."""

    def run(self, meeting: Meeting) -> list[Job]:
        return blocks(meeting, self.transcribe)


class FasterWhisperVad(FasterWhisper):
    """faster-whisper with its voice activity detection, on each whole track, afterwards."""

    def run(self, meeting: Meeting) -> list[Job]:
        for track in meeting.tracks:
            self.transcribe(_floats(track), vad_filter=True)
        return []


class Batched(FasterWhisper):
    """BatchedInferencePipeline with its defaults, on each whole track, afterwards."""

    def run(self, meeting: Meeting) -> list[Job]:
        from faster_whisper import BatchedInferencePipeline  # noqa: PLC0415

        pipeline = BatchedInferencePipeline(self.whisper)
        for track in meeting.tracks:
            for _ in pipeline.transcribe(_floats(track))[0]:
                pass
        return []


def _floats(samples: np.ndarray[Any, np.dtype[np.int16]]) -> Sound:
    return samples.astype(np.float32) / np.float32(32768)
