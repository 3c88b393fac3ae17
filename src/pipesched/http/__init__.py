"""The read-only status endpoint, on the standard library."""
