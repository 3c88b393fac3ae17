#!/usr/bin/env bash
# Prints NAME=NUMBER lines from output/ci_summary.json, for the steps that come after; in GitHub Actions, as the step's outputs.
# usage: what-changed.sh [FILE]
set -euo pipefail

python3 - "${1:-output/ci_summary.json}" <<'PYTHON' | tee -a "${GITHUB_OUTPUT:-/dev/null}"
import json, sys

with open(sys.argv[1], encoding="utf-8") as file:
    stats = json.load(file)["stats"]
changed = ("new_documents", "modified_documents", "renamed_documents", "deleted_sources")
print(f"changed={sum(stats[name] for name in changed)}")
print(f"failed={stats['failed_documents']}")
print(f"chunks_embedded={stats['chunks_embedded']}")
PYTHON
