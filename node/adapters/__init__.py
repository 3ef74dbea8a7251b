"""One outside thing each: the broker, a capture child, the model, the disk."""
