"""From words to a transcript: which to believe, whose turn they are, how they are written."""
