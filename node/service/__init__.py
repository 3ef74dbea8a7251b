"""The running node: its threads and what each owns. `node.app` puts them together."""
