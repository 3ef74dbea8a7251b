"""Checks that the speech model is on this machine and loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.adapters.whisper import Engine
from node.commands.fetch_model import cached_model, known_models
from node.commands.findings import Finding, ok, warning, wrong
from node.errors import ModelError
from node.service.health import SystemMetrics
from node.service.settings import engine_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.config import Config


def check_model(config: Config) -> Iterator[Finding]:
    """Load the model as the service does, if it does. Nothing is downloaded."""
    if config.transcription.where == "broker":
        yield ok("model", "none is loaded here: workers transcribe")
        return
    settings = engine_settings(config)
    if settings.folder is None:
        if settings.model not in known_models():
            known = ", ".join(known_models())
            yield wrong(
                "model",
                f"transcription.model: {settings.model} is not a Whisper model; use one of {known}",
            )
            return
        if cached_model(settings.model, settings.download_root) is None:
            yield warning(
                "model",
                f"{settings.model} is not on this machine yet; run `python -m node fetch-model`",
            )
            return
    yield _load(Engine(settings), settings.model, config)


def _load(engine: Engine, model: str, config: Config) -> Finding:
    machine = SystemMetrics(config.storage.path, config.audio.sys_root)
    before_mb = machine.rss_mb()
    try:
        engine.load()
    except ModelError as error:
        return wrong("model", str(error))
    took = f"{model} loads in {machine.uptime_s()} s, takes {machine.rss_mb() - before_mb:.0f} MB"
    return warning("model", f"{took}. {engine.notice}") if engine.notice else ok("model", took)
