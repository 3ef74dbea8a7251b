"""Recordings of many formats, whole and damaged, read as the real FFmpeg reads them."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.sound_files import Reader, SoundFileError, inspect, read
from tests.rig.recordings import RATE, damage, record, truncate
from tests.rig.talk import voice
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from tests.rig.recordings import Samples

LENGTH_S = 8.0
FORMATS = [
    ("a.wav", "pcm_s16le", 8000, "mono"),
    ("a.wav", "pcm_u8", 16000, "mono"),
    ("a.wav", "pcm_s24le", 96000, "stereo"),
    ("a.wav", "pcm_f32le", 48000, "mono"),
    ("a.wav", "pcm_mulaw", 8000, "mono"),
    ("a.wav", "pcm_s16le", 48000, "5.1"),
    ("a.aiff", "pcm_s16be", 44100, "mono"),
    ("a.flac", "flac", 96000, "stereo"),
    ("a.ogg", "libopus", 48000, "mono"),
    ("a.webm", "libopus", 48000, "stereo"),
    ("a.mp3", "libmp3lame", 44100, "stereo"),
    ("a.mp3", "libmp3lame", 8000, "mono"),
    ("a.m4a", "aac", 44100, "stereo"),
    ("a.aac", "aac", 48000, "mono"),
    ("a.ts", "aac", 48000, "mono"),
    ("a.mka", "mp2", 44100, "mono"),
]


@pytest.fixture(scope="module")
def sound() -> Samples:
    return (voice(1, LENGTH_S) * 8000).astype(np.int16)


def heard(path: Path) -> tuple[Samples, list[str]]:
    reader = Reader(path)
    sound = np.concatenate(list(reader.pieces()))
    return sound, [remark.removeprefix(f"{path}: ") for remark in reader.remarks]


def begins_at(sound: Samples, part: Samples) -> float:
    """Return the second at which a part is heard in a sound, by correlation; it must be there."""
    size = len(sound) + len(part)
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(part, size))
    likeness = np.fft.irfft(spectrum, size)[: len(sound)]
    at = int(likeness.argmax())
    there = sound[at : at + len(part)].astype(float)
    wanted = part[: len(there)].astype(float)
    assert np.corrcoef(there, wanted)[0, 1] > 0.8
    return at / RATE


def second(sound: Samples, number: int) -> Samples:
    return sound[number * RATE : (number + 1) * RATE]


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_every_format_gives_the_same_sound(
    form: tuple[str, str, int, str], sound: Samples, tmp_path: Path
) -> None:
    name, codec, rate, layout = form
    path = record(tmp_path / name, sound, codec, rate=rate, layout=layout)
    found, remarks = heard(path)
    assert remarks == []
    assert len(found) / RATE == pytest.approx(LENGTH_S, abs=0.1)
    assert inspect(path).length_s == pytest.approx(LENGTH_S, abs=0.15)
    for number in (1, 6):
        assert begins_at(found, second(sound, number)) == pytest.approx(number, abs=0.1)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.webm", "libopus", 48000), ("a.mka", "flac", RATE), ("a.mp4", "aac", 48000)],
)
def test_a_track_that_joins_late_or_pauses_has_silence_there(
    name: str, codec: str, rate: int, sound: Samples, tmp_path: Path
) -> None:
    path = record(tmp_path / name, sound, codec, rate=rate, begin_s=10, gap=(4, 5))
    found, [remark] = heard(path)
    assert "time stamps nothing was recorded for 1" in remark
    assert len(found) / RATE == pytest.approx(LENGTH_S + 15, abs=0.1)
    assert inspect(path).length_s == pytest.approx(LENGTH_S + 15, abs=0.1)
    assert not found[: round(9.9 * RATE)].any()
    assert begins_at(found, second(sound, 1)) == pytest.approx(11, abs=0.05)
    assert begins_at(found, second(sound, 6)) == pytest.approx(21, abs=0.05)


def test_the_clock_of_a_broadcast_is_no_beginning(sound: Samples, tmp_path: Path) -> None:
    path = record(tmp_path / "a.ts", sound, "aac", rate=48000, begin_s=20_000, gap=(4, 5))
    found, _ = heard(path)
    assert len(found) / RATE == pytest.approx(LENGTH_S + 5, abs=0.1)


@pytest.mark.parametrize("begin_s", [1.7e9, -5.0])
def test_time_stamps_of_another_clock_are_not_followed(
    begin_s: float, sound: Samples, tmp_path: Path
) -> None:
    path = record(tmp_path / "a.mka", sound, "flac", begin_s=begin_s)
    found, _ = heard(path)
    assert len(found) / RATE == pytest.approx(LENGTH_S, abs=0.1)


def test_what_was_recorded_live_has_a_length(sound: Samples, tmp_path: Path) -> None:
    path = record(tmp_path / "a.webm", sound, "libopus", rate=48000, begin_s=3, live="1")
    assert inspect(path).length_s == pytest.approx(LENGTH_S + 3, abs=0.1)


def test_an_offset_is_taken_out_and_silence_stays_silent(sound: Samples, tmp_path: Path) -> None:
    faint = sound // 100 + np.int16(600)
    path = record(tmp_path / "a.mka", faint, "flac", gap=(4, 5))
    found, _ = heard(path)
    assert abs(found.mean()) < 1
    assert not found[round(4.2 * RATE) : round(8.9 * RATE)].any()
    assert np.abs(found).max() < 150


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44100),
        ("a.mp4", "aac", 48000),
        ("a.mka", "flac", RATE),
        ("a.webm", "libopus", 48000),
        ("a.ts", "aac", 48000),
        ("a.ogg", "libopus", 48000),
    ],
)
def test_of_a_damaged_file_the_rest_is_read_and_stands_where_it_did(
    name: str, codec: str, rate: int, sound: Samples, tmp_path: Path
) -> None:
    path = damage(record(tmp_path / name, sound, codec, rate=rate), 0.5, 0.53)
    found, remarks = heard(path)
    assert begins_at(found, second(sound, 1)) == pytest.approx(1, abs=0.1)
    assert begins_at(found, second(sound, 6)) == pytest.approx(6, abs=0.15)
    assert len(remarks) <= 1  # some decoders hide the damage


def test_the_damage_is_said_with_its_place_and_length(sound: Samples, tmp_path: Path) -> None:
    path = damage(record(tmp_path / "a.mp3", sound, "libmp3lame"), 0.5, 0.6)
    _, [remark] = heard(path)
    said = re.fullmatch(r"damaged: could not be read for ([\d.]+) s, at ([\d.]+) s", remark)
    assert said
    assert float(said[1]) == pytest.approx(1, abs=0.4)
    assert float(said[2]) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize(("name", "codec"), [("a.mka", "flac"), ("a.flac", "flac")])
def test_of_a_truncated_file_the_beginning_is_read(
    name: str, codec: str, sound: Samples, tmp_path: Path
) -> None:
    path = truncate(record(tmp_path / name, sound, codec), 0.6)
    found, [remark] = heard(path)
    length_s = len(found) / RATE
    assert 3 < length_s < 7
    assert remark == (
        f"damaged: could not be read for {LENGTH_S - length_s:.2f} s, at {length_s:.1f} s"
    )
    assert begins_at(found, second(sound, 1)) == pytest.approx(1, abs=0.05)


def test_rate_and_channels_may_change_in_mid_file(sound: Samples, tmp_path: Path) -> None:
    parts = [
        record(tmp_path / "1.mp3", sound[: 4 * RATE], "libmp3lame", rate=44100, layout="stereo"),
        record(tmp_path / "2.mp3", sound[4 * RATE :], "libmp3lame", rate=48000),
    ]
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found, _ = heard(path)
    assert begins_at(found, second(sound, 1)) == pytest.approx(1, abs=0.1)
    assert begins_at(found, second(sound, 6)) == pytest.approx(6, abs=0.2)


def test_two_channels_that_cancel_each_other_are_heard(sound: Samples, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.stack([sound, -sound], axis=1), RATE)
    found, [remark] = heard(path)
    assert begins_at(found, second(sound, 1)) == 1
    assert "cancel each other" in remark


def test_a_title_of_any_encoding_and_any_name(
    sound: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a path with folders is never taken for an address
    title = "Réunion".encode("latin-1")
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title + b"\0" * (len(title) % 2)
    content = write_wav(tmp_path / "a.wav", sound, RATE).read_bytes()
    chunk = b"LIST" + len(info).to_bytes(4, "little") + info
    path = Path("http:10%20é 12:30.wav")
    path.write_bytes(content[:36] + chunk + content[36:])
    assert len(heard(path)[0]) == len(sound)
    assert inspect(path).length_s == LENGTH_S


def test_of_a_video_the_first_sound_track_is_read(sound: Samples, tmp_path: Path) -> None:
    path = record(tmp_path / "a.mkv", sound, "flac", video=True, tracks=2)
    assert inspect(path).tracks == 2
    assert begins_at(heard(path)[0], second(sound, 6)) == 6


@pytest.mark.parametrize("length", [1, 3, 100])
def test_a_very_short_file_is_read(length: int, sound: Samples, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", sound[:length], RATE)
    assert len(heard(path)[0]) == length


def test_what_is_no_recording_is_refused_by_name(sound: Samples, tmp_path: Path) -> None:
    nothing, text, headless = tmp_path / "nothing", tmp_path / "a.wav", tmp_path / "b.wav"
    nothing.touch()
    text.write_text("no sound\n" * 100, encoding="utf-8")
    write_wav(headless, sound[:0], RATE)
    slow = write_wav(tmp_path / "slow.wav", sound, 1)
    fast = write_wav(tmp_path / "fast.wav", sound, 1_900_000_000)
    picture = record(tmp_path / "a.mp4", sound, "aac", rate=48000, video=True, tracks=0)
    for path, reason in [
        (nothing, "is empty (0 bytes)"),
        (text, "cannot be read as sound"),
        (headless, "its sound is missing"),
        (slow, "its sound cannot be read"),
        (fast, "its sound cannot be read"),
        (picture, "has no sound"),
        (tmp_path, "is not a file"),
        (Path("/dev/null"), "is not a file"),
        (tmp_path / "missing.wav", "cannot be read as sound: No such file"),
    ]:
        with pytest.raises(SoundFileError, match=reason.replace("(", r"\(").replace(")", r"\)")):
            list(read(path))


def test_a_playlist_fetches_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        path = tmp_path / "a.m3u8"
        head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(f"{head}{url}\n#EXT-X-ENDLIST\n", encoding="utf-8")
        with pytest.raises(SoundFileError):
            list(read(path))
        with pytest.raises(TimeoutError):
            server.accept()
