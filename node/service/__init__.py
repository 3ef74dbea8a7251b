"""The running node: its threads and what each owns; `parts` puts them together for `node.app`."""
