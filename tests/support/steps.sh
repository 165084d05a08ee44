# shellcheck shell=bash
# Named steps with a time and an outcome. Sourced by .ci/run and tests/run.
#
# A failed step does not stop the steps after it. $STEPS names a file with one outcome per line. A
# script that another script started with STEPS set adds its outcomes there and leaves the summary
# to the caller.

steps_are_mine=
if [ -z "${STEPS:-}" ]; then
  steps_are_mine=yes
  STEPS=$(mktemp)
  export STEPS
  trap 'rm -f "$STEPS"' EXIT
fi

# step NAME COMMAND…: runs a command or a function of the script.
step() {
  local name=$1 started=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  set +e
  # Not in a condition: there, `set -e` would not stop the function at its first failure.
  (set -euo pipefail; "$@")
  status=$?
  set -e
  if [ "$status" -eq 0 ]; then
    note passed "$((SECONDS - started))" "$name" ""
  else
    note FAILED "$((SECONDS - started))" "$name" "exit status $status"
    printf '== %s failed with exit status %s\n' "$name" "$status" >&2
  fi
}

# skip NAME REASON: reports a step that is not run.
skip() {
  printf '\n== %s: skipped: %s\n' "$1" "$2"
  note skipped 0 "$1" "$2"
}

note() {
  printf '%s\t%s\t%s\t%s\n' "$@" >>"$STEPS"
}

# finish: prints the summary, in the outermost script only. Returns 1 if a step failed.
finish() {
  [ -n "$steps_are_mine" ] || return 0
  local passed failed skipped
  printf '\n%6s  %-8s %s\n' seconds outcome step
  awk -F '\t' '{ printf "%7d  %-8s %s%s\n", $2, $1, $3, ($4 == "" ? "" : " (" $4 ")") }' "$STEPS"
  passed=$(grep -c '^passed' "$STEPS" || true)
  failed=$(grep -c '^FAILED' "$STEPS" || true)
  skipped=$(grep -c '^skipped' "$STEPS" || true)
  printf '\n%d passed, %d failed, %d skipped in %d s\n' "$passed" "$failed" "$skipped" "$SECONDS"
  [ "$failed" -eq 0 ]
}
