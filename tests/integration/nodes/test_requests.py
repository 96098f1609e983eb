"""HTTP and GraphQL requests of nodes, and webhooks that go into the outbox."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.services.messengers import Messengers
from app.nodes.web import authentication
from app.platform.node_effects import Effect, begin
from app.workflow import Cause, NodeFailure, NodeStatus, Output
from tests.integration.nodes.conftest import Make
from tests.integration.workflow_rows import rows

SECRET = "planted-credential-4242"


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The vault has tests of its own; here every connector has the same secret."""
    asked: list[Any] = []

    def give(_task: Any, ref: str, scopes: Any = ()) -> str:
        asked.append((ref, *scopes))
        return SECRET

    monkeypatch.setattr(authentication, "credential_of", give)
    return asked


def test_the_answer_is_data_whatever_its_status(make: Make, messengers: Messengers) -> None:
    node = make("http_request", url=messengers.url("/nowhere?a=1"), queryParams='{"q": "x y"}', method="get")
    given = node.give()
    assert (given["status"], given["ok"], given["data"]) == (404, False, {"error": "no such service"})
    assert given["output"] == '{"error":"no such service"}'
    assert messengers.requests[0].path == "/nowhere?a=1&q=x+y"
    assert (given["url"], given["method"]) == (messengers.url("/nowhere?a=1&q=x+y"), "GET")


def test_placeholders_are_filled_once_and_stay_in_their_place(make: Make, messengers: Messengers) -> None:
    node = make(
        "http_request",
        url=messengers.url("/items/{{id}}/x"),
        method="POST",
        headers={"X-Topic": "{{topic}}"},
        body={"said": "[[PARENT.output]]", "list": "{{list}}", "text": "{{topic}}!"},
        inputs={"id": "../a?b#c", "topic": "cats", "list": [1, 2]},
        parent='"}, {{topic}}',
    )
    node.refer_to_parent("body")
    node.give()
    (request,) = messengers.requests
    assert request.path == "/items/..%2Fa%3Fb%23c/x"
    assert request.headers["x-topic"] == "cats"
    assert json.loads(request.body) == {"said": '"}, {{topic}}', "list": [1, 2], "text": "cats!"}


@pytest.mark.parametrize(
    ("body_type", "body", "sent", "content_type"),
    [
        ("json", {"a": 1}, b'{"a":1}', "application/json"),
        ("text", "plain ä", "plain ä".encode(), "text/plain; charset=utf-8"),
        ("form", {"a": "1 2", "b": "&"}, b"a=1+2&b=%26", "application/x-www-form-urlencoded"),
    ],
)
def test_bodies_go_out_as_their_type_says(
    body_type: str, body: Any, sent: bytes, content_type: str, make: Make, messengers: Messengers
) -> None:
    make("http_request", url=messengers.url("/x"), method="PUT", bodyType=body_type, body=body).give()
    (request,) = messengers.requests
    assert (request.method, request.body, request.headers["content-type"]) == ("PUT", sent, content_type)


@pytest.mark.parametrize(
    ("auth", "where", "value"),
    [
        ({"type": "bearer"}, "authorization", f"Bearer {SECRET}"),
        ({"type": "basic"}, "authorization", "Basic cGxhbnRlZC1jcmVkZW50aWFsLTQyNDI="),
        ({"type": "header", "headerName": "X-Token", "prefix": "v1 "}, "x-token", f"v1 {SECRET}"),
        ({"type": "api_key"}, "x-api-key", SECRET),
        ({"type": "api_key", "in": "query", "paramName": "k"}, "query", f"/x?k={SECRET}"),
    ],
    ids=["bearer", "basic", "header", "api_key", "query"],
)
def test_a_credential_is_on_the_request_and_nowhere_else(
    auth: dict[str, str], where: str, value: str, make: Make, messengers: Messengers, connector: list[Any]
) -> None:
    auth = {**auth, "connectorRef": "acme.api.main", "scopes": ["read"]}  # type: ignore[dict-item]
    given = make("http_request", url=messengers.url("/x"), auth=auth).give()
    (request,) = messengers.requests
    assert {**request.headers, "query": request.path}[where] == value
    assert SECRET not in json.dumps(given)
    assert connector == [("acme.api.main", "read")]


