#!/usr/bin/env python3
"""Runs conversations against a fleet in which everything fails, and prints a table of the results.

    tests/faults/run.py                                   # one minute, as `tests/run guard` runs it
    tests/faults/run.py --seconds 600                     # ten minutes; HOLDALL_BIN=target/release/holdall for a release
    tests/faults/run.py --seconds 120 --single-use        # each token is valid for one turn

A hundred concurrent conversations run through HAProxy (`--balancer nginx` for nginx) to three instances.
Meanwhile these faults happen, on a schedule that depends on `--seed`:

- All instances except the first get SIGKILL or SIGTERM, and are started again.
- Keys are added, used and dropped, with SIGHUP to all instances.
- The store (redis-server) stops, and starts empty.
- The model service fails `--rate` of its calls in each of nine faults.

Each user knows its history, retries a failed turn with the old token, and checks each answer. Sometimes a
user tries another user's token.

Rules: no conversation is lost; no history is foreign; no turn count is wrong; each failed turn can be
retried; each error has a code that docs/api.md allows for its fault; each problem document is complete;
memory does not grow. Exits with 0 if all rules hold, with 1 if one is broken, and with 2 for wrong
arguments.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from fleet import Fleet, Store, missing  # noqa: E402
from holdall import binary, config, toml  # noqa: E402
from model import FAULTS, Model  # noqa: E402
from talk import LEASE, TOTAL, Conversation, Disturbances, Results, World  # noqa: E402

INSTANCES = 3
# The violations of a rule that are shown. The rest are only counted.
SHOWN = 10
# Memory does not grow if it is at most this factor, and this many bytes, above its size after the warm-up.
GROWTH = 1.25
GROWTH_BYTES = 12 << 20
MIB = 1 << 20


def settings(options: argparse.Namespace, store: Store | None, folder: Path, key: bytes | None) -> str:
    times = f'connect = "1s", first_byte = "2s", idle = "2s", total = "{TOTAL}s", heartbeat = "1s", drain = "2s"'
    lines = [f"timeouts = {{ {times} }}"]
    if key is not None:
        path = folder / "credentials"
        path.write_bytes(key)
        jwt = f'issuer = "faults", audience = ["holdall"], key_file = {toml(str(path))}'
        lines.append(f'identity = {{ mode = "jwt", jwt = {{ {jwt} }} }}')
    lines.append("[guard]")
    lines.append('rate = "6000/1m"')
    if store is not None:
        single = str(options.single_use).lower()
        lines += [f"redis_url = {toml(store.url)}", "revocation = false", f"single_use = {single}"]
        lines += [f"dangerous_trust_empty_guard = {single}", f'lease_grace = "{LEASE - TOTAL}s"']
    lines.append('quota = [{ period = "1d", turns = 1000000 }]')
    return "\n".join(lines) + "\n"


class Chaos:
    """The faults of the fleet while the conversations run."""

    def __init__(self, options: argparse.Namespace, fleet: Fleet, store: Store | None, world: World) -> None:
        self.fleet = fleet
        self.store = store
        self.world = world
        self.chance = random.Random(f"{options.seed}/chaos")
        self.over = threading.Event()
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.conversations: list[Conversation] = []
        self.threads = [threading.Thread(target=self.guarded, args=(work,), daemon=True) for work in self.works()]

    def works(self) -> list:
        return [self.instances, self.keys] + ([self.stops] if self.store is not None else [])

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ends all faults, and returns when they have ended."""
        self.over.set()
        for thread in filter(threading.Thread.is_alive, self.threads):
            thread.join()

    def guarded(self, work) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            self.errors.append(f"{work.__name__}: {error!r}")

    def instances(self) -> None:
        while not self.over.wait(self.chance.uniform(1.0, 4.0)):
            at = self.chance.randrange(1, INSTANCES)
            number = self.chance.choice([signal.SIGKILL, signal.SIGTERM])
            span = self.world.disturbances.begin("instance")
            self.fleet.take_down(at, number)
            self.over.wait(self.chance.uniform(0.1, 1.5))
            self.fleet.bring_up(at)
            self.world.disturbances.end(span)
            self.done[number.name] += 1

    def keys(self) -> None:
        rotations, old = 0, "k0"
        while not self.over.wait(self.chance.uniform(2.0, 5.0)):
            rotations += 1
            key = f"k{rotations}"
            self.fleet.rotate("add", key)
            self.over.wait(self.chance.uniform(0.2, 1.0))
            self.fleet.rotate("use", key)
            used = time.monotonic()
            # Turns in flight use the old key until they end. Tokens of the old key are in use until their
            # user's next turn.
            while time.monotonic() < used + 3.0 or any(old in each.needs() for each in list(self.conversations)):
                if self.over.wait(0.2):
                    return
            self.fleet.rotate("drop", old)
            old = key
            self.done["keys rotated"] += 1

    def stops(self) -> None:
        while not self.over.wait(self.chance.uniform(4.0, 10.0)):
            span = self.world.disturbances.begin("store")
            self.store.stop()
            self.over.wait(self.chance.uniform(0.5, 3.0))
            self.store.start()
            self.world.disturbances.end(span)
            self.done["store restarted"] += 1


def converse(each: Conversation, all_of_them: list[Conversation], until: float) -> None:
    while time.monotonic() < until:
        each.turn(all_of_them)
        each.pause(0.6)


