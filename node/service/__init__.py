"""The running node: the threads and what each of them owns. `node.app` puts them together."""
