"""Work shared out to other machines over MQTT: its messages, and how long to wait for whom."""
