"""Requests to GraphQL servers."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.nodes.effects import Unsent, do_once
from app.nodes.filling import filled_value
from app.nodes.registry import Effect, node_type
from app.nodes.task import Task
from app.nodes.web.allow_lists import destination_of
from app.nodes.web.answers import MOST_BODY_BYTES
from app.nodes.web.authentication import Proof, prove
from app.nodes.web.outbound import post_json, with_default
from app.nodes.web.requests import (
    Fields,
    RequestSettings,
    as_output,
    complaint,
    filled_fields,
)
from app.redaction import redact
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

#: Longest document, in characters.
LONGEST_QUERY = 100_000

#: Strings and comments of a document, in which no word means anything.
_SILENT = re.compile(r'"""(?:\\"""|.)*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*', re.DOTALL)
_MUTATES = re.compile(r"\bmutation\b")


class GraphqlRequest(RequestSettings):
    """The settings of a GraphQL request; `variables` may name outputs, the document is sent as it is."""

    query: str = Field(min_length=1, max_length=LONGEST_QUERY)
    variables: Fields = Field(default_factory=dict)
    operation_name: str = ""

    @property
    def changes_something(self) -> bool:
        """Whether the document may hold a mutation."""
        return _MUTATES.search(_SILENT.sub(" ", self.query)) is not None


class _Answer(BaseModel):
    """A response as the GraphQL specification has it."""

    model_config = ConfigDict(extra="ignore")

    data: JsonValue = None
    errors: list[JsonValue] = Field(default_factory=list)


def _complaint(settings: GraphqlRequest) -> str | None:
    if settings.auth.type == "api_key" and settings.auth.place == "query":
        return "auth: a GraphQL request carries its key in a header"
    return complaint(settings)


@node_type(
    "graphql_request",
    config=GraphqlRequest,
    gives=("data", "errors", "status", "ok", "truncated", "url"),
    effect=Effect.SENDS,
    check=_complaint,
)
def send_graphql(task: Task[GraphqlRequest]) -> Output:
    """Send a GraphQL request and give its data and errors."""
    config = task.config
    url = destination_of(task)
    headers = with_default(filled_fields(task, "headers"), "Idempotency-Key", task.idempotency_key)
    proof = prove(task, config.auth)
    content: JsonObject = {"query": config.query, "variables": filled_value(task, "variables") or {}}
    if config.operation_name:
        content["operationName"] = config.operation_name

    def send() -> JsonObject:
        return _exchange(task, url, content, headers, proof)

    if not config.changes_something:
        return as_output(send())
    return as_output(do_once(task, "graphql_request", send, may_repeat=config.on_unknown == "resend"))


def _exchange(
    task: Task[GraphqlRequest], url: str, content: JsonObject, headers: dict[str, str], proof: Proof
) -> JsonObject:
    sent = with_default(headers, "Accept", "application/graphql-response+json, application/json")
    response = post_json(task, url, content, {**sent, **proof.headers}, max_response_bytes=MOST_BODY_BYTES)
    response = proof.missing_from(response)
    try:
        answer = _Answer.model_validate_json(response.json_body)
    except ValidationError:
        failure = Unsent if 400 <= response.status < 500 else NodeFailure
        raise failure(
            f"invalid_graphql_response: status {response.status}"
            + (f", cut off after {MOST_BODY_BYTES} bytes" if response.is_truncated else "")
        ) from None
    return {
        "data": answer.data,
        "errors": answer.errors,
        "status": response.status,
        "ok": 200 <= response.status < 300 and not answer.errors,
        "truncated": response.is_truncated,
        "url": redact(url),
    }
