"""The section `transcription` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from node.config.sections import Section
from node.config.values import Language, LanguageOrAuto, Text, resolve_path

Prompt = Annotated[str, Field(min_length=1, max_length=1000)]
"""Whisper's prompt holds at most 223 tokens, which is fewer than 1000 characters."""

HotWord = Annotated[str, Field(min_length=1, max_length=64)]


class TranscriptionConfig(Section):
    model: Text = "base"
    """Name of a Whisper model, or a folder with one: a value that contains "/"."""
    where: Literal["here", "broker", "auto"] = "here"
    """Where speech is transcribed: `here`; by workers on the `broker`, which get its sound; or
    `auto`: here while that keeps up, with the workers' help when it does not."""
    compute_type: Literal[
        "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16",
        "float16", "bfloat16", "float32", "auto", "default",
    ] = "int8"  # fmt: skip
    """Number format CTranslate2 computes in."""
    language: LanguageOrAuto = "auto"
    """Language spoken, as a Whisper code, or `auto` to detect it for each utterance."""
    languages: tuple[Language, ...] = ("en", "fr")
    """Languages `auto` chooses from; empty for every language Whisper knows."""
    threads: int = Field(default=0, ge=0, le=64)
    """Processor threads for the model; 0 is one per core, at most 4."""
    beam_size: int = Field(default=5, ge=1, le=10)
    """Hypotheses followed while decoding; 1 is fastest."""
    window: Literal["fit", "full"] = "fit"
    """What the encoder gets: the utterance and a little more (`fit`), or always 30 s (`full`)."""
    word_timestamps: bool = False
    """Add the time of each word to segments."""
    partials: bool = False
    """Publish what is being said before the utterance ends."""
    hotwords: tuple[HotWord, ...] = Field(default=(), max_length=50)
    """Names and terms that Whisper should prefer to others that sound alike."""
    name_hotwords: bool = False
    """Add the speakers' names to the hotwords."""
    initial_prompt: Prompt | None = None
    """Text that every utterance appears to follow: Whisper copies its spelling and punctuation."""

    @field_validator("model")
    @classmethod
    def _resolve_folder(cls, value: str, info: ValidationInfo) -> str:
        return str(resolve_path(Path(value), info)) if "/" in value else value

    @property
    def model_folder(self) -> Path | None:
        """The model's folder, which may not exist; None if `model` is a name."""
        return Path(self.model) if "/" in self.model else None

    @property
    def model_name(self) -> str:
        """What others call the model: its name, or that of its folder."""
        folder = self.model_folder
        return folder.name if folder else self.model
