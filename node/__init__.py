"""Scribe Node: several microphones in, one speaker-tagged transcript out, driven over MQTT."""

import os

__version__ = "0.1.0"

# Before anything loads ONNX Runtime, which has since 1.29 reported its use to Microsoft unless told
# not to (microsoft/onnxruntime #27379). Nothing may leave the house.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
