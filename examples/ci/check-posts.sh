#!/usr/bin/env bash
# Fails where posts cannot be indexed: for pull requests, before anything is published. Writes output/ci_summary.json.
# usage: check-posts.sh FOLDER [OPTION...], such as: check-posts.sh content/posts --blog-base-url https://blog.example
set -euo pipefail
folder=${1:?usage: check-posts.sh FOLDER [OPTION...]}
shift

code=0
pipesched run --dry-run --ci-mode --data-dir "$folder" "$@" || code=$?
case $code in
  0) echo "every post can be indexed" ;;
  3) echo "some posts cannot be indexed, or deletes would be withheld: see above" >&2 ;;
  *) echo "the pipeline cannot run (exit $code): see above" >&2 ;;
esac
exit "$code"
