"""Sets how many tokens each window produces, the same in every system.

A model with random weights does not know when speech ends. So every decoding is ended after a
realistic number of tokens, derived from the window's mel features: a fixed number per second of
speech. The programs themselves are unchanged; what they encode and how often they decode is up to
them. There is one exception: the node transcribes every utterance without context, because the text
that such a model writes after another is always its echo.

Trained weights need none of this: what goes through the model is only counted.
"""

from __future__ import annotations

import math
import os
import runpy
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.text.context import Contexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from node.core.text.context import Earlier

TOKENS_PER_S = 3.4
"""Tokens per second of audible frames: 3 per second of a turn with its short pauses, which is 2.3
words per second at 1.3 tokens per word.
"""

LEAST = 4
"""Tokens of a window without speech: Whisper's timestamps and an end, or a short hallucination."""

AUDIBLE = -4.0
"""Decimal logarithm of the power in the loudest mel band of a frame with speech."""

HOP_S = 0.01
FULL_WINDOW = 3000
REMEMBERED = 64


@dataclass
class Count:
    """What went through the model; windows are of 30 s, and a shorter one counts in proportion.

    Tokens are those of the text and of the prompt before it.
    """

    windows: float = 0.0
    tokens: int = 0


def tokens(features: npt.NDArray[np.float32]) -> int:
    """Return the tokens of a window of log-mel features, shape (bands, frames), Whisper's scale."""
    power = 4 * features.max(axis=0) - 4
    return max(LEAST, round(TOKENS_PER_S * HOP_S * int((power > AUDIBLE).sum())))


def count() -> Count:
    """Count what every program in this process has CTranslate2 do."""
    from ctranslate2.models import Whisper  # noqa: PLC0415  # takes a second

    counted = Count()
    encode, generate = Whisper.encode, Whisper.generate

    def counted_encode(self: Any, features: Any, *rest: Any, **options: Any) -> Any:
        windows = np.array(features)
        counted.windows += windows.shape[0] * windows.shape[2] / FULL_WINDOW
        return encode(self, features, *rest, **options)

    def counted_generate(self: Any, *arguments: Any, **options: Any) -> Any:
        found = generate(self, *arguments, **options)
        counted.tokens += sum(len(result.sequences_ids[0]) for result in found)
        return found

    Whisper.encode, Whisper.generate = counted_encode, counted_generate
    return counted


def install() -> Count:
    """Set the pace in CTranslate2, for every program in this process."""
    from ctranslate2.models import Whisper  # noqa: PLC0415  # takes a second

    setattr(Contexts, "of", _nothing_before)  # noqa: B010  # mypy allows no assignment to a method
    count = Count()
    heard: deque[int] = deque(maxlen=REMEMBERED)
    encode, generate = Whisper.encode, Whisper.generate

    def paced_encode(self: Any, features: Any, *rest: Any, **options: Any) -> Any:
        windows = np.array(features)
        count.windows += windows.shape[0] * windows.shape[2] / FULL_WINDOW
        heard.extend(tokens(window) for window in windows)
        return encode(self, features, *rest, **options)

    def paced_generate(
        self: Any, features: Any, prompts: Sequence[Sequence[int]], **options: Any
    ) -> Any:
        # The decoded windows are those encoded last. Rows of a batch share a length: their mean.
        windows = list(heard)[-len(prompts) :]
        wanted = math.ceil(sum(windows) / len(windows))
        count.tokens += wanted * len(prompts)
        options["max_length"] = length(prompts, wanted)
        return generate(self, features, prompts, **options)

    Whisper.encode, Whisper.generate = paced_encode, paced_generate
    return count


def _nothing_before(_contexts: Contexts, _speaker: object, _start: int) -> tuple[Earlier, ...]:
    return ()


def length(prompts: Sequence[Sequence[int]], wanted: int) -> int:
    """Return the `max_length` with which CTranslate2 generates the `wanted` number of tokens.

    It allows half of it for new tokens at most, and no more than the prompt leaves.
    """
    return max(2 * wanted, wanted + max(map(len, prompts)) - 1)


def install_openai(model: Any) -> Count:
    """Set the pace in a model of openai-whisper."""
    count = Count()
    decode, embed = model.decode, model.encoder.forward

    def paced_decode(mel: Any, options: Any) -> Any:
        wanted = tokens(mel.numpy())
        count.tokens += wanted
        return decode(mel, replace(options, sample_len=wanted))

    def counted(mel: Any) -> Any:
        count.windows += mel.shape[0] * mel.shape[2] / FULL_WINDOW
        return embed(mel)

    model.decode, model.encoder.forward = paced_decode, counted
    return count


if __name__ == "__main__":
    # `PACED=module python -m tests.bench.speed.pace ARGUMENTS` runs an unchanged program, paced.
    install()
    runpy.run_module(os.environ["PACED"], run_name="__main__", alter_sys=True)
