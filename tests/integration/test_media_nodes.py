"""Nodes of workflows whose models make media, in a real worker: ordered once, waited for, kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.media_samples import MP3, MP4, PNG
from app.local.platform import Seeded, ensure_model
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer
from app.local.workflows import EdgeSeed, NodeSeed
from app.platform import storage as storage_of
from app.settings import settings
from app.workflow import InvalidWorkflow
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media, storage_for_media  # noqa: F401  # fixtures
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows, run_row
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")

ENDED = ("completed", "failed", "cancelled", "timed_out")
PROMPT = "a red kite"
ACTORS = ("actors.workflow_runs", "actors.media")


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, *ACTORS):
        yield


def making(node_type: str, model: str, **config: Any) -> NodeSeed:
    return NodeSeed({"nodeType": node_type, "modelId": model, **config})


def ended(ran: Ran) -> Ran:
    eventually(lambda: run_row(ran.connection, ran.run_id)["status"] in ENDED, what="the run's end")
    return ran


def run(connection: Connection, node: NodeSeed, **inputs: Any) -> Ran:
    return ended(start(connection, {"it": node}, inputs=inputs or {"text": PROMPT}))


def orders(connection: Connection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * FROM worker.node_media ORDER BY created_at")


MADE = [
    ("text_to_image", "dall-e-3", "image", "image/png", PNG),
    ("text_to_image", "fal-ai/flux", "image", "image/png", PNG),
    ("text_to_video", "sora-2.0", "video", "video/mp4", MP4),
    ("text_to_video", "kling-2.0", "video", "video/mp4", MP4),
    ("text_to_speech", "elevenlabs-v4", "audio", "audio/mpeg", MP3),
]


@BOTH_PLATFORMS
def test_media_are_ordered_once_kept_and_given(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {f"{kind} by {model}": making(kind, model) for kind, model, *_ in MADE}
    ran = ended(start(connection, nodes, inputs={"text": PROMPT}))
    for kind, model, medium, mime, content in MADE:
        output = ran.output(f"{kind} by {model}")
        assert (output["mediaType"], output["kind"], output["mimeType"]) == (medium, medium, mime)
        assert output["url"] == output["output"] == output["text"]
        assert output["modelId"] == model
        place = storage_of.place_of(settings(), output["url"])
        assert place is not None
        assert storage.objects["/".join(place)].content == content
        route = ran.node(f"{kind} by {model}")["provider_route"]
        assert route["modelKey"] == model
    assert sorted(order.prompt for order in provider.calls) == [PROMPT] * len(MADE)
    assert {row["state"] for row in orders(connection)} == {"finished"}
    objects = rows(connection, "SELECT name, media_type, external_url, metadata FROM media.objects")
    assert sorted(row["media_type"] for row in objects) == ["audio", "image", "image", "video", "video"]
    assert {row["metadata"]["workflow_run_id"] for row in objects} == {str(ran.run_id)}
    assert all(row["name"].startswith(f"wf-{str(ran.run_id)[:8]}-") for row in objects)
    assert "sk-platform-planted" not in str([ran.node(name) for name in nodes])


def test_a_lens_on_a_model_of_media_gives_its_medium(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    ran = ended(
        start(
            connection,
            {
                "it": NodeSeed({"modelId": "dall-e-3"}, lens="greeting"),
                "on": NodeSeed({"nodeType": "pass_through"}),
            },
            [EdgeSeed("it", "on")],
            {"name": "Ada", "language": "English"},
        )
    )
    assert ran.output("it")["mediaType"] == "image"
    assert ran.output("on")["output"] == ran.output("it")["url"]
    assert [order.prompt for order in provider.calls] == ["Greet Ada in English. Tone: ."]


def test_wishes_are_passed_on(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {
        "image": making(
            "text_to_image", "dall-e-3", width="1792", height="1024", quality="hd", style="vivid"
        ),
        "film": making("text_to_video", "kling-2.0", durationSecs="10", aspectRatio="9:16"),
        "speech": making("text_to_speech", "elevenlabs-v4", voiceId="Rachel", format="mp3"),
    }
    ended(start(connection, nodes, inputs={"text": PROMPT})).output("image")
    body = {order.provider: order.body for order in provider.calls}
    assert {key: body["openai"][key] for key in ("size", "quality", "style")} == {
        "size": "1792x1024",
        "quality": "hd",
        "style": "vivid",
    }
    assert (body["kling"]["duration"], body["kling"]["aspect_ratio"]) == ("10", "9:16")


@pytest.mark.parametrize(
    ("node_type", "model", "sent"),
    [
        ("image_to_image", "gpt-image-1", None),
        ("image_to_image", "fal-ai/flux/dev", "image_url"),
        ("image_upscale", "fal-ai/esrgan", "image_url"),
    ],
)
def test_an_image_is_made_of_the_first_parents_also_from_our_own_storage(
    storage: StorageServer,
    worker: None,
    connection: Connection,
    provider: ProviderServer,
    node_type: str,
    model: str,
    sent: str | None,
) -> None:
    nodes = {"first": making("text_to_image", "dall-e-3"), "it": making(node_type, model, prompt="in blue")}
    ran = ended(start(connection, nodes, [EdgeSeed("first", "it")], {"text": PROMPT}))
    assert ran.output("it")["mediaType"] == "image"
    changed = provider.calls[1]
    assert changed.prompt == "in blue"
    if sent:
        assert changed.body[sent].startswith("data:image/png;base64,")
    if node_type == "image_upscale":
        assert changed.body["scale"] == 2


def test_a_file_of_somebody_else_is_not_shown_to_anybody(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    storage.seed("generated-media/sync/secret.png", "image/png", PNG)
    url = storage_of.object_url(settings(), "generated-media", "sync/secret.png")
    ran = run(connection, making("image_to_image", "gpt-image-1", imageUrl=url))
    assert "belongs to somebody else" in ran.error("it")
    assert provider.calls == []


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (making("text_to_image", "sora-2.0"), "modelId: sora-2.0 makes video"),
        (making("text_to_image", "dall-e-3", n=3), "n: "),
        (making("text_to_image", "dall-e-3", width=0), "width"),
        (making("text_to_video", "kling-2.0", aspectRatio="wide"), "aspect_ratio"),
        (making("text_to_image", "dall-e-3", moderation="both"), "moderation"),
        (making("summarizer", "dall-e-3"), "modelId: dall-e-3 makes image"),
        (making("image_upscale", "fal-ai/esrgan", scale=100), "scale"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.config["nodeType"],
)
def test_bad_settings_are_named_before_the_run_starts(
    database: Database, connection: Connection, node: NodeSeed, complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        execute_once(database, start(connection, {"it": node}, inputs={"text": PROMPT}))
    assert orders(connection) == []


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (making("text_to_image", ""), "modality_not_allowed: claude-sonnet-4-6 makes text"),
        (making("text_to_image", "dall-e-3", aspectRatio="16:9"), "can't tell openai aspect_ratio"),
        (making("image_to_image", "dall-e-3"), "missing_required: a parent that gives image"),
        (
            making("image_to_image", "imagen-4", imageUrl="data:image/png;base64,AA=="),
            "can't have google change a medium",
        ),
    ],
    ids=["no model of media", "an unknown wish", "no image", "no images of images"],
)
def test_what_can_not_be_ordered_fails_before_anything_is(
    database: Database, connection: Connection, node: NodeSeed, error: str
) -> None:
    ran = execute_once(database, start(connection, {"it": node}, inputs={"text": PROMPT}))
    assert error in ran.error("it")
    assert orders(connection) == []


def test_flagged_prompts_are_not_drawn(database: Database, connection: Connection) -> None:
    node = making("text_to_image", "dall-e-3", moderation="input")
    ran = execute_once(database, start(connection, {"it": node}, inputs={"text": "forbidden"}))
    assert ran.error("it") == "moderation_blocked"
    assert orders(connection) == []


@pytest.mark.parametrize(
    ("model", "plan", "error"),
    [
        ("dall-e-3", None, "OpenAI refused the content"),
        ("kling-2.0", ["pending", "failed"], "Kling"),
    ],
)
def test_a_providers_refusal_fails_the_node(
    storage: StorageServer,
    worker: None,
    connection: Connection,
    provider: ProviderServer,
    model: str,
    plan: list[str] | None,
    error: str,
) -> None:
    if plan:
        provider.media.plan("kling-v2-master", plan)
    else:
        provider.script(model, ["policy"])
    ran = run(connection, making("text_to_video" if plan else "text_to_image", model))
    assert error in ran.error("it")
    assert len(provider.calls) == 1
    assert run_row(connection, ran.run_id)["status"] == "failed"
    assert orders(connection)[0]["state"] == "failed"


def test_what_passes_at_the_provider_is_waited_for_without_the_nodes_own_retries(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("dall-e-3", ["503", "429", "ok"])
    storage.failures = [503]
    assert run(connection, making("text_to_image", "dall-e-3", timeoutMs=1000)).output("it")["url"]
    assert len(provider.calls) == 3


def test_an_order_whose_answer_got_lost_is_never_sent_again(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("dall-e-3", ["cut-body"])
    ran = run(connection, making("text_to_image", "dall-e-3", retry={"attempts": 3, "backoffMs": 1}))
    assert "may have taken the order" in ran.error("it")
    assert len(provider.calls) == 1


def test_a_run_that_dies_after_its_order_finds_it_again(
    database: Database, connection: Connection, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = start(connection, {"it": making("text_to_image", "dall-e-3")}, inputs={"text": PROMPT})

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr("app.nodes.orders._wait_for", die)
        execute_once(database, ran)
    (first,) = orders(connection)
    rows(connection, "UPDATE worker.claims SET attempt = attempt + 1 WHERE job = %s", ran.run_id)
    message = call(connection, "SELECT message_id FROM worker.claims WHERE job = %s", ran.run_id)
    execute_once(database, ran, message=message)
    assert [row["id"] for row in orders(connection)] == [first["id"]]
    assert ran.node("it")["waiting_reason"] == "external_callback"
    assert call(connection, "SELECT memo ->> 'order' FROM worker.parked_nodes") == str(first["id"])


def test_a_failed_order_is_made_anew_only_for_a_run_that_is_asked_for_again(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    ran = start(connection, {"it": making("text_to_image", "dall-e-3")}, inputs={"text": PROMPT})
    execute_once(database, ran)
    # As if its worker had died before it could put the run down.
    rows(connection, "DELETE FROM worker.parked_nodes")
    (order,) = orders(connection)
    lost = "SELECT worker.fn_end_node_medium(%s, 'failed', 'provider.submission_unknown', 'lost')"
    rows(connection, lost, order["id"])
    message = call(connection, "SELECT message_id FROM worker.claims WHERE job = %s", ran.run_id)
    execute_once(database, ran, message=message)
    assert [row["id"] for row in orders(connection)] == [order["id"]]
    execute_once(database, ran, message=message)
    assert "lost" in ran.error("it")
    rows(connection, "UPDATE worker.claims SET finished_at = now(), state = 'finished', outcome = 'failed'")
    rows(connection, "UPDATE lenses.workflow_runs SET status = 'queued' WHERE id = %s", ran.run_id)
    execute_once(database, ran)
    assert [row["state"] for row in orders(connection)] == ["abandoned", "queued"]


def test_a_cancelled_run_has_nothing_made_for_it(
    storage: StorageServer,
    database: Database,
    broker: LeaseBroker,
    connection: Connection,
    provider: ProviderServer,
) -> None:
    ran = start(connection, {"it": making("text_to_image", "dall-e-3")}, inputs={"text": PROMPT})
    execute_once(database, ran)
    rows(connection, "UPDATE lenses.workflow_runs SET status = 'cancelled' WHERE id = %s", ran.run_id)
    with running_worker(broker, *ACTORS):
        eventually(lambda: orders(connection)[0]["state"] == "abandoned", what="the order's end")
    assert provider.calls == []
    assert ran.node("it")["status"] == "cancelled"


def test_what_a_medium_costs_is_the_nodes_and_the_runs(
    storage: StorageServer, worker: None, connection: Connection, provider: ProviderServer
) -> None:
    model = ensure_model(connection, "dall-e-3", "openai")
    rows(
        connection,
        "INSERT INTO ai.modality_pricing (model_id, output_modality, credit_rate, rate_unit)"
        " VALUES (%s, 'image', 40, 'per_image')",
        model,
    )
    ran = run(connection, making("text_to_image", "dall-e-3"))
    assert ran.output("it")["url"]
    assert ran.node("it")["cost_credits"] == 40
    assert run_row(connection, ran.run_id)["spent_credits"] == 40


def test_an_operator_cancels_an_order_and_its_node_fails(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    ran = start(connection, {"it": making("text_to_image", "dall-e-3")}, inputs={"text": PROMPT})
    execute_once(database, ran)
    (order,) = orders(connection)
    cancelled = rows(connection, "SELECT * FROM worker.cancel_job(%s, 'Ada', 'no')", order["id"])[0]
    assert (cancelled["kind"], cancelled["was"], cancelled["refusal"]) == ("node_media", "queued", None)
    message = call(connection, "SELECT message_id FROM worker.claims WHERE job = %s", ran.run_id)
    execute_once(database, ran, message=message)
    assert "cancelled by an operator" in ran.error("it")
    assert provider.calls == []
