"""A minute of speech without a pause: judged by the sound that reaches the engine.

The demo's model is weak on dense speech, so its words are not checked; with
`storage.keep_audio` every stretch handed to it is kept, and must tile what was said.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.model.say import say
from tests.model.sentences import SENTENCES
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.patience import stretched
from tests.rig.processes import wait_until
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

    Samples = npt.NDArray[np.int16]

RATE = 16000
SPEECH_S = 60
QUIET_S = 2.0
"""Before the speech, for the recorder to start in, and after it."""
SEATED = {"assignments": [{"mic": "desk", "speaker": "Alice"}]}


def unbroken_speech() -> Samples:
    """Sentences run into one another: the silence around each is cut off."""
    words = [_trimmed(say(s.text, s.language, s.voice)) for s in SENTENCES]
    whole = np.concatenate(words)
    assert len(whole) >= SPEECH_S * RATE
    return whole[: SPEECH_S * RATE]


def _trimmed(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 300)
    return samples[loud[0] : loud[-1]]


def taped(folder: Path, sound: Samples) -> dict[str, Any]:
    """A recorder that plays it once: virtual microphones have holes where they are starved."""
    file = write_wav(folder / "speech.wav", sound, RATE)
    return {"source": "files", "devices": [], "files": [{"mic": "desk", "file": str(file)}]}


def kept(storage: Path) -> list[Path]:
    return sorted((storage / "audio").glob("*.s16le"))


def samples_kept(storage: Path) -> int:
    return sum(file.stat().st_size for file in kept(storage)) // 2


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
    speech, storage = unbroken_speech(), tmp_path / "storage"
    around = np.zeros(round(stretched(QUIET_S) * RATE), np.int16)
    tape = np.concatenate([around, speech, around])
    config = configuration(tmp_path, broker.port, [], audio=taped(tmp_path, tape))
    config["storage"] = {"path": str(storage), "keep_audio": True}
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        assert watcher.request(TOPIC, "session/start", SEATED)["status"] == "ok"
        over = time.monotonic() + len(tape) / RATE
        wait_until(
            lambda: time.monotonic() > over and samples_kept(storage) >= len(speech),
            2 * len(tape) / RATE,
            "all has been said and kept",
        )
        assert watcher.request(TOPIC, "session/stop", timeout=60)["status"] == "ok"
    parts = [np.fromfile(file, "<i2") for file in kept(storage)]
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
