# Commands for daily work; `just` lists them. You can also run the commands of a recipe yourself.

set positional-arguments

# List the recipes
default:
    @just --list

# Run all tests of the crate, or those whose names contain FILTER: just test retired_key
test *FILTER:
    cargo test "$@"

# Run test suites: just suite core. Without PARTS all of them, which takes about an hour
suite *PARTS:
    tests/run "$@"

# Check the lints of all targets
lint:
    cargo clippy --all-targets -- -D warnings

# Check comments, messages and documentation for width and house words: just prose --list
prose *ARGS:
    tests/support/prose.py "$@"

# Format the code of the crate, the Worker, the fuzz targets and the wasm test
fmt:
    cargo fmt
    cargo fmt --manifest-path examples/cloudflare-worker/Cargo.toml
    cargo fmt --manifest-path fuzz/Cargo.toml
    cargo fmt --manifest-path tests/wasm/Cargo.toml

# Run one fuzz target, 60 s by default: just fuzz token_text 600
fuzz TARGET SECONDS="60":
    fuzz/smoke "$2" "$1"

# Measure the token code: times and allocations. FILTER selects benchmarks by name
bench *FILTER:
    cargo bench --no-default-features --bench turn -- "$@"
    cargo bench --no-default-features --bench allocations

# Start a server with the built-in model and a temporary key on http://127.0.0.1:8787
serve *ARGS:
    cargo run -- serve --dev "$@"

# Chat with the built-in model in this terminal
chat *ARGS:
    cargo run -- chat "$@"

# Build the documentation of the crate and open it
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --open

# Write the generated parts of docs/openapi.json again
openapi:
    cargo test --lib service::openapi::tests::renew -- --ignored

# Check the licences, sources and versions of dependencies
deny:
    cargo deny check bans licenses sources

# Run everything that CI runs
ci:
    .ci/run
