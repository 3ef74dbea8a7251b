"""Whisper models of real size with random weights: `python -m tests.bench.models base`.

What a model costs depends on its shape, not its weights, so speed can be measured without trained
weights. Everything is random except the words: the decoder's position encodings are far larger than
everything else, and each position has a token whose embedding points the same way. So the model
says the same confident text in every window, never ends by itself (`tests.bench.speed.pace` decides
when it does), and no program's threshold makes it decode again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.model.build_tokenizer import SPECIAL_TOKENS, TIMESTAMP_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Weights = npt.NDArray[np.float32]

BLANK = "\u0120"
"""A space, as the byte-level alphabet writes it."""

TOKENIZER = Path(__file__).resolve().parents[2] / "config/demo/model/tokenizer.json"

TEXT_TOKENS = 50_257
"""Of the multilingual tokenizer, before the special ones (openai/whisper, tokenizer.py)."""

EDITION = 1
"""Raise this with every change here, so that no older model is used from the cache."""

POSITIONS = 448
WINDOW_POSITIONS = 1500
LOUD = 300.0
"""Length of a position encoding; what the random layers add to it stays below 30."""

PROMPT = (TEXT_TOKENS + 1, TEXT_TOKENS + 2)
"""The start of a transcript, and a language."""

COUNTED = 24
ROUNDS = 3

RESERVED = 10.0
"""How unlikely the end of text is: its logit is minus this."""

SPOKEN = 10_000
"""Number of the first token said: far from the symbols that programs suppress."""

FILLER_LETTERS = 4
FILLER_STEP = 99_991
"""A prime, so that no two fillers are alike, and so large that they do not look like a sequence."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Width, layers of encoder and of decoder, heads, mel bands (openai/whisper, model cards)."""

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    mels: int = 80


SHAPES = {
    "tiny": Shape(384, 4, 4, 6),
    "base": Shape(512, 6, 6, 8),
    "small": Shape(768, 12, 12, 12),
    "medium": Shape(1024, 24, 24, 16),
    "large-v3-turbo": Shape(1280, 32, 4, 20, 128),
    "large-v3": Shape(1280, 32, 32, 20, 128),
}


@dataclass(frozen=True, slots=True)
class Words:
    """The three weights that determine the words; the rest is random."""

    embeddings: Weights
    positions: Weights
    final_beta: Weights


def cached(name: str, folder: Path | None = None) -> Path:
    """Return the folder of a CTranslate2 model of that size, int8; build it if it is missing."""
    target = (folder or _cache()) / f"random-{name}-{EDITION}"
    if not (target / "model.bin").is_file():
        shutil.rmtree(target, ignore_errors=True)
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        build(SHAPES[name], partial)
        partial.rename(target)
    return target


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "scribe-node"


def vocabulary() -> list[str]:
    """Return tokens in Whisper's order; those the demonstration model lacks are fillers."""
    own: dict[str, int] = json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]["vocab"]
    text = [token for token in sorted(own, key=own.__getitem__) if token]
    # CTranslate2 treats a Whisper model as multilingual if its vocabulary has the empty string.
    fillers = (word for word in map(_filler, itertools.count(1)) if word not in own)
    text += itertools.islice(fillers, TEXT_TOKENS - len(text) - 1)
    return [*text, "", *SPECIAL_TOKENS, *TIMESTAMP_TOKENS]


def _filler(number: int) -> str:
    """Return a word that compresses no better than speech; programs for Whisper check that."""
    rest, letters = number * FILLER_STEP % 26**FILLER_LETTERS, ""
    for _ in range(FILLER_LETTERS):
        rest, letter = divmod(rest, 26)
        letters += chr(ord("a") + letter)
    return f"{BLANK}{letters}"


def words(shape: Shape, rng: np.random.Generator) -> Words:
    """Return embeddings and position encodings with which position n is followed by token n."""
    tokens = vocabulary()
    number = {token: index for index, token in enumerate(tokens)}
    reserved = np.zeros(shape.width, np.float32)
    reserved[0] = 1
    directions = _random(rng, POSITIONS, shape.width)
    directions[:, 0] = 0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    embeddings = _random(rng, len(tokens), shape.width) * 0.02
    said = [SPOKEN + position for position in range(POSITIONS)]
    said[0], said[2] = number["<|en|>"], number["<|0.00|>"]
    embeddings[said] = directions
    embeddings[number["<|endoftext|>"]] = -reserved
    return Words(embeddings, directions * np.float32(LOUD), reserved * np.float32(RESERVED))


def build(shape: Shape, folder: Path) -> None:
    """Write the model and the other files that faster-whisper loads."""
    from ctranslate2.specs.whisper_spec import WhisperSpec  # noqa: PLC0415  # takes a second

    rng = np.random.default_rng(1)
    spec = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
    _fill_encoder(spec.encoder, shape, rng)
    _fill_decoder(spec.decoder, shape, rng)
    tokens = vocabulary()
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    start, translate = tokens.index("<|startoftranscript|>"), tokens.index("<|translate|>")
    spec.config.lang_ids = list(range(start + 1, translate))
    spec.config.alignment_heads = [[shape.decoder_layers - 1, 0]]
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    _write_files(folder, tokens, shape.mels)


