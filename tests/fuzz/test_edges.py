"""Every parser at the edge, each met with hostile input; and none that this table doesn't know."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from app.broker.envelope import decode
from app.claims import Claim
from app.endings import Kind, parse_job
from app.errors import GiveUp, RetryLater
from app.http import Response
from app.http.retry_after import parse_retry_after
from app.limits.headers import learn
from app.nodes.messages.chat import glance
from app.nodes.messages.resend import _Sent, _Trouble
from app.nodes.messages.slack import _Posted
from app.nodes.web.answers import read_content
from app.nodes.web.graphql import _Answer
from app.phoenix import frames
from app.platform.battles import BattleJob
from app.platform.lens_runs import LensRun
from app.platform.media import MediaTask
from app.platform.node_media import NodeMedium
from app.platform.team_runs import TeamRun
from app.platform.token_refresh import _read_tokens
from app.platform.workflows import WorkflowRun
from app.providers.problem import read_problem
from app.webhooks.attempt import _report_of
from app.webhooks.delivery import Delivery
from app.workflow.rows import read_draft
from tests.fuzz.hostile import JSON, RETRY_AFTER, as_bytes, bodies, spoiled

ROOT = Path(__file__).parents[2]
MANY = fuzzing(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

#: Modules that parse what comes from outside, and where they are fuzzed.
EDGES = {
    "app/broker/envelope.py": "here",
    "app/endings.py": "here: claimed rows",
    "app/http/retry_after.py": "here",
    "app/limits/headers.py": "here",
    "app/nodes/ai/asking.py": "by example in tests/integration/test_ai_nodes.py",
    "app/nodes/ai/judging.py": "by example in tests/integration/test_ai_nodes.py",
    "app/nodes/checking.py": "by example in tests/unit/nodes/test_checking.py",
    "app/nodes/data/variables.py": "by example in tests/unit/nodes/test_checking.py",
    "app/nodes/logic/code.py": "by example in tests/unit/nodes/logic",
    "app/nodes/messages/chat.py": "here",
    "app/nodes/messages/resend.py": "here",
    "app/nodes/running.py": "by example in tests/unit/nodes/test_checking.py",
    "app/nodes/services/calling.py": "by example in tests/integration/nodes",
    "app/nodes/services/calendar.py": "by example in tests/unit/nodes/test_checking.py: a setting",
    "app/nodes/services/notion.py": "by example in tests/integration/nodes",
    "app/nodes/waiting/approvals.py": "by example in tests/unit/nodes/test_waiting.py",
    "app/nodes/waiting/questions.py": "by example in tests/unit/nodes/test_waiting.py",
    "app/nodes/web/feeds.py": "here",
    "app/nodes/web/graphql.py": "here",
    "app/phoenix/frames.py": "here",
    "app/platform/storage.py": "by example in tests/integration/test_storage_nodes.py",
    "app/platform/token_refresh.py": "here",
    "app/providers/anthropic.py": "test_providers.py",
    "app/providers/chainabit.py": "by example in tests/integration: battles executed elsewhere",
    "app/providers/media/suno.py": "test_providers.py",
    "app/providers/media/wire.py": "test_providers.py",
    "app/providers/ollama.py": "test_providers.py",
    "app/providers/openai.py": "test_providers.py",
    "app/providers/problem.py": "test_providers.py, and here",
    "app/texts/json_text.py": "here: bodies, and tests/unit/workflow",
    "app/texts/scanning.py": "tests/unit/texts",
    "app/webhooks/delivery.py": "here: claimed rows",
    "app/workflow/config.py": "here: rows of graphs",
    "app/workflow/contracts.py": "tests/unit/workflow",
    "app/workflow/resume.py": "tests/unit/workflow",
    "app/workflow/rows.py": "here",
}

#: Rooms whose parsers read only what this package wrote, or the deployer.
INSIDE = (
    *("app/cli/", "app/local/", "app/engine/", "app/teamwork/", "app/platform/"),
    # Files of this package, what it has kept itself, and a key of the environment.
    *("app/providers/catalog.py", "app/answers.py", "app/phoenix/tokens.py"),
    *("app/nodes/battles/series.py", "app/nodes/media/making.py", "app/nodes/data/values.py"),
)
_PARSES = re.compile(
    r"json\.loads\(|\.model_validate(?:_json)?\(|\.validate_(?:json|python)\(|fromisoformat\("
    r"|parsedate_to_datetime|from feedparser|HTMLParser|csv\.reader"
)


def test_every_parser_at_the_edge_is_in_the_table() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("app", "actors", "realtime", "schedules")
        for path in (ROOT / room).rglob("*.py")
        if _PARSES.search(path.read_text(encoding="utf-8"))
    }
    unknown = {path for path in found if path not in EDGES and not path.startswith(INSIDE)}
    assert unknown == set(), "fuzz them, and say where in EDGES"
    assert [path for path in EDGES if path not in found] == []


def response(body: bytes, status: int = 200, content_type: str = "application/json") -> Response:
    return Response(status, {"content-type": content_type}, body, False, 1, "https://a.example/")


#: Stands in what is parsed; whatever is said of input that is refused never quotes it.
PLANTED = "sk-planted-0123456789"


@contextmanager
def refused_with(*errors: type[Exception]) -> Iterator[None]:
    """Input may be refused with these errors, in a few words of our own, and with no others."""
    said = ""
    try:
        yield
    except errors as error:
        said = str(error)
    assert PLANTED not in said
    assert len(said) <= 200


MESSAGE_ID = "00000000-0000-0000-0000-000000000001"
MESSAGE = {
    "actor_name": "a", "args": [PLANTED], "kwargs": {"key": PLANTED}, "options": {"eta": 1},
    "message_timestamp": 1, "message_id": "another", "queue_name": "another",
}  # fmt: skip


@MANY
@given(bodies(MESSAGE))
@example(as_bytes(MESSAGE))
@example(as_bytes({**MESSAGE, "message_timestamp": float("inf")}))
def test_a_message_is_that_of_its_row_or_refused(body: bytes) -> None:
    with refused_with(ValueError):
        message = decode(MESSAGE_ID, "q", body.decode("utf-8", "replace"))
        assert (message.message_id, message.queue_name) == (MESSAGE_ID, "q")
        assert "eta" not in message.options
        assert type(message).decode(message.encode()) == message


@MANY
@given(RETRY_AFTER | st.text(max_size=40))
def test_waits_and_limits_in_headers(text: str) -> None:
    seconds = parse_retry_after(text)
    assert seconds is None or 0 <= seconds <= 366 * 24 * 3600
    names = [f"x-ratelimit-{part}-requests" for part in ("limit", "remaining", "reset")]
    learn(dict.fromkeys(names, text), datetime.now(UTC))
    read_problem(429, {"retry-after": text, "retry-after-ms": text}, b"")


@MANY
@given(bodies({"error": {"message": "m", "type": "t", "details": [{"retryDelay": "3s"}]}}))
def test_errors_of_providers(body: bytes) -> None:
    problem = read_problem(500, {}, body)
    assert problem.message.isprintable()


GOOD_FRAME = {
    "event": "postgres_changes", "topic": "realtime:x", "ref": None, "join_ref": "1",
    "payload": {"ids": [1], "data": {"table": "votes", "type": "INSERT", "record": {"id": PLANTED}}},
}  # fmt: skip


@MANY
@given(bodies(GOOD_FRAME))
@example(as_bytes(GOOD_FRAME))
def test_a_frame_of_realtime_tells_of_a_change_or_is_a_bad_one(body: bytes) -> None:
    with refused_with(frames.BadFrameError):
        frame = frames.parse_frame(body)
        assert len(frame.reason) <= 200
        change = frames.parse_change(frame)
        assert change.model_dump(exclude_unset=True).items() <= frame.payload["data"].items()


@MANY
@given(bodies({"access_token": "t", "expires_in": 3600, "refresh_token": "r", "scope": "a b"}), st.booleans())
def test_answers_of_oauth(body: bytes, is_success: bool) -> None:
    with suppress(GiveUp, RetryLater):
        tokens = _read_tokens(response(body, 200 if is_success else 400))
        assert 0 < tokens.expires_in <= 10 * 366 * 24 * 3600


GOOD_ANSWER = {
    "ok": True, "channel": "C", "ts": "1", "id": "1", "message": "m", "name": "n", "data": {}, "errors": [{}],
}  # fmt: skip


@MANY
@given(bodies(GOOD_ANSWER))
@example(as_bytes(GOOD_ANSWER))
def test_an_answer_of_a_chat_is_read_as_it_is_or_not_at_all(body: bytes) -> None:
    for model in (_Posted, _Sent, _Trouble):
        found = glance(model, response(body))
        assert found is None or is_part_of(found, body)


@MANY
@given(bodies(GOOD_ANSWER))
@example(as_bytes(GOOD_ANSWER))
def test_an_answer_of_a_graph_server_is_read_as_it_is_or_refused(body: bytes) -> None:
    with suppress(ValidationError):
        assert is_part_of(_Answer.model_validate_json(body), body)


def is_part_of(found: BaseModel, body: bytes) -> bool:
    """Whether all that was read stands in the body; a yes or no may be spelled in many ways there."""
    said = json.loads(body)
    read = found.model_dump(exclude_unset=True)
    return all(isinstance(value, bool) or repr(value) == repr(said[name]) for name, value in read.items())


@MANY
@given(
    bodies({"a": [1]}),
    st.sampled_from(["application/json", "text/html; charset=utf-7", "x; charset=\x00", ""]),
)
def test_a_body_of_a_web_server_is_read_whatever_it_holds(body: bytes, content_type: str) -> None:
    read_content(response(body, content_type=content_type))
    report = _report_of(response(body, 500))
    assert "\x00" not in (report.response_head or "")


FEED = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss version="2.0">
<channel><title>&b;</title><item><title>t</title><pubDate>Fri, 31 Dec 9999 23:59:59 -9999</pubDate></item>
</channel></rss>"""


