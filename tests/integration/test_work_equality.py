"""What a worker hears is what the node's own engine would have heard, with the real `base`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.sound_files import read
from node.adapters.whisper import Clip, Engine, EngineSettings
from node.core.text.context import Earlier
from node.core.text.prior import Prior
from node.core.work.messages import ModelId, decode_request, heard_in, result_of
from node.service.transcribing.sent_utterance import Cutter
from node.service.working.jobs import Tuning, clip_of
from tests.rig.node import ROOT
from tests.rig.weights import real_base

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from node.core.model import Transcription
    from node.service.transcribing.sent_utterance import Part

RECORDING = ROOT / "config/demo/mic-alice.wav"
S = 16000
MOST = 1 << 20


def settings(folder: Path, **more: object) -> EngineSettings:
    return EngineSettings("base", folder, folder, threads=1, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base() -> Path:
    return real_base()


@pytest.fixture(scope="module")
def worker(base: Path) -> Tuning:
    """A worker's engine; its own settings differ from those of the node."""
    own = settings(base, languages=("de",), beam_size=2)
    engine = Engine(own)
    engine.load()
    return Tuning(engine, own)


@pytest.fixture(scope="module")
def sound() -> npt.NDArray[np.int16]:
    return np.concatenate(list(read(RECORDING)))


def parts_of(cutter: Cutter, clip: Clip, most: int = MOST) -> list[Part]:
    parts = cutter.parts("key", clip, None, most)
    assert parts is not None
    return parts


def by_worker(cutter: Cutter, clip: Clip, worker: Tuning) -> Transcription:
    (part,) = parts_of(cutter, clip)
    work = decode_request(part.payload(60))
    sent = clip_of(work)
    heard = worker.of(work).transcribe(sent, beam_size=work.request.beam_size)
    return heard_in(result_of(heard))


def test_the_worker_hears_what_the_node_would(
    base: Path, worker: Tuning, sound: npt.NDArray[np.int16]
) -> None:
    own = settings(
        base,
        languages=("en", "fr"),
        word_timestamps=True,
        hotwords=("Marie", "Kowalski"),
        initial_prompt="A meeting.",
    )
    engine, cutter = Engine(own), Cutter(own, ModelId(name="base"))
    engine.load()
    first = engine.transcribe(Clip(sound[: 6 * S]))
    earlier = (Earlier(sound[: 6 * S], first.text, first.language),)
    for clip in (
        Clip(sound[6 * S : 9 * S], None, Prior("en", 5.0), "Anna", earlier=earlier),
        Clip(sound[9 * S : 15 * S], None, overlapped=True, earlier=earlier),
        Clip(sound[15 * S : 18 * S], "fr"),
    ):
        here = engine.transcribe(clip)
        assert by_worker(cutter, clip, worker) == here
        assert here.text


def test_only_earlier_speech_that_can_help_is_sent(
    base: Path, sound: npt.NDArray[np.int16]
) -> None:
    cutter = Cutter(settings(base), ModelId(name="base"))
    earlier = tuple(Earlier(sound[n * S : (n + 5) * S], "Hello.", "en") for n in (0, 5))
    (short,) = parts_of(cutter, Clip(sound[10 * S : 12 * S], earlier=earlier))
    (long,) = parts_of(cutter, Clip(sound[10 * S : 15 * S], earlier=earlier))
    (other,) = parts_of(cutter, Clip(sound[:S], "fr", earlier=earlier))
    assert [len(part.request.earlier) for part in (short, long, other)] == [2, 0, 0]


def test_a_clip_is_cut_until_it_fits(base: Path, sound: npt.NDArray[np.int16]) -> None:
    cutter = Cutter(settings(base), ModelId(name="base"))
    clip = Clip(sound[: 20 * S])
    (whole,) = parts_of(cutter, clip)
    most = len(whole.payload(60)) // 3
    parts = parts_of(cutter, clip, most)
    assert len(parts) > 2
    assert all(len(part.payload(300)) <= most for part in parts)
    assert len({part.request.id for part in parts}) == len(parts)
    ends = [part.start + part.request.samples for part in parts]
    assert [part.start for part in parts] == [0, *ends[:-1]]
    assert ends[-1] == 20 * S
    assert cutter.parts("key", clip, None, 2000) is None