def test_a_post_is_sent_once_however_often_its_node_runs(make: Make, messengers: Messengers) -> None:
    node = make("http_request", url=messengers.url("/orders"), method="POST", body={"item": 1})
    assert node.give() == node.give()
    (request,) = messengers.requests
    assert request.headers["idempotency-key"] == node.key


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_whose_fate_is_unknown_is_not_sent_again_unless_that_is_wanted(
    method: str, make: Make, messengers: Messengers
) -> None:
    messengers.script("/orders", ["reset"])
    node = make("http_request", url=messengers.url("/orders"), method=method, body={"item": 1})
    for _ in range(2):
        with pytest.raises(NodeFailure, match="outcome_unknown"):
            node.give()
    assert len(messengers.requests) == 1
    node.change(onUnknown="resend")
    assert node.give()["status"] == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_may_be_repeated_is_simply_done_again(method: str, make: Make, messengers: Messengers) -> None:
    messengers.script("/orders", ["reset"])
    node = make("http_request", url=messengers.url("/orders"), method=method)
    with pytest.raises(NodeFailure, match=r"http\.broken_response") as raised:
        node.give()
    assert raised.value.cause is Cause.PROVIDER_ERROR
    assert node.give()["status"] == 404


def test_a_request_ends_with_the_nodes_time(make: Make, messengers: Messengers) -> None:
    messengers.script("/slow", ["hang"])
    with pytest.raises(NodeFailure) as raised:
        make("http_request", url=messengers.url("/slow"), timeoutMs=300).give()
    assert (raised.value.status, raised.value.cause) == (NodeStatus.TIMED_OUT, Cause.TIMEOUT)


def test_redirects_are_not_followed_and_large_answers_are_cut(make: Make, messengers: Messengers) -> None:
    messengers.script("/here", ["redirect", "ok-huge"])
    node = make("http_request", url=messengers.url("/here"))
    assert node.give()["status"] == 302
    given = node.give()
    assert (given["truncated"], len(str(given["data"]))) == (True, 1024 * 1024)


HOST = "api.example"
OUTBOX = "SELECT id, event_type, payload FROM audit.webhook_outbox"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "url: Field required"),
        ({"url": "https://x.example", "method": "TRACE"}, "method"),
        ({"url": "file:///etc/passwd"}, "neither https nor http"),
        ({"url": "http://169.254.169.254/latest"}, "link-local"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "IPv4-mapped"),
        ({"url": "http://api.example/"}, "only https"),
        ({"url": "https://user:planted@api.example/"}, "user name"),
        ({"url": f"https://{HOST}/", "headers": {"Host": "other"}}, "header Host"),
        ({"url": f"https://{HOST}/", "headers": {"X": "a\r\nplanted: b"}}, "line break"),
        ({"url": f"https://{HOST}/", "allowlistedHosts": "other.example"}, "host_not_allowlisted"),
        ({"url": f"https://{HOST}/", "allowlistedOrigins": [f"https://{HOST}:444"]}, "host_not_allowlisted"),
        ({"url": f"https://{HOST}/", "auth": "bearer"}, "auth_connector_ref_required"),
        ({"url": f"https://{HOST}/", "headers": {f"h{n}": "" for n in range(51)}}, "headers"),
    ],
)
def test_bad_settings_are_named_before_the_run_starts(settings: Any, problem: str, make: Make) -> None:
    found = make("http_request", **settings).problems
    assert problem in found
    assert "planted" not in found


@pytest.mark.parametrize(
    "settings",
    [
        {"allowlistedHosts": [HOST]},
        {"allowlistedHosts": HOST},
        {"allowlistedOrigins": f"https://{HOST}/"},
        {},
        {"auth": "none", "headers": "", "queryParams": None},
    ],
)
def test_a_host_on_the_list_or_no_list_is_well(settings: Any, make: Make) -> None:
    assert make("http_request", url=f"https://{HOST}/", **settings).problems == ""


