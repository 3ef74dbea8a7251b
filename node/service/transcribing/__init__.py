"""The transcriber thread and what it owns: from utterances on the disk to segments."""
