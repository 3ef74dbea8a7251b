"""What each microphone of a simulated room records.

Every speaker has their own microphone at 0.4 m. Paths are image-source impulse responses of a
shoebox room; those to the other microphones are scaled to the requested bleed, so the bleed is as
the table says and has a room's reverberation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyroomacoustics
import soxr
from scipy.signal import fftconvolve, lfilter

from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.setting import draw

if TYPE_CHECKING:
    import numpy.typing as npt

    from tests.bench.accuracy.meeting import Sound, Spoken
    from tests.bench.accuracy.setting import Acoustics, Setting

ROOM_M = (6.0, 5.0, 2.8)
TABLE_M = (3.0, 2.5)
REACH_M = 0.4
MARGIN_S = 1.5


@dataclass(frozen=True, slots=True)
class Recording:
    """What was captured.

    `tracks` has shape (microphones, samples), int16 at 16 kHz; `delays_s` and `drifts_ppm`
    (microphones): how late and how fast their clocks are;
    `levels_db` (sentences, microphones): the level of each sentence alone in dB below full scale;
    `noise_db` (microphones): the noise level of the room and the device.
    """

    tracks: npt.NDArray[np.int16]
    delays_s: npt.NDArray[np.float64]
    drifts_ppm: npt.NDArray[np.float64]
    levels_db: npt.NDArray[np.float64]
    noise_db: npt.NDArray[np.float64]


def record(said: list[Spoken], speakers: int, acoustics: Acoustics, seed: int) -> Recording:
    """Record a meeting; a seed gives the same noise and other random values for any bleed."""
    setting = draw(speakers, acoustics, seed)
    length = round((max(spoken.end for spoken in said) + MARGIN_S) * SAMPLE_RATE)
    paths = _paths(setting)
    tracks = np.zeros((speakers, length), np.float32)
    powers = [_add_voice(tracks, s, paths[s.speaker], setting.loudness[s.speaker]) for s in said]
    rng = np.random.default_rng((seed, 1))  # another than the setting's
    noise = np.zeros_like(tracks)
    _add_noise(noise, acoustics, rng)
    each = zip(*(tracks + noise, setting.gains, setting.delays_s, setting.drifts_ppm), strict=True)
    heard = [_captured(track * gain, delay, drift, rng) for track, gain, delay, drift in each]
    noise_power = np.square(noise * setting.gains[:, None]).mean(axis=1)
    levels_db = _db(np.array(powers) * setting.gains**2)
    clocks = (setting.delays_s, setting.drifts_ppm)
    return Recording(np.stack(heard), *clocks, levels_db, _db(noise_power))


def _db(power: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    level: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-10))
    return level


def _paths(setting: Setting) -> list[list[Sound]]:
    """Return impulse responses [speaker][microphone]; direct sound at the own one has level 1."""
    absorption, order = pyroomacoustics.inverse_sabine(setting.rt60_s, ROOM_M)
    room = pyroomacoustics.ShoeBox(
        ROOM_M,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(order, 12),
    )
    speakers = len(setting.angles)
    ring = np.stack([np.cos(setting.angles), np.sin(setting.angles)])
    centre = np.array(TABLE_M)[:, None]
    mouths = np.vstack([centre + 1.2 * ring, np.full(speakers, 1.2)])
    mics = np.vstack([centre + (1.2 - REACH_M) * ring, np.full(speakers, 1.0)])
    for mouth in mouths.T:
        room.add_source(mouth)
    room.add_microphone_array(mics)
    room.compute_rir()
    return [_scaled(room.rir, speaker, setting) for speaker in range(speakers)]


def _scaled(rir: list[list[Sound]], speaker: int, setting: Setting) -> list[Sound]:
    paths = []
    for mic, heard in enumerate(rir):
        path = heard[speaker] / np.sqrt(np.sum(np.square(heard[speaker])))
        if mic != speaker and setting.bleeds_db is None:
            path = np.zeros(1)
        elif mic != speaker and setting.bleeds_db is not None:
            path = path * 10 ** (setting.bleeds_db[speaker, mic] / 20)
        paths.append(path.astype(np.float32))
    return paths


def _add_voice(tracks: Sound, spoken: Spoken, paths: list[Sound], loudness: float) -> list[float]:
    """Add a sentence to every microphone; return its mean power in each."""
    begin = round(spoken.start * SAMPLE_RATE)
    powers = []
    for track, path in zip(tracks, paths, strict=True):
        heard = fftconvolve(spoken.sound * (0.3 * loudness), path)[: len(track) - begin]
        track[begin : begin + len(heard)] += heard
        powers.append(float(np.square(heard).sum() / len(spoken.sound)))
    return powers


def _add_noise(tracks: Sound, acoustics: Acoustics, rng: np.random.Generator) -> None:
    """Add a fan that all microphones hear, and somebody typing near one of them."""
    length = tracks.shape[1]
    for mic in range(len(tracks)):
        hum = lfilter([1.0], [1.0, -0.95], rng.standard_normal(length))
        tracks[mic] += (hum / hum.std() * 10 ** (acoustics.fan_db / 20)).astype(np.float32)
    if not acoustics.keyboard:
        return
    near = rng.integers(len(tracks))
    for begin in rng.integers(0, length - SAMPLE_RATE, max(1, length // (2 * SAMPLE_RATE))):
        knock = rng.standard_normal(800) * np.exp(-np.arange(800) / rng.uniform(20, 120)) * 0.03
        for mic, track in enumerate(tracks):
            track[begin : begin + 800] += (knock * (1.0 if mic == near else 0.25)).astype(
                np.float32
            )


def _captured(
    track: Sound, delay_s: float, drift_ppm: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Add a constant delay, the drift of a crystal that is slightly off, and device noise."""
    length = len(track)
    late = np.pad(track, (round(delay_s * SAMPLE_RATE), 0), mode="reflect")
    drifted = soxr.resample(late, SAMPLE_RATE, SAMPLE_RATE * (1 + drift_ppm * 1e-6))
    fitted = np.pad(drifted, (0, max(0, length - len(drifted))))[:length]
    noisy = fitted + rng.standard_normal(length) * 10 ** (-78 / 20)
    return np.clip(np.round(noisy * 32767), -32768, 32767).astype(np.int16)
