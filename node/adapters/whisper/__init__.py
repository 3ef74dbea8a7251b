"""Whisper, through faster-whisper and CTranslate2."""

from node.adapters.whisper.encoding import Clip, heard_before
from node.adapters.whisper.engine import Engine
from node.adapters.whisper.opening import NOTICE_FILE, EngineSettings, folder_of

__all__ = ["NOTICE_FILE", "Clip", "Engine", "EngineSettings", "folder_of", "heard_before"]
