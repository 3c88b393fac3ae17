"""Pure time: what fires when. No I/O; `now` is always an argument."""