@MANY
@given(st.integers(0, len(FEED)), st.binary(max_size=12), st.integers(0, 20))
@example(0, b"", 0)
def test_an_item_of_a_feed_holds_short_texts_and_a_time_of_the_calendar(
    place: int, junk: bytes, gone: int
) -> None:
    from app.nodes.web import feeds

    parsed = feeds.parse(FEED[:place] + junk + FEED[place + gone :])
    assert parsed.entries or junk or gone
    for entry in parsed.entries:
        item = feeds._item_of(entry)
        published = item.pop("publishedAt")
        assert published is None or datetime.fromisoformat(str(published)).tzinfo == UTC
        assert {type(text) for text in item.values()} == {str}
        assert max(len(str(text)) for text in item.values()) <= len(FEED) + len(junk)


NODE = {"id": "a", "ordinal": 0, "config": {"nodeType": "if_condition", "inputPath": "x", "value": PLANTED}}
EDGE = {"id": "e", "source_node_id": "a", "target_node_id": "b", "condition": {"path": "x", "op": "eq"}}
ROW_ID = re.compile(r"[a-z0-9_-]{1,64}")


def rows_like(good: Any) -> st.SearchStrategy[Any]:
    """Rows are objects, whatever their columns hold."""
    return spoiled(good).filter(lambda row: isinstance(row, dict))


