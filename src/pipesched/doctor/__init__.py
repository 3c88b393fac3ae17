"""What a machine can have wrong, check by check, and the command that mends it; nothing is written."""
