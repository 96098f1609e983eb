import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DatabaseError
from app.migrations import PLATFORM, WORKER, Layer, Step, pending_steps, read_steps

LAYERS = pytest.mark.parametrize("layer", [PLATFORM, WORKER], ids=lambda layer: layer.name)


def statements_outside_bodies(sql: str) -> str:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return re.sub(r"\$(\w*)\$.*?\$\1\$", "''", without_comments, flags=re.DOTALL)


@LAYERS
def test_files_are_numbered_from_one_without_a_gap(layer: Layer) -> None:
    numbers = [step.number for step in read_steps(layer.folder)]
    assert numbers == list(range(1, len(numbers) + 1))


@LAYERS
def test_every_file_begins_with_its_purpose(layer: Layer) -> None:
    for step in read_steps(layer.folder):
        assert re.match(r"-- [A-Z].{20,}", step.sql), step.path.name


@LAYERS
def test_no_file_ends_the_transaction_it_runs_in(layer: Layer) -> None:
    for step in read_steps(layer.folder):
        top_level = statements_outside_bodies(step.sql)
        assert not re.search(r"(?im)^\s*(begin|commit|rollback|end)\s*;", top_level), step.path.name
        assert "concurrently" not in top_level.lower(), step.path.name


@LAYERS
def test_every_privileged_function_pins_its_search_path(layer: Layer) -> None:
    heads = [
        head
        for step in read_steps(layer.folder)
        for head in re.findall(r"(?is)create (?:or replace )?function (.*?) as \$", step.sql)
    ]
    privileged = [head for head in heads if "security definer" in head.lower()]
    assert privileged
    assert [head for head in privileged if "set search_path" not in head.lower()] == []


def test_the_workers_files_never_change_a_table_of_the_platform() -> None:
    for step in read_steps(WORKER.folder):
        # Switching our own trigger on again is the one change that is ours to make.
        sql = step.sql.replace("ALTER TABLE %s ENABLE TRIGGER %I", "")
        altered = re.findall(r"(?i)\b(?:alter|drop) table (?:if exists )?(\S+)", sql)
        assert all(table.startswith(("worker.", "dramatiq.")) for table in altered), step.path.name


def test_the_workers_files_only_add_so_that_older_processes_go_on_meanwhile() -> None:
    """A deploy migrates first; until they are replaced, the old processes work on the new schema."""
    takes_away = re.compile(
        r"\b(DROP\s+(TABLE|COLUMN|FUNCTION|VIEW|TYPE|SCHEMA|SEQUENCE)|RENAME\s+(TO|COLUMN)|ALTER\s+COLUMN"
        r"|ALTER\s+TYPE\s+\S+\s+RENAME|TRUNCATE)\b",
        re.IGNORECASE,
    )
    for step in read_steps(WORKER.folder):
        found = takes_away.search(statements_outside_bodies(step.sql))
        assert found is None, f"{step.path.name}: {found and found[0]}"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("SELECT 1;\n")


def test_a_misnamed_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "0001_first.sql", "second.sql")
    with pytest.raises(DatabaseError, match=r"second\.sql: migrations are named like 0001_name\.sql"):
        read_steps(tmp_path)


def test_a_number_used_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "0001_first.sql", "0001_other.sql")
    with pytest.raises(DatabaseError, match=r"0001_other\.sql: number 0001 is taken by 0001_first\.sql"):
        read_steps(tmp_path)


def test_an_empty_folder_has_no_steps(tmp_path: Path) -> None:
    assert read_steps(tmp_path) == []


def test_line_endings_do_not_change_the_checksum(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    unix.mkdir()
    windows.mkdir()
    (unix / "0001_a.sql").write_bytes(b"SELECT 1;\nSELECT 2;\n")
    (windows / "0001_a.sql").write_bytes(b"SELECT 1;\r\nSELECT 2;\r\n")
    assert read_steps(unix)[0].checksum == read_steps(windows)[0].checksum


def step(number: int) -> Step:
    return Step(number, f"step{number}", Path(f"{number:04d}_step{number}.sql"), "", f"sum{number}")


@given(numbers=st.sets(st.integers(1, 99), max_size=12).map(sorted), done=st.integers(0, 12))
def test_after_any_number_of_first_steps_exactly_the_others_are_pending(
    numbers: list[int], done: int
) -> None:
    steps = [step(number) for number in numbers]
    recorded = {applied.number: applied.checksum for applied in steps[:done]}
    assert pending_steps(WORKER, steps, recorded) == steps[done:]


@given(numbers=st.sets(st.integers(1, 99), min_size=1, max_size=12).map(sorted), data=st.data())
def test_records_that_are_not_the_first_steps_are_refused(numbers: list[int], data: st.DataObject) -> None:
    steps = [step(number) for number in numbers]
    recorded = {each.number: each.checksum for each in steps}
    spoiled = data.draw(st.sampled_from(numbers))
    how = data.draw(st.sampled_from(["edited", "newer", "gone", "squeezed in"]))
    if how == "edited":
        recorded[spoiled] = "something else"
    elif how == "newer":
        recorded[100] = "from the future"
    elif how == "gone":
        steps = [each for each in steps if each.number != spoiled]
    else:
        del recorded[spoiled]
        recorded[100] = "sum100"
        steps.append(step(100))
    with pytest.raises(DatabaseError):
        pending_steps(WORKER, steps, recorded)
