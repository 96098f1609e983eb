"""A Procfile is read the way the platforms read it."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.run import DEFAULT_GRACE_SECONDS
from app.errors import SettingsError
from app.processes.procfile import RELEASE, ProcessType, read_procfile, repository_procfile

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
COMMANDS = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)


@given(st.dictionaries(NAMES, COMMANDS, max_size=6))
def test_every_line_becomes_a_process_type_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("procfile") / "Procfile"
    path.write_text("\n# a comment\n".join(f"{name}: {command}  " for name, command in lines.items()))
    assert read_procfile(path) == [ProcessType(*line) for line in lines.items()]


@pytest.mark.parametrize("line", ["worker", "worker:", "a b: run", ": run", "export X=1"])
def test_a_line_of_another_form_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "Procfile"
    path.write_text(f"web: run\n{line}\n")
    with pytest.raises(SettingsError, match="line 2 is not"):
        read_procfile(path)


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Procfile"
    path.write_text("web: one\nweb: two\n")
    with pytest.raises(SettingsError, match="line 2 repeats web"):
        read_procfile(path)


def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_procfile(tmp_path / "Procfile")


def test_heroku_and_fly_run_the_same_processes() -> None:
    ours = {kind.name: kind.command for kind in read_procfile(repository_procfile())}
    fly = tomllib.loads(repository_procfile().with_name("fly.toml").read_text())
    assert ours.pop(RELEASE) == fly["deploy"]["release_command"]
    assert {name: _without_timeout(command) for name, command in ours.items()} == {
        name: _without_timeout(command) for name, command in fly["processes"].items()
    }


def test_workers_stop_before_the_platforms_kill_them() -> None:
    """Heroku kills 30 s after SIGTERM, Fly after its kill_timeout."""
    worker = next(kind for kind in read_procfile(repository_procfile()) if kind.name == "worker")
    fly = tomllib.loads(repository_procfile().with_name("fly.toml").read_text())
    assert "--grace-seconds" not in worker.command
    assert DEFAULT_GRACE_SECONDS < 30
    assert _grace_seconds(fly["processes"]["worker"]) < fly["kill_timeout"]


def _without_timeout(command: str) -> str:
    return command.partition(" --grace-seconds")[0]


def _grace_seconds(command: str) -> float:
    words = command.split()
    return float(words[words.index("--grace-seconds") + 1])
