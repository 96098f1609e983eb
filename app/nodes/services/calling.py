"""Requests to one service with one connection, and answers parsed by a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field, JsonValue, ValidationError

from app.http import Response
from app.http.retry_after import parse_retry_after
from app.nodes.effects import Unsent
from app.nodes.services.answers import Answer, Nothing, words_of
from app.nodes.task import Task
from app.nodes.web.outbound import quoted, raise_for_status, request
from app.settings import settings
from app.workflow import Cause, NodeFailure

#: Most bytes of one answer.
MOST_ANSWER_BYTES = 2 * 1024 * 1024

#: How long to leave a service alone that says only that there have been too many calls.
_OUT_OF_CALLS_SECONDS = 60.0

Config_co = TypeVar("Config_co", bound=BaseModel, covariant=True)
Model = TypeVar("Model", bound=Answer)

Query = Mapping[str, str | int]


@dataclass(frozen=True)
class Service:
    """A service's API: its name in WORKER_SERVICE_ROOTS, whose connections open it, and how it is spoken to.

    `scheme` goes before the token in the Authorization header.
    """

    name: str
    provider: str
    root: str
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "Bearer "

    def url(self, path: str, query: Query | None = None) -> str:
        """Where a path below the root lies."""
        return settings().root_of(self.name, self.root) + path + (f"?{urlencode(query)}" if query else "")


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


@dataclass(frozen=True)
class Call(Generic[Config_co]):
    """What an operation speaks to its service with.

    `key` stands for this node of this run, whenever it is done; it holds nothing that would be a secret.
    """

    service: Service
    task: Task[Config_co]
    token: str = field(repr=False, default="")

    @property
    def config(self) -> Config_co:
        """The node's settings."""
        return self.task.config

    @property
    def key(self) -> str:
        """What stands for this node of this run, whoever executes it and how often."""
        return self.task.idempotency_key

    def get(self, path: str, model: type[Model], query: Query | None = None) -> Model:
        """Ask for something."""
        return self.ask("GET", path, model, query=query)

    def find(self, path: str, model: type[Model], query: Query | None = None) -> Model | None:
        """Ask for something that may not be there."""
        response = self._send("GET", path, query, None)
        if response.status in (404, 410):
            return None
        raise_for_status(self.service.name, response, self.token, reason=words_of(response))
        return self._read(response, model)

    def post(self, path: str, body: JsonValue, model: type[Model], query: Query | None = None) -> Model:
        """Ask with a body, or have something made."""
        return self.ask("POST", path, model, body, query)

    def put(self, path: str, body: JsonValue, model: type[Model], query: Query | None = None) -> Model:
        """Have something be as the body says."""
        return self.ask("PUT", path, model, body, query)

    def patch(self, path: str, body: JsonValue, model: type[Model]) -> Model:
        """Have something changed."""
        return self.ask("PATCH", path, model, body)

    def graphql(self, query: str, variables: JsonValue, model: type[Model]) -> Model:
        """Send a GraphQL document; the model is that of its `data`. An error in it fails the node."""
        content: JsonValue = {"query": query, "variables": variables}
        response = self._send("POST", "", None, content)
        raise_for_status(self.service.name, response, self.token, reason=words_of(response))
        answer = self._read(response, _GraphQL)
        if answer.errors or answer.error_code or not isinstance(answer.data, dict):
            raise self._graphql_failure(response, answer)
        return self._check(model, answer.data)

    def ask(
        self,
        method: str,
        path: str,
        model: type[Model],
        body: JsonValue = None,
        query: Query | None = None,
    ) -> Model:
        """Send one request and read the answer; raises `Unsent` for what is refused, else `NodeFailure`."""
        response = self._send(method, path, query, body)
        if response.status == 403 and _is_out_of_calls(response):
            raise self._later(response)
        raise_for_status(self.service.name, response, self.token, reason=words_of(response))
        return model() if model is Nothing else self._read(response, model)

    def _send(self, method: str, path: str, query: Query | None, body: JsonValue) -> Response:
        headers = {"Accept": "application/json", **self.service.headers}
        if self.token:
            headers["Authorization"] = self.service.scheme + self.token
        content = b""
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        return request(
            self.task,
            method,
            self.service.url(path, query),
            headers=headers,
            body=content,
            max_response_bytes=MOST_ANSWER_BYTES,
        )

    def _read(self, response: Response, model: type[Model]) -> Model:
        if response.is_truncated:
            raise NodeFailure(f"{self.service.name}.too_large: the answer is over {MOST_ANSWER_BYTES} bytes")
        try:
            value: Any = json.loads(response.json_body)
        except ValueError:
            raise NodeFailure(f"{self.service.name}.unreadable: the answer is not JSON") from None
        return self._check(model, value)

    def _check(self, model: type[Model], value: Any) -> Model:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            raise NodeFailure(
                f"{self.service.name}.unreadable: the answer lacks what is needed ({where})"
            ) from None

    def _graphql_failure(self, response: Response, answer: _GraphQL) -> NodeFailure:
        said = quoted(words_of(response) or "no reason given", self.token)
        error = f"{self.service.name}.refused: {said}"
        code = (answer.error_code or answer.first_code).lower()
        if "ratelimit" in code.replace("_", "") or "complexity" in code:
            return Unsent(error, cause=Cause.RATE_LIMIT, after_seconds=answer.retry_in_seconds)
        return Unsent(error)

    def _later(self, response: Response) -> NodeFailure:
        said = quoted(words_of(response) or "out of calls", self.token)
        wait_seconds = parse_retry_after(response.headers.get("retry-after")) or _OUT_OF_CALLS_SECONDS
        error = f"{self.service.name}.status_403: {said}"
        return Unsent(error, cause=Cause.RATE_LIMIT, after_seconds=wait_seconds)


class _Extensions(BaseModel):
    code: str = ""


class _Error(BaseModel):
    message: str = ""
    extensions: _Extensions = _Extensions()


class _GraphQL(Answer):
    """An answer to a GraphQL document; monday.com tells some errors beside the standard's list."""

    data: JsonValue = None
    errors: list[_Error] = Field(default_factory=list)
    error_code: str = ""
    retry_in_seconds: float | None = None

    @property
    def first_code(self) -> str:
        """The code of the first error."""
        return self.errors[0].extensions.code if self.errors else ""


def _is_out_of_calls(response: Response) -> bool:
    """Whether a 403 means too many calls, which is how GitHub says so."""
    return response.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in response.headers
