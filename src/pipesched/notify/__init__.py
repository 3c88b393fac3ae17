"""Who is told of what became of jobs: notifications through Apprise, heartbeat pings."""
