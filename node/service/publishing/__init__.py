"""What the main thread publishes over MQTT: the outbox, retained states, events and discovery."""
