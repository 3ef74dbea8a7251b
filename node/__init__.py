"""Scribe Node: several microphones in, one speaker-tagged transcript out, driven over MQTT."""

__version__ = "0.1.0"
