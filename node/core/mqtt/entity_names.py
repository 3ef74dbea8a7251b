"""What entities are called in Home Assistant, by the language of the configuration."""

from __future__ import annotations

from typing import Literal

NameLanguage = Literal["en", "fr"]

NAMES: dict[str, dict[NameLanguage, str]] = {
    "connectivity": {"en": "Connectivity", "fr": "Connectivité"},
    "transcription": {"en": "Transcription", "fr": "Transcription"},
    "state": {"en": "State", "fr": "État"},
    "problem": {"en": "Problem", "fr": "Problème"},
    "live_transcript": {"en": "Live transcript", "fr": "Transcription en direct"},
    "last_transcript": {"en": "Last transcript", "fr": "Dernière transcription"},
    "last_words": {"en": "Last words", "fr": "Derniers mots"},
    "transcript": {"en": "Transcript", "fr": "Transcription finale"},
    "save": {"en": "Save transcript", "fr": "Enregistrer la transcription"},
    "stop": {"en": "Stop", "fr": "Arrêter"},
    "backlog": {"en": "Backlog", "fr": "Parole en attente"},
    "real_time_factor": {"en": "Real-time factor", "fr": "Facteur temps réel"},
    "outbox": {"en": "Outbox", "fr": "Messages en attente"},
    "temperature": {"en": "Temperature", "fr": "Température"},
    "disk_free": {"en": "Free disk space", "fr": "Espace disque libre"},
    "dropped": {"en": "Dropped speech", "fr": "Parole perdue"},
    "speaker": {"en": "Speaker", "fr": "Personne"},
    "enabled": {"en": "Enabled", "fr": "Activé"},
    "segment": {"en": "Speech", "fr": "Parole"},
    "connected": {"en": "Connected", "fr": "Connecté"},
    "status": {"en": "Status", "fr": "Statut"},
    "level": {"en": "Level", "fr": "Niveau"},
}
"""Name of each entity by its key, which is also the last part of its unique id."""

MIC: dict[NameLanguage, str] = {"en": "Mic", "fr": "Micro"}
"""What precedes a mic's index in the name of its device."""
