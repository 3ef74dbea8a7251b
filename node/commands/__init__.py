"""One command of the command line each, but `run`, which is `node.app`."""
