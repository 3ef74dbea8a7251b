"""Make training data: python -m tests.model.generate KIND COUNT SEED OUT.pkl.

KIND is A (5 s, one sentence), B (9 s, up to three) or C (30 s, up to twelve).
"""

import argparse
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faster_whisper.feature_extractor import FeatureExtractor

from tests.model.augment import RATE
from tests.model.windows import Row, Sources, Style, draw_window

FRAME = RATE // 100  # samples in a frame of features
STYLES = {
    "A": Style(seconds=5.0, random_words=0.2),
    "B": Style(seconds=9.0),
    "C": Style(seconds=30.0, long_pauses=True),
}
SENTENCES = {"A": (), "B": (1, 1, 2, 2, 3), "C": (1, 1, 2, 3, 4, 6, 9, 12)}


def rows(kind: str, count: int, seed: int) -> Iterator[Row]:
    extractor = FeatureExtractor()
    sources = Sources.seeded(seed)
    for _ in range(count):
        style = STYLES[kind]
        if SENTENCES[kind]:
            style = replace(style, sentences=sources.rng.choice(SENTENCES[kind]))
        window = draw_window(style, sources)
        features = extractor(window.samples)[:, : len(window.samples) // FRAME]
        yield Row(features.astype("float16"), *window[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(STYLES))
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    made = list(rows(given.kind, given.count, given.seed))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(pickle.dumps(made, protocol=4))
    print(f"{given.out}: {len(made)} windows")


if __name__ == "__main__":
    main()