@MANY
@given(st.lists(rows_like(NODE), max_size=4), st.lists(rows_like(EDGE), max_size=4))
@example([NODE], [{**EDGE, "target_param_label": "x", "condition": None}])
def test_a_row_of_a_graph_is_part_of_it_or_a_problem(nodes: list[Any], edges: list[Any]) -> None:
    draft = read_draft(nodes, edges)
    codes = [problem.code for problem in draft.problems]
    assert len(draft.nodes) + codes.count("malformed_node") == len(nodes)
    assert len(draft.edges) + codes.count("malformed_edge") == len(edges)
    assert len(draft.nodes) + len(draft.edges) + len(codes) == len(nodes) + len(edges)
    named = {node.id for node in draft.nodes} | {edge.target for edge in draft.edges}
    assert all(ROW_ID.fullmatch(row_id) for row_id in named)
    assert PLANTED not in str(draft.problems)


JOBS = (LensRun, BattleJob, MediaTask, NodeMedium, TeamRun, Delivery, WorkflowRun)


@pytest.mark.parametrize("model", JOBS, ids=lambda model: model.__name__)
def test_a_claimed_row_fits_its_kind_or_is_given_up_as_malformed(model: type[BaseModel]) -> None:
    kind = Kind("row", model, cast(Any, None), cast(Any, None), None, time_limit_ms=1)
    some = dict.fromkeys(model.model_fields, PLANTED)

    @MANY
    @given(spoiled(some) | JSON)
    def meet(row: Any) -> None:
        claim = Claim(cast(Any, None), uuid4(), "row", uuid4(), row, attempt=1, errors=0, deaths=0)
        with pytest.raises(GiveUp) as refusal:
            parse_job(kind, claim)
        assert refusal.value.code == "job.malformed"
        assert PLANTED not in refusal.value.message
        told = refusal.value.message.removeprefix("the row can't be read: ")
        assert told == "wrong shape" or set(told.split(", ")) <= model.model_fields.keys()

    meet()


def test_a_charset_that_unpacks_is_none() -> None:
    packed = zlib.compress(b"a" * 1_000_000)
    content = read_content(response(packed, content_type="text/plain; charset=zlib"))
    assert content.encoding == "base64"


def test_depth_that_exhausts_the_stack_is_an_ordinary_refusal() -> None:
    with pytest.raises(ValueError, match="too deep"):
        decode("00000000-0000-0000-0000-000000000001", "q", "[" * 100_000)
