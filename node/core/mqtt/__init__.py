"""What goes over MQTT: topics, requests, payloads, and the discovery of Home Assistant."""
