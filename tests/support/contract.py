"""The keys of the JSON documents, as the interface contract has them."""

JOB = {
    "id", "job_id", "name", "description", "type", "trigger", "trigger_text", "timezone", "next_run_time", "enabled",
    "state", "last_run", "config", "effective_config", "policy", "tags",
}  # fmt: skip
RUN = {
    "run_id", "job_id", "scheduled_for", "started_at", "finished_at", "status", "exit_code", "attempt", "reason",
    "trigger", "count", "until",
}  # fmt: skip
REPORT_SUMMARY = {
    "schema_version", "run_id", "job_id", "timestamp", "scheduled_for", "finished_at", "duration_seconds", "status",
    "success", "message", "dry_run", "mode", "mode_reason", "stats", "errors", "timings", "stats_file",
}  # fmt: skip
REPORT = REPORT_SUMMARY | {"documents"}
STATS = {
    "total_documents", "new_documents", "modified_documents", "renamed_documents", "deleted_sources",
    "unchanged_documents", "skipped_documents", "failed_documents", "total_chunks", "chunks_added", "chunks_updated",
    "chunks_deleted", "chunks_unchanged", "chunks_embedded", "chunks_from_cache", "withheld_deletes", "drifted_chunks",
}  # fmt: skip
