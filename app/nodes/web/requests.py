"""Requests to other servers that a workflow's author wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, JsonValue

from app.nodes.effects import SendSettings, do_once
from app.nodes.filling import filled_value
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.web.allow_lists import GuardedSettings, destination_of
from app.nodes.web.answers import MOST_BODY_BYTES, read_content, told_headers
from app.nodes.web.authentication import Authentication, Proof, prove, read_authentication
from app.nodes.web.outbound import request, with_default
from app.redaction import redact
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject, stringify

#: Most headers, and most parameters of the query.
MOST_FIELDS = 50
#: Most bytes of a body that is sent.
MOST_SENT_BYTES = 1024 * 1024

#: Sending one of these again changes nothing more (RFC 9110, 9.2.2).
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
_BODY_TYPES = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "form": "application/x-www-form-urlencoded",
}


def _no_blanks(value: object) -> object:
    return {} if value is None or value == "" else value


Fields = Annotated[dict[str, JsonValue], BeforeValidator(_no_blanks), Field(max_length=MOST_FIELDS)]


class RequestSettings(GuardedSettings, SendSettings):
    """What requests of all kinds have."""

    headers: Fields = Field(default_factory=dict)
    auth: Annotated[Authentication, BeforeValidator(read_authentication)] = Authentication()


class HttpRequest(RequestSettings):
    """The settings of a request; without an allow-list the host must stand in the URL as it is written."""

    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(lambda v: str(v).upper())
    ] = "GET"
    query_params: Fields = Field(default_factory=dict, validation_alias=spelled("queryParams", "query"))
    body: JsonValue = None
    body_type: Literal["json", "text", "form"] = "json"

    def encode(self, body: JsonValue) -> bytes:
        """The body as it is sent; empty for a GET."""
        if self.method == "GET" or body is None or body == "":
            return b""
        if self.body_type == "form" and isinstance(body, dict):
            return urlencode({name: stringify(value) for name, value in body.items()}).encode()
        return stringify(body).encode()


def complaint(settings: RequestSettings) -> str | None:
    """What is wrong with a request before it is made, as far as it can be known."""
    headers = {name: stringify(value) for name, value in settings.headers.items()}
    return settings.complaint_about_destination(headers)


@node_type(
    "http_request",
    config=HttpRequest,
    gives=("status", "headers", "data", "ok", "truncated", "url", "method", "authScheme"),
    effect=Effect.SENDS,
    check=complaint,
)
def send_request(task: Task[HttpRequest]) -> Output:
    """Send an HTTP request and give its answer, whatever its status."""
    config = task.config
    url = with_query(destination_of(task), filled_fields(task, "query_params"))
    body = config.encode(filled_value(task, "body"))
    if len(body) > MOST_SENT_BYTES:
        raise NodeFailure(f"request_too_large: the body is larger than {MOST_SENT_BYTES} bytes")
    headers = filled_fields(task, "headers")
    if body:
        headers = with_default(headers, "Content-Type", _BODY_TYPES[config.body_type])
    if config.method not in _REPEATABLE:
        headers = with_default(headers, "Idempotency-Key", task.idempotency_key)
    proof = prove(task, config.auth)

    def send() -> JsonObject:
        return _exchange(task, url, headers, body, proof)

    if config.method in _REPEATABLE:
        return as_output(send())
    return as_output(do_once(task, "http_request", send, may_repeat=config.on_unknown == "resend"))


def _exchange(
    task: Task[HttpRequest], url: str, headers: dict[str, str], body: bytes, proof: Proof
) -> JsonObject:
    response = request(
        task,
        task.config.method,
        with_query(url, proof.query),
        headers={**headers, **proof.headers},
        body=body,
        max_response_bytes=MOST_BODY_BYTES,
    )
    response = proof.missing_from(response)
    content = read_content(response)
    return {
        "status": response.status,
        "headers": told_headers(response),
        "data": content.value,
        "ok": 200 <= response.status < 300,
        "truncated": response.is_truncated,
        "url": redact(url),
        "method": task.config.method,
        "authScheme": task.config.auth.type,
        "nodeId": task.node.id,
        **({"encoding": content.encoding} if content.encoding else {}),
    }


def filled_fields(task: Task[Any], field: str) -> dict[str, str]:
    """A setting of names and values, as texts with their placeholders filled."""
    value = filled_value(task, field)
    return {name: stringify(each) for name, each in value.items()} if isinstance(value, dict) else {}


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """The URL with further parameters."""
    if not parameters:
        return url
    base, hash_mark, fragment = url.partition("#")
    return f"{base}{'&' if '?' in base else '?'}{urlencode(parameters)}{hash_mark}{fragment}"


def as_output(answer: JsonObject) -> Output:
    """The answer; its text is the body, for nodes that read text."""
    data = answer.get("data")
    text = "" if answer.get("encoding") else stringify(data)
    return Output(text=text, artifact_kind="json", data=answer)
