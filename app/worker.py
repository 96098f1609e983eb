"""Entry point of one worker process of `lf-worker run`: its threads work until it is told to stop.

It does what `dramatiq app.actors --processes 1` does, without a master above it. A platform that sends
SIGTERM to every process of a machine, as Heroku does, tells a child of Dramatiq's twice, and the second one
has it drop its jobs.
"""

from __future__ import annotations

import argparse
import signal
import threading

import dramatiq

from app.actors import broker


def main() -> None:
    """Work until SIGTERM, then give running jobs their time and hand back what is left."""
    options = _parse()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process above
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_threads=options.threads)
    worker.start()
    stop.wait()
    worker.stop(timeout=round(options.shutdown_seconds * 1000))
    broker.close()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.worker", description="One worker process.")
    parser.add_argument("--threads", type=int, required=True, help="jobs that are worked on at once")
    parser.add_argument(
        "--shutdown-seconds", type=float, required=True, help="time that running jobs get after SIGTERM"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
