"""A minute of speech without a pause: judged by the sound that reaches the engine.

The demonstration model is weak on dense speech, so its words say nothing here; with
`storage.keep_audio` every stretch handed to it is kept, and must tile what was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.model.say import say
from tests.model.sentences import SENTENCES
from tests.rig.node import Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

    Samples = npt.NDArray[np.int16]

RATE = 16000
SPEECH_S = 60


def unbroken_speech() -> Samples:
    """Sentences run into one another: the silence around each is cut off."""
    words = [_trimmed(say(s.text, s.language, s.voice)) for s in SENTENCES]
    whole = np.concatenate(words)
    assert len(whole) >= SPEECH_S * RATE
    return whole[: SPEECH_S * RATE]


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 300)
    return samples[loud[0] : loud[-1]]


def _place(part: Samples, whole: Samples) -> tuple[int, float]:
    """Where `part` lies in `whole`, and how alike they are there (1: the same)."""
    size = 1 << (len(whole) + len(part)).bit_length()
    a, b = whole.astype(np.float64), part.astype(np.float64)
    product = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    shift = int(np.argmax(product))
    shift = shift if shift < len(whole) else shift - size
    there = whole[max(shift, 0) : shift + len(part)].astype(np.float64)
    here = b[max(-shift, 0) :][: len(there)]
    return shift, float(here @ there / np.sqrt((here @ here) * (there @ there)))


def test_a_minute_of_unbroken_speech_reaches_the_engine_whole(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    speech = unbroken_speech()
    with VirtualMics([VirtualMic("desk")]) as mics:
        config = configuration(tmp_path, broker.port, ["desk"], storage={"keep_audio": True})
        config["storage"]["path"] = str(tmp_path / "storage")
        with RunningNode(tmp_path, config, mics.env) as node:
            room = Room(node.wait_online(watcher), mics, watcher)
            room.start(desk="Alice")
            player = mics.play("desk", speech, RATE)
            wait_until(lambda: player.poll() is not None, 90, "all has been said")
            room.stop()
    kept = sorted((tmp_path / "storage" / "audio").glob("*.s16le"))
    parts = [np.fromfile(file, "<i2") for file in kept]
    assert len(parts) >= 3, "a minute does not fit into two windows of 28 s"
    assert all(len(part) <= 28.5 * RATE for part in parts)
    places = [_place(part, speech) for part in parts]
    assert all(alike > 0.95 for _, alike in places), places
    starts = [shift for shift, _ in places]
    ends = [shift + len(part) for (shift, _), part in zip(places, parts, strict=True)]
    assert starts[0] <= 0.05 * RATE
    assert ends[-1] >= len(speech) - 0.05 * RATE
    for end, start in zip(ends, starts[1:], strict=False):
        assert abs(end - start) <= 2, "a split loses or doubles sound"