def run(options: argparse.Namespace, folder: Path) -> bool:
    store = Store() if options.store else None
    key = secrets.token_hex(32).encode() if options.identity == "jwt" else None
    model = Model(options.rate, options.seed, patience=30.0)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    text = settings(options, store, folder, key) + config("openai", model.url, [("default", "Be brief.")])
    fleet = Fleet(folder, text, INSTANCES, options.balancer, {})
    results = Results()
    world = World(model, results, Disturbances(), options.turns, key, store is not None and options.single_use)
    memory: list[tuple[float, int]] = []
    chaos = Chaos(options, fleet, store, world)
    try:
        if store is not None:
            store.start()
        fleet.start()
        all_of_them = [Conversation(n, options.seed, fleet.port, world) for n in range(options.conversations)]
        chaos.conversations = all_of_them
        started_at = time.monotonic()
        until = started_at + options.seconds
        threads = [
            threading.Thread(target=converse, args=(each, all_of_them, until), daemon=True) for each in all_of_them
        ]
        chaos.start()
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(1.0)
            memory.append((time.monotonic() - started_at, fleet.resident_bytes(0)))
        for thread in threads:
            thread.join()
        chaos.stop()
        # All faults have ended, so every conversation must continue.
        model.rate = 0.0
        time.sleep(2.5)
        ended = [each.turn(all_of_them) for each in all_of_them]
        return report(options, results, chaos, model, memory, ended)
    finally:
        # First stop the thread that starts instances.
        chaos.stop()
        model.shutdown()
        fleet.end()
        if store is not None:
            store.stop()


def report(
    options: argparse.Namespace,
    results: Results,
    chaos: Chaos,
    model: Model,
    memory: list[tuple[float, int]],
    ended: list[bool],
) -> bool:
    warm = sorted(size for at, size in memory if options.seconds * 0.25 <= at < options.seconds * 0.4)
    late = sorted(size for at, size in memory if at >= options.seconds * 0.85)
    before, after = (sizes[len(sizes) // 2] if sizes else 0 for sizes in (warm, late))
    flat = 0 < after <= before * GROWTH + GROWTH_BYTES
    print(f"\n{options.conversations} conversations, {options.seconds} s, {options.balancer}, seed {options.seed}, "
          f"identity {options.identity}, store {'none' if not options.store else 'single use' if options.single_use else 'rates'}")
    print(f"turns: {len(results.turns)}, calls of the model: {model.calls}")
    print("faults of the fleet: " + counts(chaos.done))
    print("faults of the model: " + counts(model.injected))
    print("errors: " + counts(Counter(results.codes)))
    print("interrupted answers: " + counts(Counter(results.broken)))
    print(f"partial replies: {counts(Counter(results.partials))}; foreign tokens refused: {len(results.refused_foreign)}")
    print(f"a successful try takes {percentiles(results.turns)}; a turn with its retries {percentiles(results.with_retries)}")
    print(f"memory of the first instance: {before / MIB:.1f} MiB after the warm-up, {after / MIB:.1f} MiB at the end\n")
    rules = [
        ("conversations lost", results.lost + [f"conversation {n} does not continue" for n, well in enumerate(ended) if not well]),
        ("foreign histories", results.foreign),
        ("wrong turn counts", results.wrong),
        ("turns not repeatable", results.unrepeatable),
        ("errors of another code", results.unexpected),
        ("incomplete problems", results.incomplete),
        ("memory grows", [] if flat else [f"{before} bytes after the warm-up, {after} at the end"]),
        ("faults missing", [] if exercised(options, results, chaos, model) else ["the run was too short"]),
        ("the test itself failed", chaos.errors),
    ]
    for rule, broken in rules:
        print(f"{rule:<24} {len(broken):>6}  {'ok' if not broken else 'BROKEN'}")
    for rule, broken in rules:
        for line in broken[:SHOWN]:
            print(f"\n{rule}: {line}", file=sys.stderr)
    return not any(broken for _, broken in rules)


def exercised(options: argparse.Namespace, results: Results, chaos: Chaos, model: Model) -> bool:
    """Returns True if every kind of fault has happened."""
    done = chaos.done
    wanted = [done["SIGKILL"], done["SIGTERM"], done["keys rotated"], len(results.turns) >= options.conversations]
    wanted += [done["store restarted"]] if options.store else []
    wanted += [model.injected[fault] for fault in FAULTS] if options.rate > 0 else []
    return all(wanted)


def counts(counter: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "nothing"


def percentiles(times: list[float]) -> str:
    ordered = sorted(times)
    if not ordered:
        return "no time"
    at = {share: ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] for share in (50, 95, 99)}
    return "/".join(f"{1000 * time_:.0f}" for time_ in at.values()) + " ms (p50/p95/p99)"


def interrupted(*_: object) -> None:
    raise SystemExit("interrupted")


def main() -> int:
    # On SIGTERM, end all processes.
    signal.signal(signal.SIGTERM, interrupted)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.05, help="share of calls that fail in each fault")
    parser.add_argument("--turns", type=int, default=20, help="turns after which a user starts a new conversation")
    parser.add_argument("--identity", choices=["none", "jwt"], default="none")
    parser.add_argument("--balancer", choices=["haproxy", "nginx"], default="haproxy")
    parser.add_argument("--no-store", dest="store", action="store_false", help="no redis-server")
    parser.add_argument("--single-use", action="store_true", help="each token is valid for one turn")
    options = parser.parse_args()
    if options.single_use and not options.store:
        parser.error("--single-use needs the store")
    absent = missing(options.balancer, *(["redis-server"] if options.store else []))
    if absent or not binary().exists():
        parser.error(f"not installed: {', '.join(absent) or binary()}")
    folder = Path(tempfile.mkdtemp(prefix="holdall-faults-"))
    try:
        return 0 if run(options, folder) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
