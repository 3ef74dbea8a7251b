"""From sound to an encoding: the window, what was said before, and the language.

An utterance is encoded in a window fitted to it, or in a wider one that starts with what its
speaker said just before. Language, text and word times all come from that one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters.whisper.decoding import MAX_PREFIX, DecodeRequest
from node.adapters.whisper.opening import hears_alone
from node.core.model import SAMPLE_RATE
from node.core.text.context import as_sentence, gone_on_from, newest_fitting
from node.core.text.languages import UNSPACED
from node.core.text.prior import calibrated, weighed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from node.adapters.whisper.decoding import Decoder
    from node.adapters.whisper.opening import EngineSettings
    from node.core.text.context import Earlier
    from node.core.text.prior import Prior

    Features = npt.NDArray[np.float32]

MEL_HOP = 160
"""Samples in one mel frame (10 ms)."""

FULL_WINDOW = 3000
FLOOR_WINDOW = 1000
WINDOW_MARGIN = 200
"""Mel frames: Whisper's window, the shortest one used here, and the margin after the sound.

10 s and 2 s lost nothing on 26 clips in handy-computer/transcribe.cpp #149. The floor also avoids
windows of 159 and 160 frames, whose encoding CTranslate2 would take for mel.
"""

CONTEXT_WINDOW = 1500
"""Mel frames that an utterance and what was said before it may fill together."""

SHORT = 400
"""Mel frames (4 s): a longer utterance has enough context of its own.

Word error rate on 4,500 words of some 45 voices, English and French, alone and after what was said
before: 23.3 % and 19.4 % below 4 s, 17.4 % and 17.4 % above.
"""

SAME_LANGUAGE = 0.8
"""Probability from which an utterance is in the language of the speech before it.

