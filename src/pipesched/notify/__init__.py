"""Messages to people and heartbeat monitors."""
