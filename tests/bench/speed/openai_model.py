"""The model of `tests.bench.models` in openai-whisper's own classes, on PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from whisper.model import ModelDimensions, Whisper

from tests.bench.models import POSITIONS, SHAPES, WINDOW_POSITIONS, vocabulary, words


def model(name: str) -> Whisper:
    """Return a network of that size with random weights, in float32."""
    shape = SHAPES[name]
    network = Whisper(
        ModelDimensions(
            n_mels=shape.mels,
            n_audio_ctx=WINDOW_POSITIONS,
            n_audio_state=shape.width,
            n_audio_head=shape.heads,
            n_audio_layer=shape.encoder_layers,
            n_vocab=len(vocabulary()),
            n_text_ctx=POSITIONS,
            n_text_state=shape.width,
            n_text_head=shape.heads,
            n_text_layer=shape.decoder_layers,
        )
    )
    _speak(network, words(shape, np.random.default_rng(1)))
    return network.eval()


def _speak(network: Any, chosen: Any) -> None:
    decoder = network.decoder
    with torch.no_grad():
        decoder.token_embedding.weight.copy_(torch.from_numpy(chosen.embeddings))
        decoder.positional_embedding.copy_(torch.from_numpy(chosen.positions))
        decoder.ln.bias.copy_(torch.from_numpy(chosen.final_beta))
