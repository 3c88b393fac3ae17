#!/usr/bin/env bash
# Asks the index a question whose answer is known, so that an index that answers nonsense is not published.
# usage: ask.sh QUESTION SOURCE, such as: ask.sh "sourdough starter" sourdough-starter.md
set -euo pipefail
question=${1:?usage: ask.sh QUESTION SOURCE}
source=${2:?usage: ask.sh QUESTION SOURCE}

pipesched verify >&2
found=$(pipesched search "$question" -n 3 --json)
if ! grep -qF "\"source\": \"$source\"" <<<"$found"; then
  echo "none of the three nearest chunks to \"$question\" is from $source" >&2
  exit 1
fi
echo "ok: $source"
