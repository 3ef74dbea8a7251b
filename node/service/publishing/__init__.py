"""What the main thread says on MQTT: the outbox, retained states, events and discovery."""
