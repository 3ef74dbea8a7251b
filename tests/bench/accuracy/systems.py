"""Ways from the tracks of a meeting to a transcript, all with the same Whisper model."""

from __future__ import annotations

import functools
import importlib.metadata
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.corrected import corrected
from tests.bench.accuracy.node_way import LANGUAGES, THREADS, Account, Line, transcript
from tests.bench.accuracy.store import digest, files_digest
from tests.bench.accuracy.without import PIECES, without
from tests.bench.listening import Listener, loaded
from tests.bench.texts import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from node.adapters.whisper import Engine
    from node.core.room.endpointing import Samples
    from node.core.room.room import Mode
    from tests.bench.accuracy.meeting import Sound
    from tests.bench.accuracy.scene import Scene
    from tests.bench.accuracy.store import Store

    System = Callable[["Scene", "Store", Path], Account]
    Transcriber = Callable[["Scene", Path], list[Line]]

ORACLE = "oracle"
"""It is given what was said, so it has nothing to do where nothing was."""

OURS: Final = "drop"
"""What is looked at closely: the mode that `crosstalk.mode` has by default."""

BEST_MIC = "best-mic"

CORRECTED = "drop-corrected"

ENGINE = (
    "node/adapters/whisper/*.py",
    "node/core/text/*.py",
    "node/core/model.py",
    "node/service/transcribing/segments.py",
    "tests/bench/listening.py",
)


def node(mode: Mode, scene: Scene, store: Store, model: Path) -> Account:
    """The node's own way, from samples to transcript."""
    key = f"{scene.key}-{mode}-{digest(_node_version(), _model_version(model))}"
    kept = store.value(key, lambda: _timed(lambda: transcript(scene.recording.tracks, mode, model)))
    return _own_account(kept)


def corrected_node(scene: Scene, store: Store, model: Path) -> Account:
    """The node's own way with the clocks corrected in steps, as the service does."""
    code = files_digest("tests/bench/accuracy/corrected.py")
    key = f"{scene.key}-{CORRECTED}-{digest(_node_version(), code, _model_version(model))}"
    recording = scene.recording
    tracks, corrections = corrected(recording.tracks, recording.drifts_ppm)
    kept = store.value(
        key, lambda: _timed(lambda: transcript(tracks, OURS, model, corrections=corrections))
    )
    return _own_account(kept)


def node_without(piece: str, scene: Scene, store: Store, model: Path) -> Account:
    """The same with one piece of it left out."""
    code = files_digest("tests/bench/accuracy/without.py")
    key = f"{scene.key}-no-{piece}-{digest(_node_version(), code, _model_version(model))}"
    with without(piece):
        tracks = scene.recording.tracks
        kept = store.value(key, lambda: _timed(lambda: transcript(tracks, OURS, model)))
    return _own_account(kept)


def _own_account(kept: dict[str, Any]) -> Account:
    set_aside = [(mic, start, end, owner) for mic, start, end, owner in kept["set_aside"]]
    return replace(_account(kept), set_aside=set_aside, lags_s=kept["lags_s"])


def _kept(name: str, version: Callable[[], str], make: Transcriber) -> System:
    """Return a system that reports nothing but its lines."""

    def system(scene: Scene, store: Store, model: Path) -> Account:
        # The oracle never hears the room, so one answer is valid for every bleed.
        known = scene.said_key if name == ORACLE else scene.key
        key = f"{known}-{name}-{digest(version(), _model_version(model))}"
        kept = store.value(key, lambda: _timed(lambda: Account(make(scene, model))))
        return _account(kept)

    return system


def _timed(make: Callable[[], Account]) -> dict[str, Any]:
    """Return an account to cache, with its processor time."""
    begun = time.process_time()
    account = make()
    return asdict(replace(account, took_s=time.process_time() - begun))


def _account(kept: dict[str, Any]) -> Account:
    return Account([Line(**line) for line in kept["lines"]], took_s=kept["took_s"])


def oracle(scene: Scene, model: Path) -> list[Line]:
    """Transcribe each sentence clean, after the speaker's last ones, under its true name."""
    listener = Listener(_engine(model))
    texts = [
        listener.hear(str(s.speaker), round(s.start * SAMPLE_RATE), _as_int16(s.sound)).text
        for s in scene.said
    ]
    both = zip(scene.said, texts, strict=True)
    return [Line(said.speaker, said.start, said.end, text) for said, text in both if text]


def blocks(seconds: int, scene: Scene, model: Path) -> list[Line]:
    """Transcribe as the prototype did: blocks of fixed length of every track, one by one."""
    size, tracks = seconds * SAMPLE_RATE, scene.recording.tracks
    return [
        line
        for begin in range(0, tracks.shape[1], size)
        for mic, track in enumerate(tracks)
        for line in _faster_whisper(
            model, mic, track[begin : begin + size], begin, vad_filter=False
        )
    ]


