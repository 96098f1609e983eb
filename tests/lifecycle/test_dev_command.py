"""`lf-worker dev` and `lf-worker demo` as a person or a script runs them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from app.cli.demo.last_commands import REPORT, CommandFailedError, run_command
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.runner import LOG_FOLDER
from app.cli.demo.webhooks import Webhooks
from app.cli.folders import DATA_FOLDER
from app.cli.main import main
from app.local.cluster_state import running_state
from app.local.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

ALL_KINDS = {
    "lens_run",
    "battle_job",
    "media_poll",
    "promotion",
    "finalize",
    "webhook_delivery",
    "vote_inspection",
    "workflow_run",
    "workflow_messages",
    "team_run",
    "recovery",
}

COMMAND = str(Path(sys.executable).with_name("lf-worker"))


@contextmanager
def running_dev(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A `lf-worker dev` that has said it is up; killed in the end if it still runs."""
    with subprocess.Popen([COMMAND, "dev"], cwd=folder, stdout=subprocess.PIPE, text=True) as dev:
        try:
            assert dev.stdout is not None
            assert any("Ctrl-C stops it." in line for line in dev.stdout), "dev ended before it was up"
            yield dev
        finally:
            dev.kill()


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def heirs_of(variable: str, value: str) -> list[psutil.Process]:
    """The processes that inherited this environment variable, whoever their parent is by now."""

    def has_it(process: psutil.Process) -> bool:
        try:
            return process.environ().get(variable) == value
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if has_it(process)]


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every child, once each process type has become what its command says."""

    def look() -> list[psutil.Process] | None:
        found = psutil.Process(process.pid).children(recursive=True)
        names = " ".join(part for child in found for part in cmdline_of(child))
        wanted = ("postgres", "app.worker", "app.schedules", "-m realtime")
        return found if all(name in names for name in wanted) else None

    return eventually(look, what="every process type")


def cmdline_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # one that ended, or is being replaced by its command


@pytest.mark.timeout(180)
def test_dev_serves_runs_refuses_a_second_one_and_leaves_nothing_running(tmp_path: Path) -> None:
    with running_dev(tmp_path) as dev:
        state = running_state(tmp_path / DATA_FOLDER)
        assert state is not None
        psycopg2.connect(state.dsn).close()

        queued = run(tmp_path, "enqueue", "lens-run", "--model", "gpt-5.4", "--prompt", "Merhaba!", "--wait")
        assert (queued.returncode, queued.stderr) == (0, "")
        assert "succeeded: Merhaba!" in queued.stdout

        failed = run(tmp_path, "enqueue", "lens-run", "--model", "gpt-5.4", "--lens", "broken", "--wait")
        assert failed.returncode == 1
        assert "failed: template." in failed.stdout

        second = run(tmp_path, "dev")
        assert second.returncode == 2
        assert second.stdout == ""
        assert second.stderr.count("\n") == 1
        assert state.dsn in second.stderr

        family = family_of(dev)
        dev.send_signal(signal.SIGTERM)
        assert dev.stdout is not None
        assert "Stopped." in dev.stdout.read()
        assert dev.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    assert running_state(tmp_path / DATA_FOLDER) is None


@pytest.mark.timeout(180)
def test_kill_9_of_dev_ends_its_processes_and_the_next_one_starts(tmp_path: Path) -> None:
    with running_dev(tmp_path) as dev:
        family = family_of(dev)
        dev.send_signal(signal.SIGKILL)
        dev.wait()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
    with running_dev(tmp_path) as dev:
        dev.send_signal(signal.SIGINT)
        assert dev.stdout is not None
        dev.stdout.read()
        assert dev.wait(60) == 0


@pytest.mark.timeout(300)
def test_the_demo_ends_by_itself_and_prints_one_json_object(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--json", DEMO_OF_TEST=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert heirs_of("DEMO_OF_TEST", str(tmp_path)) == []
    summary = json.loads(done.stdout)
    assert summary["ok"] is True
    assert set(summary["kinds"]) == ALL_KINDS
    assert all(figures["succeeded"] > 0 for figures in summary["kinds"].values())
    runs = summary["kinds"]["lens_run"]
    assert runs["queued"] == runs["succeeded"] + runs["failed"] >= 24
    assert runs["failed"] > 0
    assert 0 < runs["pickup_ms"]["p50"] <= runs["pickup_ms"]["p99"]
    assert summary["commands"]["doctor"]["fine"] > 20
    assert summary["commands"]["status"]["kinds"]["team_run"]["done_last_hour"] == 2
    assert summary["commands"]["report"] == str(tmp_path / REPORT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / REPORT]


@pytest.mark.timeout(180)
def test_the_demo_for_people_tells_of_each_scenario_and_ends_with_a_look_at_all(tmp_path: Path) -> None:
    """With two scenarios: that all of them end well is shown by the one for programs."""
    script = (
        "import sys; from app.cli.demo import command; from app.cli.main import main\n"
        "command._acts = lambda *_: [[command.LensRuns(), command.Webhooks()]]\n"
        "sys.argv = ['lf-worker', 'demo']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    headings = re.findall(r"\n\n(\S.*)\n  \S", done.stdout)
    assert headings[0] == "The stack"
    assert headings[1:] == [
        LensRuns.title,
        Webhooks.title,
        "lf-worker doctor",
        "lf-worker status",
        "lf-worker report",
    ]
    assert "✗" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "</html>" in (tmp_path / REPORT).read_text()
    assert re.search(r"\n✓ All \d+ jobs came to the end they should have, in \d+ s\.\n$", done.stdout)


def test_a_stack_that_the_doctor_finds_broken_fails_the_demo(tmp_path: Path) -> None:
    stack = Stack(tmp_path, {"DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/db"}, directory=tmp_path)
    with pytest.raises(
        CommandFailedError, match=r"doctor ended with 2: .*can't connect to the database"
    ) as error:
        run_command("doctor", 1, stack)
    assert "secret" not in str(error.value)


def test_a_demo_that_takes_too_long_is_broken_off_and_keeps_its_logs(tmp_path: Path) -> None:
    script = (
        "from app.cli.demo.display import Quiet; from app.cli.demo.runner import run_demo\n"
        "summary = run_demo([], Quiet(), timeout_seconds=1); print(summary.ok, summary.trouble)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False not finished after 1 s\n"
    assert (tmp_path / LOG_FOLDER).is_dir()


@pytest.mark.parametrize(
    ("arguments", "database_url", "complaint"),
    [
        (["migrate"], None, "DATABASE_URL is not set"),
        (["migrate"], "mysql://somewhere", "DATABASE_URL: must begin with postgres"),
        (["migrate"], "postgresql://u:secret@127.0.0.1:1/db", "can't connect to the database"),
        (["enqueue", "lens-run", "--model", "gpt-5.4", "--prompt", "x"], None, "no `lf-worker dev` runs"),
        (["enqueue", "lens-run", "--model", "gpt-5.4"], None, "give either --prompt or --lens"),
        (
            ["enqueue", "lens-run", "--model", "gpt-5.4", "--lens", "summary", "--input", "text"],
            None,
            "--input 'text' is not LABEL=VALUE",
        ),
    ],
)
def test_a_command_that_cannot_run_says_why_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    database_url: str | None,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lf-worker", *arguments])
    if database_url:
        monkeypatch.setenv("DATABASE_URL", database_url)
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("lf-worker: ")
    assert said.err.count("\n") == 1
    assert complaint in said.err
    assert "secret" not in said.err
