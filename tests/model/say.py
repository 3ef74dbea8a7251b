"""A sentence as samples, for tests that need real speech."""

import numpy as np
import numpy.typing as npt

from config.demo.speech import synthesise, to_int16, write_wav

__all__ = ["say", "write_wav"]

DEFAULT_VOICES = {"en": "en-us", "fr": "fr-fr"}


def say(
    text: str,
    language: str,
    voice: str | None = None,
    rate: int = 16000,
    *,
    speed: int = 165,
    pitch: int = 50,
) -> npt.NDArray[np.int16]:
    """Speak `text` at a peak of -6 dBFS, without silence around it; the result has shape (n,).

    `speed` is in words a minute, `pitch` from 0 to 99, `rate` in Hz. Without a `voice` the plain
    one of the `language` ("en" or "fr") speaks. Errors are those of `config.demo.speech`.
    """
    spoken_by = voice or DEFAULT_VOICES[language]
    return to_int16(synthesise(text, spoken_by, speed=speed, pitch=pitch, rate=rate))
