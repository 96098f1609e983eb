"""Make a node type of a function that asks a service for something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

from pydantic.alias_generators import to_camel

from app.nodes.credentials import credential_of
from app.nodes.effects import SendSettings, do_once
from app.nodes.registry import Effect, node_type
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service
from app.nodes.services.settings import ref_of
from app.nodes.task import Task
from app.workflow import Output
from app.workflow.values import JsonObject, compact_json

Config = TypeVar("Config", bound=SendSettings)
Result = TypeVar("Result", bound=Answer)

#: What an operation is: it speaks to its service through a `Call` and gives what it answered.
Operate = Callable[[Call[Config]], Result]


class Again(Enum):
    """What doing an operation a second time means."""

    READS = "nothing happens"
    SAME = "the service knows it by its key, or leaves things as they are"
    TWICE = "it happens twice"


def operation(
    name: str,
    *,
    on: Service,
    takes: type[Config],
    gives: type[Result],
    again: Again,
    scopes: Sequence[str] = (),
    earlier: Callable[[Call[Config]], Result | None] | None = None,
) -> Callable[[Operate[Config, Result]], Operate[Config, Result]]:
    """A node type of a function, whose docstring describes it.

    Parameters:
      on: the service that it asks.
      takes: its settings.
      gives: what comes out of it, as the service names it and as the node's output does.
      again: what a second time means; it decides what happens after a crash in the middle.
      scopes: what the connection must be allowed.
      earlier: finds what an earlier try made, where a second time would happen twice.
    """

    def register(operate: Operate[Config, Result]) -> Operate[Config, Result]:
        def run(task: Task[Config]) -> Output:
            call = _call(task, on, scopes)
            if again is Again.READS:
                return _output(operate(call).told())
            return _output(_do(name, call, operate, again, earlier))

        run.__doc__, run.__module__ = operate.__doc__, operate.__module__
        node_type(
            name,
            config=takes,
            gives=tuple(to_camel(field) for field in gives.model_fields),
            effect=Effect.READS if again is Again.READS else Effect.SENDS,
            check=lambda config: _wrong_connection(config, on),
        )(run)
        return operate

    return register


def _do(
    name: str,
    call: Call[Config],
    operate: Operate[Config, Result],
    again: Again,
    earlier: Callable[[Call[Config]], Result | None] | None,
) -> JsonObject:
    def find() -> JsonObject | None:
        found = earlier(call) if earlier else None
        return found.told() if found else None

    return do_once(
        call.task,
        name,
        lambda: operate(call).told(),
        may_repeat=again is Again.SAME or call.config.on_unknown == "resend",
        find=find if earlier else None,
    )


def _call(task: Task[Config], service: Service, scopes: Sequence[str]) -> Call[Config]:
    """What the operation speaks with; raises GiveUp or RetryLater `connector.…`."""
    ref = ref_of(task.config)
    return Call(service, task, credential_of(task, str(ref), scopes) if ref else "")


def _wrong_connection(config: SendSettings, service: Service) -> str | None:
    ref = ref_of(config)
    if ref is None or ref.provider == service.provider:
        return None
    return f"connectorRef names a connection to {ref.provider}, and this needs one to {service.provider}"


def _output(given: JsonObject) -> Output:
    text = given.get("text") or given.get("url")
    return Output(text=str(text) if text else compact_json(given), artifact_kind="json", data=given)