It is that of the utterance's part of the common encoding, which also knows the earlier speech: of
256 utterances in the same language one had less, of 44 in another language three had more.
"""

TRAILING_SILENCE = SAMPLE_RATE // 2
"""Zeros appended to every utterance: without them Whisper drops last words (pipecat #5621)."""

MIN_PROBABILITY = 1e-9
"""Of a language: if a model gives the allowed ones no probability at all, they become equal."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An utterance of at most 29 s, and what is known about it.

    Attributes:
        samples: int16 at 16 kHz, one dimension.
        language: Whisper's code, or None to find it among the configured languages.
        prior: the expected language, weighed with what is detected.
        hotwords: words to listen for besides the configured ones.
        overlapped: somebody else speaks meanwhile: the transcript needs word times, even if they
            are not configured.
        earlier: what the speaker said just before, oldest first.
    """

    samples: npt.NDArray[np.int16]
    language: str | None = None
    prior: Prior | None = None
    hotwords: str | None = None
    overlapped: bool = False
    earlier: tuple[Earlier, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """An utterance encoded over a window of `width` mel frames, and how to decode it."""

    clip: Clip
    width: int
    encoding: Any
    probability: float
    request: DecodeRequest
    earlier: list[Earlier] = field(default_factory=list)


class Encoder:
    """Encodes sound with a `faster_whisper.WhisperModel`."""

    def __init__(self, whisper: Any, settings: EngineSettings, decoder: Decoder) -> None:
        self._whisper = whisper
        self._settings = settings
        self._decoder = decoder
        self._hears_alone = hears_alone(settings)

    def alone(self, clip: Clip, beam_size: int, *, full: bool = False) -> Look:
        """Encode an utterance by itself, in a window fitted to it or in Whisper's whole window."""
        features = self.features(clip.samples)
        width = FULL_WINDOW if full else _width(features.shape[1])
        encoding = self._encode(features, width)
        shares = weighed(self._shares(encoding, clip.language), clip.prior)
        code = max(shares, key=shares.__getitem__)
        request = DecodeRequest(code, features.shape[1], beam_size, clip.hotwords)
        return Look(clip, width, encoding, shares[code], request)

    def full(self, look: Look) -> Look:
        """Encode the utterance again, in the same language, alone in Whisper's whole window."""
        encoding = self._encode(self.features(look.clip.samples), FULL_WINDOW)
        request = replace(look.request, lead=0, before="")
        return replace(look, encoding=encoding, request=request, width=FULL_WINDOW, earlier=[])

    def behind(self, clip: Clip, beam_size: int) -> Look | None:
        """Encode an utterance after what its speaker said before.

        Returns None if nothing fits, or if that was in another language: of two languages in one
        window, Whisper writes only one.
        """
        earlier = [] if self._hears_alone else heard_before(clip)
        if not earlier:
            return None
        code, last = earlier[-1].language, gone_on_from(earlier)
        spaced = code not in UNSPACED
        before = " ".join(as_sentence(utterance.text, spaced=spaced) for utterance in last)
        if len(self._decoder.prefix(code, before)) > MAX_PREFIX:
            return None
        heard, lead = (_lead(each) for each in (earlier, last))
        sound = [utterance.samples for utterance in earlier]
        features = self.features(np.concatenate([*sound, clip.samples]))
        width = _width(features.shape[1])
        encoding = self._encode(features, width)
        mels, length = features.shape
        own = _part(encoding, heard // 2, length // 2, mels)
        shares = self._shares(own, clip.language)
        if shares.get(code, 0.0) < SAME_LANGUAGE:
            return None
        frames = length - heard
        request = DecodeRequest(code, frames, beam_size, clip.hotwords, lead, before)
        decoded = _part(encoding, (heard - lead) // 2, width // 2, mels)
        probability = weighed(shares, clip.prior)[code]
        return Look(clip, width, decoded, probability, request, earlier)

    def features(self, samples: npt.NDArray[np.int16]) -> Features:
        """Return log mel frames of the sound and a little silence, of shape (mels, frames)."""
        padded = np.pad(samples.astype(np.float32) / 32768, (0, TRAILING_SILENCE))
        frames: Features = self._whisper.feature_extractor(padded)
        return frames[:, : _frames(len(samples))]

    def _encode(self, features: Features, width: int) -> Any:
        """Encode features of shape (mels, frames), padded to `width` frames with silence.

        Silence is the floor of the log spectrum, as in Whisper's own feature extraction.
        faster-whisper's `pad_or_trim` puts zeros there, which are loud.
        """
        missing = width - features.shape[1]
        if missing > 0:
            features = np.pad(
                features, ((0, 0), (0, missing)), constant_values=float(features.min())
            )
        return self._whisper.encode(np.ascontiguousarray(features[:, :width]))

    def _shares(self, encoding: Any, language: str | None) -> dict[str, float]:
        """Return the probability of each possible language by sound alone; one given is certain."""
        if not self._whisper.model.is_multilingual:
            return {"en": 1.0}  # whatever is asked for: `base.en` writes nothing else
        if language is not None:
            return {language: 1.0}
        found = {t[2:-2]: p for t, p in self._whisper.model.detect_language(encoding)[0]}
        allowed = [code for code in found if code in self._settings.languages] or found
        detected = {code: max(found[code], MIN_PROBABILITY) for code in allowed}
        leans = self._settings.languages and not self._hears_alone
        return weighed(calibrated(detected) if leans else detected, None)


def heard_before(clip: Clip) -> list[Earlier]:
    """Return what of the speech before an utterance can be encoded with it."""
    if len(clip.samples) > SHORT * MEL_HOP:
        return []
    room = CONTEXT_WINDOW - WINDOW_MARGIN - _frames(len(clip.samples))
    earlier = newest_fitting(clip.earlier, room * MEL_HOP)
    if not earlier or clip.language not in {None, earlier[-1].language}:
        return []
    return earlier


def shares_window(duration_s: float) -> bool:
    """Return whether an utterance fits the shortest window, so that others have the same one."""
    return _frames(round(duration_s * SAMPLE_RATE)) + WINDOW_MARGIN <= FLOOR_WINDOW


def _frames(samples: int) -> int:
    """Return the mel frames of this many samples and the silence after them."""
    return -(-(samples + TRAILING_SILENCE) // MEL_HOP)


def _lead(earlier: Sequence[Earlier]) -> int:
    """Return the mel frames of earlier speech, an even number: two make one encoding position."""
    return sum(len(utterance.samples) for utterance in earlier) // (2 * MEL_HOP) * 2


def _width(frames: int) -> int:
    """Return how many mel frames to encode for this many frames of sound."""
    return min(FULL_WINDOW, max(FLOOR_WINDOW, frames + WINDOW_MARGIN))


def _part(encoding: Any, first: int, last: int, mels: int) -> Any:
    """Return positions `first` to `last` of an encoding of shape (1, positions, width).

    One more if there would be as many as mel bands: CTranslate2 would take them for mel.
    """
    from ctranslate2 import StorageView  # noqa: PLC0415  (slow to import)

    positions = np.array(encoding)[:, first : last + (last - first == mels)]
    return StorageView.from_array(np.ascontiguousarray(positions))
