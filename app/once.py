"""Entry point of `lf-worker once`: work in one process until nothing due is left, and say what came of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from app.actors import broker
from app.drain import Drained, drain

#: As many as a worker process of the Procfile has.
DEFAULT_THREADS = 32


def main() -> None:
    """Drain; exit code 0 if all is done, 1 if something failed for good or the drain was interrupted."""
    options = _parse()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    drained = drain(broker, threads=options.threads, stop=stop)
    broker.close()
    print(json.dumps(drained.as_json()) if options.json else describe(drained))  # noqa: T201 - its purpose
    sys.exit(1 if drained.failed or drained.interrupted else 0)


def describe(drained: Drained) -> str:
    """What a drain came to, in a few lines for people."""
    lines = [
        f"{kind}: " + ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items())
        for kind, outcomes in drained.jobs.items()
    ]
    lines += [f"{actor}: {count} failed" for actor, count in drained.rejected.items()]
    for queue in drained.left:
        when = "the queue is paused" if queue["paused"] else f"next in {queue['next_in_seconds']:.0f} s"
        lines.append(f"left in {queue['queue']}: {queue['messages']} ({when})")
    end = "Interrupted" if drained.interrupted else "Nothing due is left"
    return "\n".join([*lines, f"{end}, after {drained.seconds:.1f} s; {drained.failed} failed."])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lf-worker once")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=DEFAULT_THREADS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