def _fill_encoder(encoder: Any, shape: Shape, rng: np.random.Generator) -> None:
    encoder.conv1.weight = _random(rng, shape.width, shape.mels, 3) * 0.05
    encoder.conv2.weight = _random(rng, shape.width, shape.width, 3) * 0.02
    for conv in (encoder.conv1, encoder.conv2):
        conv.bias = np.zeros(shape.width, np.float32)
    encoder.position_encodings.encodings = _random(rng, WINDOW_POSITIONS, shape.width) * 0.1
    _fill_norm(encoder.layer_norm, shape.width)
    for layer in encoder.layer:
        _fill_attention(layer.self_attention, shape.width, rng, fused=3)
        _fill_feed_forward(layer.ffn, shape.width, rng)


def _fill_decoder(decoder: Any, shape: Shape, rng: np.random.Generator) -> None:
    chosen = words(shape, rng)
    decoder.embeddings.weight = chosen.embeddings
    decoder.projection.weight = chosen.embeddings.copy()
    decoder.position_encodings.encodings = chosen.positions
    _fill_norm(decoder.layer_norm, shape.width)
    decoder.layer_norm.beta = chosen.final_beta
    for layer in decoder.layer:
        _fill_attention(layer.self_attention, shape.width, rng, fused=3)
        _fill_attention(layer.attention, shape.width, rng, fused=1)
        _fill_feed_forward(layer.ffn, shape.width, rng)


def _fill_attention(attention: Any, width: int, rng: np.random.Generator, fused: int) -> None:
    """Fill queries, keys and values in one (fused = 3) or only queries; then the output."""
    _fill_norm(attention.layer_norm, width)
    sizes = [fused * width, 2 * width, width] if fused == 1 else [fused * width, width]
    for linear, size in zip(attention.linear, sizes, strict=True):
        _fill_linear(linear, size, width, rng)


def _fill_feed_forward(ffn: Any, width: int, rng: np.random.Generator) -> None:
    _fill_norm(ffn.layer_norm, width)
    _fill_linear(ffn.linear_0, 4 * width, width, rng)
    _fill_linear(ffn.linear_1, width, 4 * width, rng)


def _fill_linear(linear: Any, rows: int, columns: int, rng: np.random.Generator) -> None:
    linear.weight = _random(rng, rows, columns) * 0.02
    linear.bias = np.zeros(rows, np.float32)


def _fill_norm(norm: Any, width: int) -> None:
    norm.gamma = np.ones(width, np.float32)
    norm.beta = np.zeros(width, np.float32)


def _random(rng: np.random.Generator, *shape: int) -> Weights:
    return rng.standard_normal(shape, dtype=np.float32)


def _write_files(folder: Path, tokens: list[str], mels: int) -> None:
    content = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    added = {*SPECIAL_TOKENS, *TIMESTAMP_TOKENS}
    content["model"]["vocab"] = {t: n for n, t in enumerate(tokens) if t not in added}
    first = len(content["model"]["vocab"])
    for number, token in enumerate(content["added_tokens"], start=first):
        token["id"] = number
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    text = json.dumps(tokens, ensure_ascii=False)
    (folder / "vocabulary.json").write_text(text, encoding="utf-8")
    features = {"feature_size": mels, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    text = json.dumps({**features, "chunk_length": 30})
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def costs(folder: Path, mels: int) -> list[float]:
    """Return processor seconds for encoding 10 s and 30 s, and for a token with beam 5."""
    from faster_whisper import WhisperModel  # noqa: PLC0415  # takes a second

    whisper = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
    noise = _random(np.random.default_rng(0), mels, 3000)
    short = whisper.encode(noise[:, :1000])

    def decode() -> None:
        whisper.model.generate(short, [list(PROMPT)], beam_size=5, max_length=2 * COUNTED)

    runs = (
        lambda: whisper.encode(noise[:, :1000]),
        lambda: whisper.encode(noise),
        decode,
    )
    encode_10, encode_30, several = (min(_cpu_s(run) for _ in range(ROUNDS)) for run in runs)
    return [encode_10, encode_30, several / COUNTED]


def _cpu_s(run: Callable[[], object]) -> float:
    before = time.process_time()
    run()
    return time.process_time() - before


def main() -> None:
    """Build one, or measure what the larger ones cost against `base`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", choices=SHAPES, nargs="+")
    parser.add_argument("--folder", type=Path, help="default: the user's cache")
    parser.add_argument("--costs", action="store_true", help="in processor seconds")
    given = parser.parse_args()
    for name in given.names:
        folder = cached(name, given.folder)
        print(folder)
        if given.costs:
            print(name, *(f"{cost:.4f}" for cost in costs(folder, SHAPES[name].mels)))


if __name__ == "__main__":
    main()
