# Steps with a name, a time and an outcome; sourced by tests/run and .ci/run.
#
# A step that fails does not keep the next ones from running. The outcomes stand in $STEPS, one a line; a script that was
# started by another with STEPS set adds its own to that list and leaves the totals to the other.

tools=${HOLDALL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/holdall}
steps_are_mine=
if [ -z "${STEPS:-}" ]; then
  steps_are_mine=yes
  STEPS=$(mktemp)
  export STEPS
  trap 'rm -f "$STEPS"' EXIT
fi

# step NAME COMMAND…: runs a command, or a function of the script.
step() {
  local name=$1 started=$SECONDS status=0
  shift
  printf '\n== %s\n' "$name"
  set +e
  # Outside of any condition, so that the function stops where it fails.
  (set -euo pipefail; "$@")
  status=$?
  set -e
  if [ "$status" -eq 0 ]; then
    note passed "$((SECONDS - started))" "$name" ""
  else
    note FAILED "$((SECONDS - started))" "$name" "exit status $status"
    printf '== %s failed with %s\n' "$name" "$status" >&2
  fi
}

# skip NAME WHY: says what is not run.
skip() {
  printf '\n== %s: skipped: %s\n' "$1" "$2"
  note skipped 0 "$1" "$2"
}

note() {
  printf '%s\t%s\t%s\t%s\n' "$@" >>"$STEPS"
}

# Prints the totals; status 1 if a step failed. Only in the script that began.
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

# want COMMAND PACKAGE: whether there is such a command, by way of Debian's package if need be.
want() {
  command -v "$1" >/dev/null || { debian "$2" && command -v "$1" >/dev/null; }
}

# debian PACKAGE: installs it.
debian() {
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  echo "installing Debian's $1"
  # The lists are read once a run.
  [ -n "${apt_updated:-}" ] || "${as_root[@]}" apt-get update -qq >/dev/null || return
  apt_updated=yes
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# want_cargo SUBCOMMAND VERSION: whether there is such a cargo subcommand, built from crates.io if need be.
want_cargo() {
  command -v "cargo-$1" >/dev/null && return
  echo "building cargo-$1 $2"
  cargo install --quiet --locked "cargo-$1" --version "$2"
}

# Node in the version that what we install from npm asks for.
want_node() {
  want node nodejs && want npm npm && [ "$(node --print 'parseInt(process.versions.node)')" -ge 20 ]
}
