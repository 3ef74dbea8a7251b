"""The node's own way from the tracks of a meeting to text, and the floor below it."""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from node.adapters.whisper import Engine
from node.adapters.whisper.encoding import FLOOR_WINDOW, FULL_WINDOW, MEL_HOP, WINDOW_MARGIN
from node.cli import main
from node.core.model import SAMPLE_RATE
from tests.bench.speed.setup import BEAM, Job
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.meeting import Meeting, Samples
    from tests.bench.speed.setup import Setup


START, ENDING = "<|startoftranscript|>", ("<|transcribe|>", "<|notimestamps|>")
"""The tokens before a text, around its language."""


class Ours:
    """The command `transcribe` with its defaults, from files to transcript.

    It is measured from when the model is loaded. How late text is while people speak is measured
    on the service itself: see `live`.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._engine: Engine | None = None
        self.parts_s = {"engine": 0.0}
        self.began_s = 0.0
        self.second_looks = 0

    def run(self, meeting: Meeting) -> list[Job]:
        load = Engine.load

        def watched(engine: Engine) -> None:
            load(engine)
            self._engine = engine
            self.began_s = time.process_time()
            for name in ("transcribe", "transcribe_together"):
                setattr(engine, name, self._timed(getattr(engine, name)))

        Engine.load = watched  # type: ignore[assignment, method-assign]
        with tempfile.TemporaryDirectory() as name:
            status = main(["transcribe", *self._arguments(Path(name), meeting)])
        if status or self._engine is None:
            raise RuntimeError("transcribe has failed")
        self.second_looks = self._engine.retries
        if self.second_looks and not self._setup.trained:
            raise RuntimeError("transcribe rejected the forced text")
        return []

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*arguments: Any, **options: Any) -> Any:
            before = time.process_time()
            try:
                return method(*arguments, **options)
            finally:
                self.parts_s["engine"] += time.process_time() - before

        return timed

    def _arguments(self, folder: Path, meeting: Meeting) -> list[str]:
        setup = self._setup
        settings = {"model": str(setup.folder), "threads": setup.threads, "beam_size": BEAM}
        config = folder / "node.yaml"
        config.write_text(yaml.safe_dump({"transcription": settings}), encoding="utf-8")
        files = [
            str(write_wav(folder / f"mic-{number}.wav", track, SAMPLE_RATE))
            for number, track in enumerate(meeting.tracks)
        ]
        return [*files, "--config", str(config), "--output", str(folder / "transcript.txt")]


class Floor:
    """Raw CTranslate2 on exactly the speech: no pause, no noise, nobody else's voice.

    It has the fitted window, the language from the same encoding, and the same beam as ours. It is
    told where speech is, at no cost. Nothing is decoded twice, or in the context of other speech.
    """

    def __init__(self, setup: Setup) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415  # takes a second

        self._whisper = WhisperModel(
            str(setup.folder), device="cpu", compute_type="int8", cpu_threads=setup.threads
        )
        self.parts_s: dict[str, float] = {}
        self._transcribe(np.zeros(SAMPLE_RATE, np.int16))

    def run(self, meeting: Meeting) -> list[Job]:
        jobs = []
        for turn in meeting.turns:
            began = time.perf_counter()
            self._transcribe(turn.samples)
            end = turn.end / SAMPLE_RATE
            jobs.append(Job(end, time.perf_counter() - began, (end,)))
        return jobs

    def _transcribe(self, samples: Samples) -> None:
        sound = samples * np.float32(1 / 32768)
        features = self._whisper.feature_extractor(sound, padding=0)[:, : len(sound) // MEL_HOP]
        window = min(FULL_WINDOW, max(FLOOR_WINDOW, features.shape[1] + WINDOW_MARGIN))
        # Silence as in Whisper's own features, so that trained weights recognise the end.
        silence = ((0, 0), (0, max(0, window - features.shape[1])))
        features = np.pad(features, silence, constant_values=float(features.min()))
        encoding = self._whisper.encode(np.ascontiguousarray(features[:, :window]))
        language = self._whisper.model.detect_language(encoding)[0][0][0]
        prompt = [self._whisper.hf_tokenizer.token_to_id(t) for t in (START, language, *ENDING)]
        self._whisper.model.generate(encoding, [prompt], beam_size=BEAM)
