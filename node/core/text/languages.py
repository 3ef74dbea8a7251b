"""The languages Whisper knows, and the signs that end a sentence in them."""

from __future__ import annotations

_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw "
    "he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my "
    "ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt "
    "uk ur uz vi yi yo yue zh"
)

WHISPER_LANGUAGES = frozenset(_CODES.split())
"""Codes as in `faster_whisper.tokenizer`; spelled out because importing that takes 0.25 s."""

AUTO = "auto"
"""Where a code may stand: the language is told for each utterance."""


def check_language(code: str) -> str:
    """A code as it is.

    Raises:
        ValueError: Whisper does not know it; the text says what to write.
    """
    if code in WHISPER_LANGUAGES:
        return code
    short = code[:2].lower()
    known = short in WHISPER_LANGUAGES
    hint = f'did you mean "{short}"?' if known else 'use one such as "en" or "fr"'
    raise ValueError(f'"{code[:64]}" is not a language code of Whisper; {hint}')


def check_language_or_auto(code: str) -> str:
    """A code, or `auto`, as it is; raises ValueError as `check_language`."""
    return code if code == AUTO else check_language(code)


UNSPACED = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
"""Languages written without spaces between words (as in `faster_whisper.tokenizer`)."""

SENTENCE_ENDS = tuple(".!?…。！？؟।۔։።")  # noqa: RUF001  # those of Chinese and Japanese are meant
CLOSING_SIGNS = "\"'»”’)]"  # noqa: RUF001  # the signs that are meant
"""Signs that may follow the end of a sentence: quotes and brackets."""
