"""The foreground scheduler: load, plan, claim, spawn, reap, record, wait."""
