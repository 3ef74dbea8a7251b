"""Transcribe every sentence of sentences.py: python -m tests.model.check_sentences [MODEL].

Exits with 1 if a text or a language is not exactly right.
"""

import sys

import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel

from tests.model.say import say
from tests.model.sentences import SENTENCES, Sentence

RATE = 16000  # Hz
BEFORE_S, AFTER_S = 0.3, 0.5  # silence


def padded_speech(sentence: Sentence) -> npt.NDArray[np.float32]:
    samples = say(sentence.text, sentence.language, sentence.voice, RATE)
    silence = round(BEFORE_S * RATE), round(AFTER_S * RATE)
    return np.pad(samples.astype(np.float32) / 32768, silence)


def is_exact(model: WhisperModel, sentence: Sentence, *, timestamps: bool) -> bool:
    segments, info = model.transcribe(
        padded_speech(sentence),
        beam_size=5,
        condition_on_previous_text=False,
        without_timestamps=not timestamps,
    )
    text = " ".join(segment.text.strip() for segment in segments)
    exact = (info.language, text) == (sentence.language, sentence.text)
    if not exact:
        print(f"{sentence.voice}: '{sentence.text}' became '{text}' ({info.language})")
    return exact


def main() -> int:
    folder = sys.argv[1] if len(sys.argv) > 1 else "config/demo/model"
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)
    runs = [(sentence, timestamps) for sentence in SENTENCES for timestamps in (False, True)]
    exact = sum(is_exact(model, sentence, timestamps=timed) for sentence, timed in runs)
    print(f"{exact} of {len(runs)} exact")
    return int(exact < len(runs))


if __name__ == "__main__":
    sys.exit(main())
