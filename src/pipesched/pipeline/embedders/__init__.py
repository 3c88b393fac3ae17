"""Text to vectors: one Protocol, several engines."""
