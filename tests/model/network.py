"""Whisper's architecture in plain PyTorch, small, with a head for phonemes.

Parameters are named as in Hugging Face's Whisper, so that `to_transformers` only renames two
tables. Unlike that one it takes any even number of frames up to 3,000, which makes training on
short windows several times faster.
"""

# mypy: disable-error-code="misc"
# torch is no dependency of the project, so its base classes have no types here.

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that every user of PyTorch gives it
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

MEL_BANDS = 80
AUDIO_POSITIONS = 1500  # 30 s in steps of 0.02 s
TEXT_POSITIONS = 448
EMBEDDING_STD = 0.05


@dataclass(frozen=True)
class Shape:
    """`vocabulary` counts all tokens, the last `timestamps` of them the timestamps."""

    vocabulary: int
    timestamps: int = 1501
    width: int = 128
    heads: int = 4
    encoder_layers: int = 3
    decoder_layers: int = 2
    inner_width: int = 512
    phonemes: int = 80


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's encoder positions, shape (length, width)."""
    step = math.log(10000) / (width // 2 - 1)
    angles = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(width // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.k_proj = nn.Linear(shape.width, shape.width, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.width)
        self.q_proj = nn.Linear(shape.width, shape.width)
        self.out_proj = nn.Linear(shape.width, shape.width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        causal: bool = False,
        weights_wanted: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result, shape of `x`, and if wanted the weights (batch, head, query, key)."""
        source = x if memory is None else memory
        query, key = self._by_head(self.q_proj(x)), self._by_head(self.k_proj(source))
        value = self._by_head(self.v_proj(source))
        weights = None
        if weights_wanted:
            scores = query.float() @ key.float().transpose(-1, -2)
            weights = torch.softmax(scores / math.sqrt(query.shape[-1]), -1)
            mixed = weights.to(value.dtype) @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).reshape(x.shape)), weights

    def _by_head(self, x: Tensor) -> Tensor:
        batch, _, width = x.shape
        return x.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)


class Layer(nn.Module):
    """Self-attention and a feed-forward network; a base of encoder and decoder layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.inner_width)
        self.fc2 = nn.Linear(shape.inner_width, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def attend(self, x: Tensor, dropout: float, *, causal: bool) -> Tensor:
        attended, _ = self.self_attn(self.self_attn_layer_norm(x), causal=causal)
        return x + F.dropout(attended, dropout, self.training)

    def feed_forward(self, x: Tensor, dropout: float) -> Tensor:
        inner = F.gelu(self.fc1(self.final_layer_norm(x)))
        return x + F.dropout(self.fc2(inner), dropout, self.training)


class EncoderLayer(Layer):
    def forward(self, x: Tensor, dropout: float) -> Tensor:
        return self.feed_forward(self.attend(x, dropout, causal=False), dropout)


class DecoderLayer(Layer):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.encoder_attn = Attention(shape)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)

    def forward(
        self, x: Tensor, memory: Tensor, dropout: float, *, weights_wanted: bool
    ) -> tuple[Tensor, Tensor | None]:
        x = self.attend(x, dropout, causal=True)
        normed = self.encoder_attn_layer_norm(x)
        heard, weights = self.encoder_attn(normed, memory, weights_wanted=weights_wanted)
        x = x + F.dropout(heard, dropout, self.training)
        return self.feed_forward(x, dropout), weights


class Encoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MEL_BANDS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)
        positions = sinusoids(AUDIO_POSITIONS, shape.width)
        self.register_buffer("pos", positions, persistent=False)

    def forward(self, features: Tensor, dropout: float = 0.0) -> Tensor:
        """From (batch, 80, frames) to (batch, frames / 2, width)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(features)))).transpose(1, 2)
        x = x + self.pos[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, dropout)
        return self.layer_norm(x)


class Decoder(nn.Module):
    """Its timestamp embeddings are one linear map of the encoder's own positions.

    1,501 separate vectors would each be seen a few times in so short a training; with the map,
    what is learned about one time holds for all.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, texts = shape.width, shape.vocabulary - shape.timestamps
        self.emb = nn.Parameter(torch.randn(texts, width) * EMBEDDING_STD)
        self.ts = nn.Linear(width, width)
        # A sinusoid vector has the length sqrt(width / 2): the result is as large as `emb`.
        nn.init.normal_(self.ts.weight, std=EMBEDDING_STD / math.sqrt(width / 2))
        nn.init.zeros_(self.ts.bias)
        self.register_buffer("tspos", sinusoids(shape.timestamps, width), persistent=False)
        self.pos = nn.Parameter(sinusoids(TEXT_POSITIONS, width) * EMBEDDING_STD)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(width)

    def token_embeddings(self) -> Tensor:
        """Shape (vocabulary, width)."""
        return torch.cat([self.emb, self.ts(self.tspos)], 0)

    def forward(
        self, tokens: Tensor, memory: Tensor, dropout: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Logits (batch, token, vocabulary) and the last layer's attention to the audio."""
        embeddings = self.token_embeddings()
        x = F.embedding(tokens, embeddings) + self.pos[: tokens.shape[1]]
        for layer in self.layers:
            last = layer is self.layers[-1]
            x, weights = layer(x, memory, dropout, weights_wanted=last)
        return self.layer_norm(x) @ embeddings.t(), weights


class TinyWhisper(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        self.ctc = nn.Linear(shape.width, shape.phonemes)

    def checkpoint(self) -> dict[str, object]:
        return {"model": self.state_dict(), "shape": asdict(self.shape)}

    @classmethod
    def from_checkpoint(cls, path: str) -> "TinyWhisper":
        saved = torch.load(path)
        model = cls(Shape(**saved["shape"]))
        model.load_state_dict(saved["model"])
        return model

    def to_transformers(self) -> WhisperForConditionalGeneration:
        """The same network in Hugging Face's class, without the phoneme head."""
        own = ("ctc.", "decoder.ts.", "decoder.emb", "decoder.pos")
        state = {
            f"model.{name}": value
            for name, value in self.state_dict().items()
            if not name.startswith(own)
        }
        embeddings = self.decoder.token_embeddings().detach()
        state["model.encoder.embed_positions.weight"] = self.encoder.pos
        state["model.decoder.embed_positions.weight"] = self.decoder.pos.data
        state["model.decoder.embed_tokens.weight"] = embeddings
        state["proj_out.weight"] = embeddings
        model = WhisperForConditionalGeneration(self._config()).float()
        model.load_state_dict(state)
        return model.eval()

    def _config(self) -> WhisperConfig:
        shape = self.shape
        return WhisperConfig(
            vocab_size=shape.vocabulary,
            num_mel_bins=MEL_BANDS,
            d_model=shape.width,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_ffn_dim=shape.inner_width,
            decoder_ffn_dim=shape.inner_width,
            max_source_positions=AUDIO_POSITIONS,
            max_target_positions=TEXT_POSITIONS,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
            decoder_start_token_id=0,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
