"""Speak conversation.yaml into one file per microphone: python -m config.demo.make_recordings.

The same espeak-ng makes the same files each time. reference.json holds each utterance with the
time its speech actually ends; the demo and the tests compare transcripts with it.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict

from config.demo.speech import synthesise, to_int16, write_wav

FOLDER = Path(__file__).parent
RATE = 16000  # Hz
NOISE = 10 ** (-65 / 20)  # RMS of -65 dBFS: a quiet room; no real mic gives digital silence
SEED = 20


class Utterance(BaseModel):
    """A sentence of the conversation; `start` is in seconds, `speed` in words per minute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speaker: str
    mic: str
    language: str
    voice: str
    speed: int
    pitch: int
    start: float
    text: str


def load_conversation() -> tuple[float, list[Utterance]]:
    """Return the length of the recordings in seconds, and the utterances in order of time."""
    content = yaml.safe_load((FOLDER / "conversation.yaml").read_text(encoding="utf-8"))
    utterances = [Utterance.model_validate(entry) for entry in content["utterances"]]
    return content["duration"], sorted(utterances, key=lambda utterance: utterance.start)


def main() -> None:
    duration, utterances = load_conversation()
    mics = sorted({utterance.mic for utterance in utterances})
    tracks = {mic: _room_noise(SEED + i, duration) for i, mic in enumerate(mics)}
    free_from = dict.fromkeys(mics, 0)
    reference = []
    for utterance in utterances:
        speech = _speak(utterance)
        begin = round(utterance.start * RATE)
        end = begin + len(speech)
        if begin < free_from[utterance.mic] or end > len(tracks[utterance.mic]):
            raise ValueError(
                f"conversation.yaml: '{utterance.text}' at {utterance.start} s does not fit "
                f"between the sentence before it on {utterance.mic} and the end; change its start"
            )
        free_from[utterance.mic] = end
        tracks[utterance.mic][begin:end] += speech
        reference.append(_reference_entry(utterance, end / RATE))
    for mic, samples in tracks.items():
        write_wav(FOLDER / f"{mic}.wav", to_int16(samples), RATE)
    _write_reference(reference)


def _room_noise(seed: int, duration: float) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).standard_normal(round(duration * RATE), dtype=np.float32)
    return (noise * NOISE).astype(np.float32)


def _speak(utterance: Utterance) -> npt.NDArray[np.float32]:
    return synthesise(
        utterance.text,
        utterance.voice,
        speed=utterance.speed,
        pitch=utterance.pitch,
        rate=RATE,
    )


def _reference_entry(utterance: Utterance, end: float) -> dict[str, str | float]:
    told = utterance.model_dump(include={"speaker", "mic", "language", "start"})
    return told | {"end": round(end, 3), "text": utterance.text}


def _write_reference(entries: list[dict[str, str | float]]) -> None:
    content = json.dumps(entries, ensure_ascii=False, indent=2)
    (FOLDER / "reference.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
