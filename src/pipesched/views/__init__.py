"""What commands and the endpoint show alike: jobs, status, health, from the job file, the ledger and the clock."""
