"""Zapier: start a Zap by its catch hook, whose URL is the connection's credential."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from app.nodes.effects import Unsent
from app.nodes.services.answers import Answer
from app.nodes.services.calling import Call, Service
from app.nodes.services.operation import Again, operation
from app.nodes.services.settings import Connected, Fields
from app.nodes.settings import spelled
from app.redaction import remember_secret

ZAPIER = Service(name="zapier", provider="zapier", root="https://hooks.zapier.com")


class Trigger(Connected):
    """The settings of `zapier_webhook_trigger`; without a `payload` it is the upstream's data."""

    payload: Fields | None = Field(default=None, validation_alias=spelled("payload", "params", "data"))


class Triggered(Answer):
    """What Zapier says of a hook that it took."""

    status: str = ""
    request_id: str | None = None


@operation(
    "zapier_webhook_trigger",
    on=ZAPIER,
    takes=Trigger,
    gives=Triggered,
    again=Again.TWICE,
    scopes=("zapier:webhook:trigger",),
)
def trigger(zapier: Call[Trigger]) -> Triggered:
    """Start a Zap."""
    payload: JsonValue = zapier.config.payload
    if payload is None:
        payload = zapier.task.subject
    hook = _hook_of(zapier)
    # The hook's URL is all there is to prove; as a header it would only be shown to more eyes.
    return replace(zapier, token="").post(hook, payload, Triggered)


def _hook_of(zapier: Call[Trigger]) -> str:
    """The path of the hook; raises `Unsent` where the credential is no hook of Zapier's."""
    root, hook = zapier.service.url(""), urlsplit(zapier.token)
    remember_secret(hook.path)
    if not zapier.token.startswith(f"{root}/hooks/") or hook.query or hook.fragment:
        raise Unsent("zapier.no_hook: the connection's credential is not the URL of a catch hook")
    return zapier.token.removeprefix(root)
