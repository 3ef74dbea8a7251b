"""A web page and an HTTP API for the nodes on a broker: a program of its own, and an MQTT client.

It needs the extra `web`, and knows of a node only what the node publishes. What people say is
passed on and never kept here.
"""
