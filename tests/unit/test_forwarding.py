"""A child's output is passed on line by line, and never holds the child up."""

from __future__ import annotations

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from app.processes.forwarding import Forwarder


def forward(text: bytes, target: io.BytesIO | None = None) -> bytes:
    target = target or io.BytesIO()
    forwarder = Forwarder("worker", io.BytesIO(text), target)
    forwarder.start()
    forwarder.join()
    return b"" if target.closed else target.getvalue()


def test_lines_in_json_stay_as_they_are_and_others_get_the_name() -> None:
    assert forward(b'{"level": "info"}\nTraceback\n\n{half\nlast') == (
        b'{"level": "info"}\nworker    | Traceback\nworker    | \nworker    | {half\nworker    | last\n'
    )


@given(st.lists(st.binary(max_size=60).filter(lambda line: b"\n" not in line)))
def test_no_line_is_lost_whatever_its_bytes(lines: list[bytes]) -> None:
    passed_on = forward(b"".join(line + b"\n" for line in lines)).split(b"\n")[:-1]
    assert [line.removeprefix(b"worker    | ") for line in passed_on] == [
        line.removeprefix(b"worker    | ") for line in lines
    ]


def test_a_reader_that_went_away_does_not_hold_the_child_up() -> None:
    closed = io.BytesIO()
    closed.close()
    read_end, write_end = os.pipe()
    forwarder = Forwarder("worker", os.fdopen(read_end, "rb"), closed)
    forwarder.start()
    with os.fdopen(write_end, "wb") as child:
        child.write(b"x" * 1_000_000)
    forwarder.join(10)
    assert not forwarder.is_alive()
