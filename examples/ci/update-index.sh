#!/usr/bin/env bash
# Brings the index in step with the folder, and tries again later where that can help.
# usage: update-index.sh FOLDER [OPTION...]; TRIES (3) and WAIT seconds (30) may be set.
set -euo pipefail
folder=${1:?usage: update-index.sh FOLDER [OPTION...]}
shift

for ((try = 1; ; try++)); do
  code=0
  pipesched run --ci-mode --data-dir "$folder" "$@" || code=$?
  case $code in
    0) exit 0 ;;
    3)
      # The rest is in; the posts that are not are annotated. A deployment need not stop for them.
      echo "partial: some posts are not up to date" >&2
      exit 0
      ;;
    1 | 69 | 74 | 75)
      # Failed, no embedder or store, disk, busy: another try may help.
      if ((try >= ${TRIES:-3})); then exit "$code"; fi
      echo "exit $code: again in ${WAIT:-30} s" >&2
      sleep "${WAIT:-30}"
      ;;
    *) exit "$code" ;; # a value, a permission or a setting: trying again cannot help
  esac
done