def vad_filter(scene: Scene, model: Path) -> list[Line]:
    """Run faster-whisper with its own voice activity detection on every whole track."""
    return _each_with_vad(scene.recording.tracks, model)


def _each_with_vad(tracks: npt.NDArray[np.int16], model: Path) -> list[Line]:
    lines = [
        line
        for mic, track in enumerate(tracks)
        for line in _faster_whisper(model, mic, track, 0, vad_filter=True)
    ]
    return sorted(lines, key=lambda line: line.start)


def auxiva(scene: Scene, model: Path) -> list[Line]:
    """Separate all tracks blindly, then run faster-whisper with its detection on each."""
    from tests.bench.accuracy.separation import separated  # noqa: PLC0415  (slow to import)

    apart = separated(scene.recording.tracks)
    return _each_with_vad(apart, model)


def best_mic(scene: Scene, store: Store, model: Path) -> Account:
    """Return the one microphone, of those `vad` transcribed, with the most correct words.

    It knows no names.
    """
    account = _vad(scene, store, model)
    said = " ".join(spoken.text for spoken in scene.said)
    mics = range(len(scene.recording.tracks))
    heard = [[line for line in account.lines if line.speaker == mic] for mic in mics]
    best = min(heard, key=lambda lines: errors(said, " ".join(line.text for line in lines)).wrong)
    return Account(best, took_s=account.took_s / len(mics))


def recognised(sound: Sound, model: Path) -> str:
    """Return what the node's engine makes of an utterance, floats in [-1, 1]."""
    return _engine(model).transcribe(Clip(_as_int16(sound))).text


def _as_int16(sound: Sound) -> Samples:
    return np.round(sound * 32767).astype(np.int16)


@functools.cache
def _node_version() -> str:
    return files_digest("node/**/*.py")


@functools.cache
def _model_version(model: Path) -> str:
    return digest(*(file.read_bytes() for file in sorted(model.iterdir()) if file.is_file()))


def _peer_version() -> str:
    return importlib.metadata.version("faster-whisper")


def _separator_version() -> str:
    code = files_digest("tests/bench/accuracy/separation.py")
    return digest(_peer_version(), importlib.metadata.version("pyroomacoustics"), code)


_vad = _kept("vad", _peer_version, vad_filter)

SYSTEMS: dict[str, System] = {
    ORACLE: _kept(ORACLE, lambda: files_digest(*ENGINE), oracle),
    OURS: functools.partial(node, "drop"),
    "off": functools.partial(node, "off"),
    "blocks30": _kept("blocks30", _peer_version, functools.partial(blocks, 30)),
    "blocks15": _kept("blocks15", _peer_version, functools.partial(blocks, 15)),
    "vad": _vad,
    "auxiva": _kept("auxiva", _separator_version, auxiva),
    BEST_MIC: best_mic,
    CORRECTED: corrected_node,
    **{f"no-{piece}": functools.partial(node_without, piece) for piece in PIECES},
}
"""By their names on the command line."""

MEANT = {
    ORACLE: "each sentence clean, under its name",
    "drop, off": "this node, by its crosstalk.mode",
    "blocks30, blocks15": "faster-whisper on blocks of 30 and 15 s",
    "vad": "faster-whisper with its VAD on every track",
    "auxiva": "the same after blind separation",
    BEST_MIC: "the same on the one best microphone, without names",
    CORRECTED: "`drop`, with the clocks' drift taken out in steps, as in the service",
    f"no-{', no-'.join(PIECES)}": "`drop` with that piece left out",
}
"""Their descriptions, for the command line."""

NAMELESS = (BEST_MIC,)
"""Those that say what was said, but not who said it."""

DEFAULT_SYSTEMS = tuple(
    name for name in SYSTEMS if name not in ("blocks15", CORRECTED) and not name.startswith("no-")
)
QUICK_SYSTEMS = (ORACLE, OURS, "off")


@functools.cache
def _engine(model: Path) -> Engine:
    return loaded(model, LANGUAGES, THREADS)


@functools.cache
def _plain_model(model: Path) -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415  (slow to import)

    return WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=THREADS)


def _faster_whisper(
    model: Path, mic: int, sound: Samples, begin: int, *, vad_filter: bool
) -> list[Line]:
    samples = sound.astype(np.float32) / 32768
    segments, _ = _plain_model(model).transcribe(samples, vad_filter=vad_filter)
    zero = begin / SAMPLE_RATE
    return [Line(mic, zero + s.start, zero + s.end, s.text.strip()) for s in segments]
