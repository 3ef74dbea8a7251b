"""The section `transcription` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from node.config.sections import Section
from node.config.values import Language, LanguageOrAuto, Text, resolve_path

Prompt = Annotated[str, Field(min_length=1, max_length=1000)]
"""Whisper's prompt has 223 tokens at most, less than this many characters."""

HotWord = Annotated[str, Field(min_length=1, max_length=64)]


class TranscriptionConfig(Section):
    model: Text = "base"
    """Name of a Whisper model, or its folder: a value with a "/" (see `model_folder`)."""
    compute_type: Literal[
        "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16",
        "float16", "bfloat16", "float32", "auto", "default",
    ] = "int8"  # fmt: skip
    """Number format CTranslate2 computes in."""
    language: LanguageOrAuto = "auto"
    """Language spoken, as a Whisper code, or `auto`: told for each utterance."""
    languages: tuple[Language, ...] = ("en", "fr")
    """What `auto` chooses from; empty: everything Whisper knows."""
    threads: int = Field(default=0, ge=0, le=64)
    """Processor threads for the model; 0: one a core, at most 4."""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses followed while decoding; 1 is fastest."""
    window: Literal["fit", "full"] = "fit"
    """What the encoder is given: the utterance and a little more, or always Whisper's 30 s."""
    word_timestamps: bool = False
    """Whether segments carry the time of each word."""
    partials: bool = False
    """Whether what is being said is published before it ends."""
    hotwords: tuple[HotWord, ...] = Field(default=(), max_length=50)
    """Names and terms that Whisper should prefer to others that sound alike."""
    name_hotwords: bool = False
    """Whether the speakers' names are among the hotwords."""
    initial_prompt: Prompt | None = None
    """Text that every utterance seems to follow: its spelling and punctuation are imitated."""

    @field_validator("model")
    @classmethod
    def _resolve_folder(cls, value: str, info: ValidationInfo) -> str:
        return str(resolve_path(Path(value), info)) if "/" in value else value

    @property
    def model_folder(self) -> Path | None:
        """The folder that holds the model, which may be missing; None where it has a name."""
        return Path(self.model) if "/" in self.model else None
