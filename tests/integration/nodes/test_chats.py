"""Messages to Slack, Discord and Telegram, as the messengers take and refuse them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.local.services.messengers import SLACK_TOKEN, TELEGRAM_TOKEN, WEBHOOK_SECRET, Messengers
from app.nodes.messages import slack
from app.platform.node_effects import Effect, begin
from app.workflow import Cause, NodeFailure
from tests.integration.nodes.conftest import Make

SECRETS = (WEBHOOK_SECRET, "local-planted-secret", TELEGRAM_TOKEN, SLACK_TOKEN)


def settings_of(service: str, messengers: Messengers) -> dict[str, Any]:
    return {
        "slack": {"webhookUrl": messengers.slack_webhook},
        "discord": {"webhookUrl": messengers.discord_webhook},
        "telegram": {"botToken": TELEGRAM_TOKEN, "chatId": "-1004242"},
    }[service]


def path_of(service: str) -> str:
    return {
        "slack": f"/slack/services/{WEBHOOK_SECRET}",
        "discord": "/discord/api/webhooks/42/local-planted-secret?wait=true",
        "telegram": f"/telegram/bot{TELEGRAM_TOKEN}/sendMessage",
    }[service]


every_service = pytest.mark.parametrize("service", ["slack", "discord", "telegram"])


@every_service
def test_a_message_arrives_once_however_often_its_node_runs(
    service: str, make: Make, messengers: Messengers
) -> None:
    node = make(
        f"{service}_notify",
        messageTemplate="{{ name }} says: [[PARENT.output]] {{nobody}}",
        inputs={"name": "Ada"},
        parent="{{name}} & co",
        **settings_of(service, messengers),
    )
    node.refer_to_parent("messageTemplate")
    first, second = node.give(), node.give()
    said = "Ada says: {{name}} & co "
    assert messengers.messages[service] == [said.replace("&", "&amp;") if service == "slack" else said]
    assert first == second
    assert not any(secret in json.dumps(first) for secret in SECRETS)


@every_service
def test_without_a_template_the_parents_text_is_sent(
    service: str, make: Make, messengers: Messengers
) -> None:
    make(f"{service}_notify", parent="hello", **settings_of(service, messengers)).give()
    assert messengers.messages[service] == ["hello"]
    with pytest.raises(NodeFailure, match=r"chat\.empty"):
        make(f"{service}_notify", parent=" ", **settings_of(service, messengers)).give()


@pytest.mark.parametrize(("service", "longest"), [("slack", 40_000), ("discord", 2_000), ("telegram", 4_096)])
def test_a_message_is_cut_to_what_the_service_takes(
    service: str, longest: int, make: Make, messengers: Messengers
) -> None:
    make(f"{service}_notify", parent="x" * 50_000, **settings_of(service, messengers)).give()
    (sent,) = messengers.messages[service]
    assert (len(sent), sent[-4:]) == (longest, "x...")


def test_what_is_filled_in_calls_nobody(make: Make, messengers: Messengers) -> None:
    make("slack_notify", parent="<!channel> <https://evil|good>", webhookUrl=messengers.slack_webhook).give()
    make("discord_notify", parent="@everyone", webhookUrl=messengers.discord_webhook).give()
    assert messengers.messages["slack"] == ["&lt;!channel&gt; &lt;https://evil|good&gt;"]
    assert json.loads(messengers.requests[-1].body)["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("node_type", "settings", "problem"),
    [
        ("slack_notify", {}, "webhookUrl, or a connectorRef"),
        ("slack_notify", {"webhookUrl": "ftp://hooks.slack.com/planted"}, "neither https nor http"),
        ("slack_notify", {"webhookUrl": "https://169.254.169.254/planted"}, "link-local"),
        ("discord_notify", {"webhookUrl": ""}, "webhookUrl"),
        ("telegram_notify", {"chatId": "1"}, "botToken or a connectorRef"),
        ("telegram_notify", {"botToken": "planted"}, "chatId"),
        ("slack_notify", {"webhookUrl": "https://h.example/planted", "onUnknown": "maybe"}, "onUnknown"),
        ("sms_send", {"to": "+1"}, "telephony"),
        ("push_notification", {}, "no device"),
    ],
)
def test_bad_settings_are_named_before_the_run_starts(
    node_type: str, settings: dict[str, str], problem: str, make: Make
) -> None:
    found = make(node_type, **settings).problems
    assert problem in found
    assert "planted" not in found


@every_service
@pytest.mark.parametrize(
    ("scenario", "cause", "after_seconds"),
    [("429", Cause.RATE_LIMIT, 2.0), ("503", Cause.PROVIDER_ERROR, 0.0), ("404", None, None)],
)
def test_a_refusal_leaves_the_message_to_be_sent(
    service: str,
    scenario: str,
    cause: Cause | None,
    after_seconds: float | None,
    make: Make,
    messengers: Messengers,
) -> None:
    messengers.script(path_of(service), [scenario])
    node = make(f"{service}_notify", parent="hello", **settings_of(service, messengers))
    with pytest.raises(NodeFailure, match=f"{service}.status_{scenario}") as raised:
        node.give()
    assert (raised.value.cause, raised.value.after_seconds) == (cause, after_seconds)
    assert not any(secret in raised.value.error for secret in SECRETS)
    node.give()
    assert messengers.messages[service] == ["hello"]


@every_service
@pytest.mark.parametrize("scenario", ["500", "reset"])
def test_a_message_whose_fate_is_unknown_is_not_sent_again_unless_that_is_wanted(
    service: str, scenario: str, make: Make, messengers: Messengers
) -> None:
    messengers.script(path_of(service), [scenario])
    node = make(f"{service}_notify", parent="hello", **settings_of(service, messengers))
    for _ in range(2):
        with pytest.raises(NodeFailure, match="outcome_unknown") as raised:
            node.give()
        assert raised.value.cause is None
        assert not any(secret in raised.value.error for secret in SECRETS)
    assert len(messengers.requests) == 1

    node.change(onUnknown="resend")
    node.give()
    assert messengers.messages[service] == ["hello"]


def test_a_node_whose_worker_died_while_it_sent_does_not_send_again(
    make: Make, messengers: Messengers
) -> None:
    node = make("discord_notify", parent="hello", webhookUrl=messengers.discord_webhook)
    begin(node.database, Effect(node.run.run_id, node.node_id, "discord_message"))
    with pytest.raises(NodeFailure, match="outcome_unknown"):
        node.give()
    assert messengers.requests == []


def test_telegram_says_itself_how_long_to_wait(make: Make) -> None:
    node = make("telegram_notify", parent="hello", botToken=TELEGRAM_TOKEN, chatId="busy")
    with pytest.raises(NodeFailure) as raised:
        node.give()
    assert raised.value.after_seconds == 7


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The vault has tests of its own; here a connector has the token of the local messengers."""
    asked: list[Any] = []

    def give(_task: Any, ref: str, scopes: Any = ()) -> str:
        asked.append((ref, *scopes))
        return SLACK_TOKEN

    monkeypatch.setattr(slack, "credential_of", give)
    return asked


def test_slacks_web_api_is_asked_with_the_token_of_a_connector(
    make: Make, messengers: Messengers, connector: list[Any]
) -> None:
    settings = {"connectorRef": "slack.chat.team", "channelId": "C42"}
    given = make("slack_notify", parent="hello", **settings).give()
    assert (given["channel"], given["ts"]) == ("C42", "1700000000.000100")
    assert connector == [("slack.chat.team", "chat:write")]
    with pytest.raises(NodeFailure, match="channel_not_found"):
        make("slack_notify", parent="hello", **{**settings, "channelId": "#nowhere"}).give()
    assert messengers.messages["slack"] == ["hello"]
