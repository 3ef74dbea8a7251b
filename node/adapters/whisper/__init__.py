"""Whisper, through faster-whisper and CTranslate2."""

from node.adapters.whisper.encoding import Clip
from node.adapters.whisper.engine import Engine
from node.adapters.whisper.opening import NOTICE_FILE, EngineSettings

__all__ = ["NOTICE_FILE", "Clip", "Engine", "EngineSettings"]
