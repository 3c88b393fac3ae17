"""PURE: jobs to and from other systems' text: our own JSON, crontab, systemd, Kubernetes, the scheduler this one replaces."""
