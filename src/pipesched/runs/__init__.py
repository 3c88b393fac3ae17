"""What has run: the ledger, reports, logs, health."""
