"""What a process imports before it has anything to do: nothing heavy that it may never use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.cli.main import COMMANDS

#: SDKs and services that a job imports when it first needs them.
USED_BY_JOBS = ("anthropic", "openai", "google.genai", "mistralai", "sentry_sdk", "opentelemetry")
#: What only the nodes of workflows use.
USED_BY_NODES = ("app.nodes", "app.engine", "app.workflow", "jsonschema", "feedparser")


def imported(statement: str, candidates: tuple[str, ...]) -> list[str]:
    """Which of the candidates a new process has imported after a statement."""
    script = f"{statement}\nimport sys; print(*(name for name in {candidates!r} if name in sys.modules))"
    environment = {"DATABASE_URL": "postgresql://nobody@localhost/none"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_process_boots_without_what_only_jobs_use() -> None:
    assert imported("import app.boot", (*USED_BY_JOBS, *USED_BY_NODES, "liquid")) == []


def test_a_worker_that_runs_no_workflows_imports_no_nodes() -> None:
    actors = "import app.boot, actors.media, actors.webhooks, actors.votes, actors.battles, actors.lens_runs"
    assert imported(set_broker() + actors, (*USED_BY_JOBS, *USED_BY_NODES)) == []


def test_the_actors_of_workflows_import_no_sdk() -> None:
    actors = "import actors.workflow_runs, actors.team_runs"
    assert imported(set_broker() + actors, USED_BY_JOBS) == []


def test_the_command_imports_none_of_its_commands_to_say_what_they_are() -> None:
    commands = tuple(command.place.partition(":")[0] for command in COMMANDS.values())
    help_of_all = "import sys; sys.argv = ['lf-worker', '--help']\nfrom app.cli.main import main\n"
    help_of_all += "import contextlib, io\nwith contextlib.suppress(SystemExit), "
    help_of_all += "contextlib.redirect_stdout(io.StringIO()): main()"
    assert imported(help_of_all, (*commands, "psycopg2", "pydantic", "dramatiq", "app.nodes")) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_what_the_command_says_of_itself(name: str) -> None:
    said = COMMANDS[name].load(name).help.strip().partition("\n")[0]
    assert COMMANDS[name].help == said


def set_broker() -> str:
    """Statements that set a broker for the actors to be declared on."""
    return (
        "import dramatiq, app.boot; from app.settings import settings\n"
        "dramatiq.set_broker(app.boot.build_broker(settings()))\n"
    )
