"""The commands of the command line and what they share; `run` is in `node.app`."""
