"""The listener thread and what it owns: from microphones to utterances on the disk."""
