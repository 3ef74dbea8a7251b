"""`scribe-node worker`: transcribes what nodes send to the broker, and stores nothing."""