@pytest.mark.parametrize("node_type", ["http_request", "webhook_sender"])
def test_a_host_that_another_node_names_must_be_on_a_list(
    node_type: str, make: Make, messengers: Messengers
) -> None:
    node = make(node_type, url="{{where}}", inputs={"where": messengers.url("/x")}, parent="x")
    with pytest.raises(NodeFailure, match="allowlist_required"):
        node.give()
    node.change(allowlistedHosts=["other.example"])
    with pytest.raises(NodeFailure, match="host_not_allowlisted"):
        node.give()
    node.change(allowlistedHosts=["127.0.0.1"])
    node.give()


def test_graphql_gives_data_and_errors(make: Make, messengers: Messengers) -> None:
    messengers.serve("/graphql", {"data": {"user": {"name": "Ada"}}, "errors": [{"message": "partly"}]})
    node = make(
        "graphql_request",
        endpoint=messengers.url("/graphql"),
        query="query ($id: ID!) { user(id: $id) { name } } # mutation",
        variables='{"id": "{{id}}"}',
        inputs={"id": 7},
    )
    given = node.give()
    assert (given["data"], given["ok"]) == ({"user": {"name": "Ada"}}, False)
    assert json.loads(messengers.requests[0].body)["variables"] == {"id": 7}
    node.give()
    assert len(messengers.requests) == 2, "a query may be asked again"


def test_a_mutation_is_sent_once(make: Make, messengers: Messengers) -> None:
    messengers.serve("/graphql", {"data": {"add": 1}})
    node = make("graphql_request", url=messengers.url("/graphql"), query="mutation { add }")
    assert node.give() == node.give()
    assert len(messengers.requests) == 1


def test_what_is_no_graphql_is_said(make: Make, messengers: Messengers) -> None:
    with pytest.raises(NodeFailure, match="invalid_graphql_response: status 404"):
        messengers.serve("/graphql", ["not graphql"], status=404)
        make("graphql_request", url=messengers.url("/graphql"), query="{ a }").give()
    assert "query" in make("graphql_request", url="https://x.example", query="x" * 100_001).problems
    auth = {"type": "api_key", "in": "query", "connectorRef": "a.b.c"}
    assert "in a header" in make("graphql_request", url="https://x.example", query="{a}", auth=auth).problems


def test_a_webhook_goes_into_the_outbox_once(
    make: Make, messengers: Messengers, connection: Connection
) -> None:
    node = make(
        "webhook_sender",
        url=messengers.url("/hook"),
        bodyTemplate='{"text": "{{name}}", "n": "{{n}}"}',
        inputs={"name": '"Ada"', "n": 3},
    )
    first, second = node.give(), node.give()
    (row,) = rows(connection, OUTBOX)
    assert (row["event_type"], row["payload"]) == ("workflow.webhook", {"text": '"Ada"', "n": 3})
    assert first == second
    assert first["webhookId"] == str(row["id"])


@pytest.mark.parametrize(
    ("parent", "template", "payload"),
    [
        ("hello", None, {"text": "hello"}),
        (Output(artifact_kind="json", data={"a": 1}), None, {"a": 1}),
        ("hello", "Said: {{input}}", {"text": "Said: hello"}),
        ("3", '{"n": {{input}}}', {"n": 3}),
    ],
    ids=["text", "data", "template", "number"],
)
def test_the_body_of_a_webhook(
    parent: Any,
    template: str | None,
    payload: Any,
    make: Make,
    messengers: Messengers,
    connection: Connection,
) -> None:
    settings = {"bodyTemplate": template} if template else {}
    make("webhook_sender", url=messengers.url("/hook"), parent=parent, **settings).give()
    assert [row["payload"] for row in rows(connection, OUTBOX)] == [payload]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "https://10.0.0.1/"}, "private"),
        ({"url": "https://x.example/", "method": "PUT"}, "method"),
        ({"url": "https://x.example/", "headers": {"A": "b"}}, "use http_request"),
    ],
)
def test_bad_settings_of_a_webhook_are_named(settings: Any, problem: str, make: Make) -> None:
    assert problem in make("webhook_sender", **settings).problems


def test_a_node_whose_worker_died_while_it_sent_does_not_send_again(
    make: Make, messengers: Messengers
) -> None:
    node = make("http_request", url=messengers.url("/orders"), method="POST", body="x")
    begin(node.database, Effect(node.run.run_id, node.node_id, "http_request"))
    with pytest.raises(NodeFailure, match="outcome_unknown"):
        node.give()
    assert messengers.requests == []
