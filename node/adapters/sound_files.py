"""Reads sound files of any format in pieces, as mono int16 at 16 kHz.

Pieces are placed by the container's time stamps: a track that joins late or has gaps gets silence
there, so that the tracks of a meeting share one timeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.resampler import Resampler
from node.core.room.front_end import Fold, HighPass
from node.core.stamps import Stamps
from node.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    Samples = npt.NDArray[np.int16]

PIECES = {"max_size": "32768"}
"""Bytes of a WAV file read at a time: a quarter of the work of FFmpeg's 4096. Others ignore it."""

FROM_ZERO = {"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}
"""FFmpeg's names of containers whose time stamps start at the beginning of the recording: a track
that begins later joined later. In others the first stamp says nothing: in MP3 it is the encoder's
delay, in MPEG-TS it can be anything."""

BARE = {"mp3", "aac", "ac3", "eac3", "amr"}
"""Formats without a container: FFmpeg guesses their length, and counts packets for time stamps."""

SHORT_S = 1.0
"""Seconds by which a file may be shorter than it says: rounding, a last packet."""

RATES = range(2000, 768_001)
"""Hz at which speech is recorded. A damaged header may say 1 Hz or 2 GHz; both would take hours."""

PLACES = 5
"""Most damaged places that are listed: enough to find them."""


class SoundFileError(NodeError):
    """A file cannot be read as sound."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file states: its length in seconds and its sound tracks."""

    length_s: float
    tracks: int


def inspect(path: Path) -> Contents:
    """Look into a file without decoding its sound.

    Raises:
        SoundFileError: it does not exist or has no sound.
    """
    try:
        with _opened(path) as container:
            # Recorded live: nobody knew the length when the header was written.
            length_s = _said_s(container) or _last_stamp_s(container)
            return Contents(length_s, len(container.streams.audio))
    except (OSError, av.error.FFmpegError) as error:
        raise _complaint(path, error) from error


def read(path: Path) -> Iterator[Samples]:
    """Yield a recording piece by piece, as `Reader` does.

    Raises:
        SoundFileError: it does not exist or has no sound that could be read.
    """
    return Reader(path).pieces()


class Reader:
    """Reads one file, once. The unreadable parts of a damaged file become silence."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamps = Stamps(None)
        self._samples = 0
        self._format: tuple[str, str, int] | None = None
        self._converter: av.AudioResampler | None = None
        self._resampler = Resampler(SAMPLE_RATE)
        self._fold = Fold()
        self._highpass = HighPass(SAMPLE_RATE)
        self._is_bare = False
        self._read_s, self._read_bytes = 0.0, 0
        self._lost_s = 0.0
        self._damage: list[tuple[float, float]] = []
        self._gaps: list[tuple[float, float]] = []
        self._problems: list[str] = []

    @property
    def remarks(self) -> list[str]:
        """Return remarks about the file once it is read, a line each."""
        remarks = []
        if self._damage:
            remarks.append(f"damaged: could not be read {_listed(self._damage)}")
        remarks += self._problems
        if self._gaps:
            remarks.append(f"by its time stamps nothing was recorded {_listed(self._gaps)}")
        if self._stamps.jumped_at:
            remarks.append(
                f"its time stamps jump at {self._stamps.jumped_at[0]:.1f} s and were not followed"
                " there: what comes after may be too early or too late"
            )
        if self._fold.cancels:
            remarks.append(
                "its two channels cancel each other out, as if one were wired the wrong way round:"
                " their difference was used, not their sum"
            )
        return [f"{self._path}: {remark}" for remark in remarks]

    def pieces(self) -> Iterator[Samples]:
        """Yield the sound: mono, at 16 kHz, without offset, with silence where there is none.

        Raises:
            SoundFileError: the file does not exist or has no sound that could be read.
        """
        try:
            with _opened(self._path) as container:
                self._stamps = Stamps(0.0 if container.format.name in FROM_ZERO else None)
                self._is_bare = container.format.name in BARE
                for frame in self._frames(container):
                    yield from self._placed(frame)
                self._look_at_the_end(container)
        except (OSError, av.error.FFmpegError) as error:
            if self._format is None:
                raise _complaint(self._path, error) from error
            self._problems.append(
                f"nothing can be read after {self._stamps.reached_s:.1f} s: {_reason(error)}"
            )
        yield from self._rest()
        if not self._samples:
            reason = "cannot be read" if self._damage else "is missing: it has no length"
            raise SoundFileError(f"{self._path}: its sound {reason}")

    def _frames(self, container: InputContainer) -> Iterator[AudioFrame]:
        """Yield what can be decoded; note the length of packets that cannot."""
        for packet in _packets(container):
            frames = _decoded(packet)
            if frames is None:
                self._lost_s += self._lost_with(packet)
                continue
            self._read_s += _length_s(packet)
            self._read_bytes += packet.size
            yield from frames

    def _lost_with(self, packet: Packet[AudioStream]) -> float:
        """Return the seconds of an unreadable packet; without a container, its size may be several.

        If packets are found only by their first bytes, damage hides those of the next ones.
        """
        if self._is_bare and self._read_bytes:
            return packet.size * self._read_s / self._read_bytes
        return _length_s(packet)

    def _placed(self, frame: AudioFrame) -> Iterator[Samples]:
        """Yield a frame's sound, after silence if its stamp says that something is missing."""
        start_s = self._stamps.reached_s
        stamp_s = None if self._is_bare else frame.time
        gap_s = self._stamps.place(stamp_s, frame.samples / frame.rate, self._lost_s)
        self._note(start_s, gap_s)
        form = (frame.format.name, frame.layout.name, frame.rate)
        if gap_s or form != self._format:
            yield from self._rest()
            self._format = form
            # To 16 bits and no other rate.
            self._converter = av.AudioResampler("s16", frame.layout, frame.rate)
            self._resampler = Resampler(frame.rate)
        if gap_s:
            yield from self._silence(round((start_s + gap_s) * SAMPLE_RATE) - self._samples)
        frame.pts = None  # otherwise the converter would fill gaps on its own
        yield from self._converted(frame)

    def _rest(self) -> Iterator[Samples]:
        """Yield what is still held back of the stretch that has ended."""
        if self._converter is not None:
            yield from self._converted(None)
            yield from self._heard(self._resampler.rest())
            self._converter = None

    def _converted(self, frame: AudioFrame | None) -> Iterator[Samples]:
        assert self._converter is not None
        for part in self._converter.resample(frame):
            channels = part.to_ndarray().reshape(-1, part.layout.nb_channels)
            folded = self._fold(channels.astype(np.int16, copy=False))
            yield from self._heard(self._resampler(folded))

    def _heard(self, samples: Samples) -> Iterator[Samples]:
        if len(samples):
            self._samples += len(samples)
            yield self._highpass(samples)

    def _silence(self, samples: int) -> Iterator[Samples]:
        """Yield silence, a second at a time: it may last for hours."""
        end = self._samples + samples
        while self._samples < end:
            piece = np.zeros(min(SAMPLE_RATE, end - self._samples), np.int16)
            self._samples += len(piece)
            yield piece

    def _note(self, start_s: float, gap_s: float) -> None:
        """Note what is missing from `start_s` on, and whether it is damage."""
        if self._lost_s:
            self._damage.append((start_s, max(gap_s, self._lost_s)))
            self._lost_s = 0.0
        elif gap_s:
            self._gaps.append((start_s, gap_s))

    def _look_at_the_end(self, container: InputContainer) -> None:
        """Note what is missing at the end: much of the file, or one unreadable packet."""
        missing_s = _said_s(container) - self._stamps.reached_s
        comparable = container.format.name in FROM_ZERO or not container.start_time
        told = comparable and not self._is_bare and not self._stamps.jumped_at
        if told and missing_s > SHORT_S:
            self._lost_s = missing_s
        self._note(self._stamps.reached_s, 0.0)


def _opened(path: Path) -> InputContainer:
    """Open a container that has sound.

    Raises:
        SoundFileError: it has none.
        OSError, av.error.FFmpegError: it cannot be read, or is not a container.
    """
    size = path.stat().st_size
    if not path.is_file():  # it is read twice, and a pipe can be read only once
        raise SoundFileError(f"{path}: is not a file")
    if not size:
        raise SoundFileError(f"{path}: is empty (0 bytes)")
    # A name with a colon can be a file too; titles may be in any encoding.
    container = av.open(f"file:{path}", options=PIECES, metadata_errors="replace")
    if not container.streams.audio:
        container.close()
        raise SoundFileError(f"{path}: has no sound")
    return container


def _packets(container: InputContainer) -> Iterator[Packet[AudioStream]]:
    """Yield the packets of the first sound track; the last one is empty and flushes the decoder."""
    stream = container.streams.audio[0]
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except IndexError:  # PyAV 18, at the end of a file that damage gave another track
            packets = container.demux(stream)


def _decoded(packet: Packet[AudioStream]) -> list[AudioFrame] | None:
    """Return the frames of a packet; None if it is damaged."""
    try:
        frames = packet.decode()
    except av.error.FFmpegError:
        return None
    return frames if all(frame.rate in RATES for frame in frames) else None


def _said_s(container: InputContainer) -> float:
    """Return the length a container states, from the beginning of the recording; 0 if it does not.

    MP4 states the length of the sound: a track that joins late ends that much later.
    """
    stream = container.streams.audio[0]
    end_s = 0.0
    if container.format.name in FROM_ZERO and stream.duration and stream.time_base:
        end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return max(end_s, (container.duration or 0) / av.time_base)


def _last_stamp_s(container: InputContainer) -> float:
    """Return when the last packet of sound ends, from the beginning of the recording, or 0."""
    first_s, last_s = (0.0 if container.format.name in FROM_ZERO else None), 0.0
    for packet in _packets(container):
        if packet.pts is not None and packet.time_base:
            stamp_s = float(packet.pts * packet.time_base)
            first_s = stamp_s if first_s is None else first_s
            last_s = max(last_s, stamp_s - first_s + _length_s(packet))
    return last_s


def _length_s(packet: Packet[AudioStream]) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))


def _listed(places: list[tuple[float, float]]) -> str:
    """Return the total seconds, and where they are."""
    where = ", ".join(f"{start:.1f} s" for start, _ in places[:PLACES])
    more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
    return f"for {sum(length for _, length in places):.2f} s, at {where}{more}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _complaint(path: Path, error: Exception) -> SoundFileError:
    return SoundFileError(f"{path}: cannot be read as sound: {_reason(error)}")
