"""Every command's name, where it lives and its one line of help: the root help is printed from here, importing none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """`target` is "module:function" below pipesched.cli; imported when the command is invoked."""

    name: str
    target: str
    help: str
    panel: str


JOBS: Final = "Jobs"
RUNS: Final = "Runs"
SCHEDULER: Final = "Scheduler"
INDEX: Final = "Index"

COMMANDS: Final = {
    entry.name: entry
    for entry in (
        Entry("init", "setup:init", "Write schedules.json with the three default jobs.", JOBS),
        Entry("add-cron", "add:add_cron", "Add a job that runs by a cron expression.", JOBS),
        Entry("add-interval", "add:add_interval", "Add a job that runs at a fixed interval.", JOBS),
        Entry("add-once", "add:add_once", "Add a job that runs once, at a given time.", JOBS),
        Entry("add-preset", "add:add_preset", "Add the jobs of a preset.", JOBS),
        Entry("list", "listing:list_jobs", "List the jobs with their next runs.", JOBS),
        Entry("show", "listing:show", "Show one job: its schedule, options and policy.", JOBS),
        Entry("edit", "edit:edit", "Change a job in place.", JOBS),
        Entry("remove", "edit:remove", "Remove jobs.", JOBS),
        Entry("pause", "edit:pause", "Stop jobs from firing.", JOBS),
        Entry("resume", "edit:resume", "Let paused jobs fire again.", JOBS),
        Entry("presets", "listing:presets", "List the presets, or show one.", JOBS),
        Entry("next", "times:next_fires", "Show when jobs will run.", JOBS),
        Entry("simulate", "simulate:simulate", "Show the coming days, and what will be in the way.", JOBS),
        Entry("explain", "times:explain", "Say a cron expression in words.", JOBS),
        Entry("export", "transfer:export", "Write the jobs for pipesched, cron, systemd, Kubernetes.", JOBS),
        Entry("import", "importing:import_jobs", "Add the jobs of a file, or of another scheduler.", JOBS),
        Entry("run", "run:run", "Run the pipeline once, now.", RUNS),
        Entry("history", "history:history", "Show past runs, newest first.", RUNS),
        Entry("logs", "history:logs", "Show a run's output.", RUNS),
        Entry("cancel", "cancel:cancel", "End a running run.", RUNS),
        Entry("reports", "reports:reports", "List the run reports, newest first.", RUNS),
        Entry("report", "reports:report", "Show one run report.", RUNS),
        Entry("daemon", "daemon:daemon", "Run the scheduler in the foreground.", SCHEDULER),
        Entry("status", "status:status", "Show the scheduler and its jobs at a glance.", SCHEDULER),
        Entry("health", "status:health", "Say whether all is well; exit 1 when not.", SCHEDULER),
        Entry("doctor", "doctor:doctor", "Check this machine, and say what to do.", SCHEDULER),
        Entry(
            "notify-test", "notifications:notify_test", "Send a test message to a job's targets.", SCHEDULER
        ),
        Entry("prune", "prune:prune", "Delete what is older than anybody needs.", SCHEDULER),
        Entry("completion", "completion:completion", "Print what makes a shell complete words.", SCHEDULER),
        Entry("search", "search:search", "Find the nearest chunks to a question.", INDEX),
        Entry("verify", "verify:verify", "Compare sources, manifest and collection.", INDEX),
        Entry("rebuild", "run:rebuild", "Build the index anew beside the live one, and swap it in.", INDEX),
    )
}
