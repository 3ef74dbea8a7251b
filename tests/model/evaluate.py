"""Word error rates on fresh windows: python -m tests.model.evaluate [MODEL] [COUNT].

With the training data (`--seen A1.pkl ...`) it also tells sentences whose text was trained from
those that the model never met.
"""

import argparse
import pickle
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from faster_whisper import WhisperModel

from tests.model.augment import Samples
from tests.model.grammar import sentence
from tests.model.windows import Row, Sources, Style, Window, draw_window

SEED = 99_000  # far from the seeds of the training data
SILENCES = 20
RATE = 16000  # Hz

CLEAN = Style(seconds=5.0, random_words=0, silence=0, augmented=False)
UNTRAINED_VOICES = (
    *("+m8", "+Gene", "+Denis", "+sandro"),
    *("+travis", "+victor", "+belinda", "+aunty"),
)


@dataclass(frozen=True)
class Case:
    """Windows of one style, and how they are transcribed; `share` of the count asked for."""

    name: str
    seed: int
    style: Style
    share: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("one sentence, augmented", 1, replace(CLEAN, augmented=True)),
    Case(
        "one sentence, clean, plain voice",
        2,
        replace(CLEAN, variants=("",), speed=(160, 185), pitch=(45, 55)),
    ),
    Case("one sentence, clean, no timestamps", 3, CLEAN, 0.6, {"without_timestamps": True}),
    Case("one sentence, clean, behind the VAD", 3, CLEAN, 0.6, {"vad_filter": True}),
    Case(
        "one sentence, voices never trained",
        4,
        replace(CLEAN, augmented=True, variants=UNTRAINED_VOICES),
        0.6,
    ),
    Case("two sentences in 9 s", 5, replace(CLEAN, augmented=True, seconds=9.0, sentences=2), 0.6),
    Case(
        "six sentences in 30 s",
        6,
        replace(CLEAN, augmented=True, seconds=30.0, sentences=6, long_pauses=True),
        0.25,
    ),
    Case("random words", 8, replace(CLEAN, augmented=True, random_words=1.0), 0.6),
)


def normalised(text: str) -> str:
    """Lower case without punctuation: an error is a wrong word."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w' -]", "", text.lower())).strip()


def transcribed(model: WhisperModel, samples: Samples, **options: Any) -> tuple[str, str]:
    """The text and the detected language."""
    options = {"beam_size": 5, "condition_on_previous_text": False} | options
    segments, info = model.transcribe(samples, **options)
    return " ".join(segment.text.strip() for segment in segments), info.language


def report(name: str, model: WhisperModel, spoken: Iterable[Window], **options: Any) -> None:
    references, results, right_language = [], [], 0
    for window in spoken:
        text, language = transcribed(model, window.samples, **options)
        references.append(normalised(" ".join(segment.text for segment in window.segments)))
        results.append(normalised(text))
        right_language += language == window.language
    exact = sum(a == b for a, b in zip(references, results, strict=True))
    print(
        f"{name:42} n={len(results):3}  WER {100 * jiwer.wer(references, results):5.1f} %  "
        f"exact {100 * exact / len(results):5.1f} %  "
        f"language {100 * right_language / len(results):5.1f} %",
        flush=True,
    )


def spoken_windows(style: Style, seed: int, count: int) -> list[Window]:
    sources = Sources.seeded(SEED + seed)
    drawn = (draw_window(style, sources) for _ in range(count))
    return [window for window in drawn if window.segments]


def report_silence(model: WhisperModel) -> None:
    """How often there is text where nobody speaks."""
    sources = Sources.seeded(5)
    quiet = replace(CLEAN, seconds=9.0, silence=1.0, augmented=True)
    five_seconds = np.arange(5 * RATE) / RATE

    def white() -> Samples:
        level = 10 ** sources.rng.uniform(-4, -1.5)
        return (sources.noise.standard_normal(5 * RATE) * level).astype(np.float32)

    kinds: dict[str, Callable[[], Samples]] = {
        "zeros": lambda: np.zeros(5 * RATE, np.float32),
        "hum": lambda: (0.05 * np.sin(2 * np.pi * 50 * five_seconds)).astype(np.float32),
        "white noise": white,
        "coloured noise and knocks": lambda: draw_window(quiet, sources).samples,
    }
    for name, make in kinds.items():
        texts = [transcribed(model, make())[0] for _ in range(SILENCES)]
        print(f"{name:42} text in {sum(map(bool, texts))} of {SILENCES}", flush=True)


def report_unseen(model: WhisperModel, language: str, seen: set[str]) -> None:
    rng = random.Random(777)
    texts = list(dict.fromkeys(sentence(language, rng) for _ in range(3000)))
    unseen = [text for text in texts if text not in seen][:30]
    trained = [text for text in texts if text in seen][:20]
    for name, chosen in (("text never trained", unseen), ("text trained", trained)):
        report(f"{language}  {name}", model, _windows_of(chosen, language), language=language)


def _windows_of(texts: list[str], language: str) -> list[Window]:
    style = replace(CLEAN, seconds=6.0, augmented=True, language=language)
    sources = Sources.seeded(777)
    drawn = [draw_window(style, sources, text) for text in texts]
    return [window for window in drawn if window.segments]


def _texts(path: Path) -> set[str]:
    rows: list[Row] = pickle.loads(path.read_bytes())  # noqa: S301 -- made by generate.py
    return {segment.text for row in rows for segment in row.segments}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="config/demo/model")
    parser.add_argument("count", nargs="?", type=int, default=100)
    parser.add_argument("--seen", type=Path, nargs="*", default=[], help="training data")
    given = parser.parse_args()
    model = WhisperModel(given.model, device="cpu", compute_type="int8", cpu_threads=1)
    seen = set().union(*(_texts(path) for path in given.seen))
    for language in ("en", "fr"):
        for case in CASES:
            count = max(10, round(given.count * case.share))
            spoken = spoken_windows(replace(case.style, language=language), case.seed, count)
            report(f"{language}  {case.name}", model, spoken, **case.options)
        if seen:
            report_unseen(model, language, seen)
    report_silence(model)


if __name__ == "__main__":
    main()
