"""What a process knows of its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="NOT TESTED: no /proc on this system")
def test_memory_that_is_taken_shows() -> None:
    before = memory.resident_bytes()
    taken = b"x" * (64 << 20)
    after = memory.resident_bytes()
    assert before is not None
    assert after is not None
    assert after - before > 60 << 20
    assert len(taken) == 64 << 20


@pytest.mark.parametrize(
    ("files", "limit_bytes"),
    [
        ({"memory.max": "1073741824\n"}, 1 << 30),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "536870912\n"}, 512 << 20),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
    ids=["version 2", "version 2, none", "version 1", "version 1, none", "no cgroups"],
)
def test_the_limit_of_a_container_is_read_from_its_cgroup(
    files: dict[str, str], limit_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    limits = (tmp_path / "memory.max", tmp_path / "memory" / "memory.limit_in_bytes")
    monkeypatch.setattr(memory, "_LIMITS", limits)
    assert memory.machine_limit_bytes() == limit_bytes


def test_giving_back_what_is_free_harms_nobody() -> None:
    kept = [bytes(1000) for _ in range(1000)]
    memory.give_back()
    memory.give_back_soon()
    assert len(kept) == 1000
