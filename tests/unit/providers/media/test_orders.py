"""Orders of media: what goes over the wire, what comes back, and what a failure means for the money."""

from __future__ import annotations

import pytest

from app.errors import GiveUp, JobError, RetryLater
from app.local.media_samples import SAMPLES
from app.local.provider_scenarios import RETRY_AFTER_SECONDS
from app.local.provider_server import ProviderServer
from app.providers.media import Finished, Media, Started, SubmissionUnknown

from .conftest import KEY, MAKERS, Maker, Submit

EVERY_MAKER = pytest.mark.parametrize("maker", MAKERS, ids=str)

#: Refused by the provider itself: nothing was taken, so trying again is safe, or useless.
REFUSED = {
    "400": (GiveUp, "provider.invalid_request"),
    "401": (GiveUp, "provider.auth_failed"),
    "402": (GiveUp, "provider.quota_exceeded"),
    "403": (GiveUp, "provider.permission_denied"),
    "404": (GiveUp, "provider.model_not_found"),
    "408": (RetryLater, "provider.timeout"),
    "409": (RetryLater, "provider.unavailable"),
    "429": (RetryLater, "provider.rate_limited"),
    "500": (RetryLater, "provider.unavailable"),
    "503": (RetryLater, "provider.unavailable"),
    "529": (RetryLater, "provider.overloaded"),
    "policy": (GiveUp, "provider.content_refused"),
    "redirect": (RetryLater, "provider.bad_response"),
    "echo-key": (GiveUp, "provider.auth_failed"),
}

#: The answer got lost: the provider may well be at work.
LOST = ["reset", "cut-body", "html", "empty-json", "bad-json"]


def media_of(made: Finished | Started) -> Media:
    assert isinstance(made, Finished)
    return made.media


@EVERY_MAKER
def test_an_order_is_sent_once_with_its_key_and_prompt(
    maker: Maker, order: Submit, server: ProviderServer
) -> None:
    made = order(maker)
    (call,) = server.calls
    assert (call.provider, call.model, call.key) == (maker.provider, maker.wire_model, KEY)
    assert call.prompt == "a red kite over the sea"
    assert isinstance(made, Started if maker.is_task else Finished)


@pytest.mark.parametrize("maker", [maker for maker in MAKERS if not maker.is_task], ids=str)
def test_a_medium_that_is_made_at_once_comes_with_its_type(
    maker: Maker, order: Submit, server: ProviderServer
) -> None:
    media = media_of(order(maker))
    mime, extension, content = SAMPLES[maker.kind]
    assert media.mime == mime
    if media.url is None:
        assert media.content == content
        assert media.bytes_count == len(content)
    else:
        assert media.url == f"{server.url}/files/task-1.{extension}"


@EVERY_MAKER
def test_a_refusal_is_told_from_an_answer_that_got_lost(
    maker: Maker, order: Submit, server: ProviderServer
) -> None:
    seen = {}
    for scenario in REFUSED:
        with pytest.raises(JobError) as caught:
            order(maker, scenario)
        seen[scenario] = (type(caught.value), caught.value.code)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert len(caught.value.message) <= 300
    assert seen == REFUSED
    assert len(server.calls) == len(REFUSED)


def means_something(maker: Maker, scenario: str) -> bool:
    """Whether the answer is one: files have no JSON to break, and Imagen says nothing of what it filters."""
    is_file = maker.provider in {"stability", "elevenlabs"}
    is_imagen = (maker.provider, maker.kind) == ("google", "image")
    return (is_file and scenario == "bad-json") or (is_imagen and scenario == "empty-json")


@pytest.mark.parametrize(
    ("maker", "scenario"),
    [(maker, lost) for maker in MAKERS for lost in LOST if not means_something(maker, lost)],
    ids=str,
)
def test_a_lost_answer_is_never_a_reason_to_order_again(
    maker: Maker, scenario: str, order: Submit, server: ProviderServer
) -> None:
    with pytest.raises(SubmissionUnknown) as caught:
        order(maker, scenario)
    assert caught.value.code == "provider.submission_unknown"
    assert caught.value.__context__ is None
    assert len(server.calls) == 1


@EVERY_MAKER
def test_silence_until_the_deadline_is_a_lost_answer(
    maker: Maker, order: Submit, server: ProviderServer
) -> None:
    order(maker)  # imports are not part of the call
    with pytest.raises(SubmissionUnknown):
        order(maker, "hang", deadline_seconds=0.3)
    assert len(server.calls) == 2
    server.wait_until_idle(timeout=3)


@EVERY_MAKER
def test_nobody_listening_is_no_lost_answer(maker: Maker, order: Submit, server: ProviderServer) -> None:
    server.__exit__(None, None, None)
    with pytest.raises(RetryLater) as caught:
        order(maker)
    assert caught.value.code == "provider.connection_failed"


@EVERY_MAKER
def test_a_wait_that_the_provider_names_reaches_the_retry(maker: Maker, order: Submit) -> None:
    with pytest.raises(RetryLater) as caught:
        order(maker, "429")
    assert caught.value.after_seconds == pytest.approx(RETRY_AFTER_SECONDS, abs=2)


@EVERY_MAKER
def test_a_key_that_the_provider_repeats_is_not_in_the_error(maker: Maker, order: Submit) -> None:
    with pytest.raises(GiveUp) as caught:
        order(maker, "echo-key", key="a.plain!looking~key")
    assert "a.plain" not in repr(caught.value)


@EVERY_MAKER
def test_a_missing_key_is_said_before_any_call(maker: Maker, order: Submit, server: ProviderServer) -> None:
    with pytest.raises(GiveUp) as caught:
        order(maker, key=" ")
    assert caught.value.code == "key.missing"
    assert server.calls == []


@pytest.mark.parametrize(
    ("provider", "kind"), [("mistral", "image"), ("kling", "image"), ("nobody", "video"), ("suno", "video")]
)
def test_a_provider_that_does_not_make_that_kind_is_said(provider: str, kind: str, order: Submit) -> None:
    with pytest.raises(GiveUp) as caught:
        order(Maker(provider, kind, "m", is_task=False))
    assert caught.value.code == "provider.modality_unsupported"


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [
        ("empty-json", "no image came through its filters"),
        ("image-filtered", "Violence is not shown."),
    ],
)
def test_an_image_that_google_filters_is_a_refusal_with_its_reason(
    scenario: str, reason: str, order: Submit
) -> None:
    with pytest.raises(GiveUp) as caught:
        order(Maker("google", "image", "imagen-4.0-generate-001", is_task=False), scenario)
    assert caught.value.code == "provider.content_refused"
    assert caught.value.message == f"Google refused the content: {reason}"


def test_each_generation_of_images_gets_its_own_defaults(order: Submit, server: ProviderServer) -> None:
    for wire_model in ("dall-e-2", "dall-e-3", "gpt-image-2"):
        order(Maker("openai", "image", wire_model, is_task=False))
    two, three, newer = (call.body for call in server.calls)
    assert (two["size"], two["response_format"]) == ("256x256", "url")
    assert "quality" not in two
    assert (three["size"], three["quality"]) == ("1024x1024", "standard")
    assert newer["quality"] == "auto"
    assert "response_format" not in newer


def test_kling_is_told_a_duration_and_our_own_name_of_the_task(order: Submit, server: ProviderServer) -> None:
    order(Maker("kling", "video", "kling-v2-master", is_task=True))
    assert server.calls[0].body["duration"] == "5"
    assert server.calls[0].body["external_task_id"] == "job-1"


@pytest.mark.parametrize(
    ("wire_model", "service"), [("sd3.5-large", "sd3"), ("core", "core"), ("ultra", "ultra")]
)
def test_stability_is_asked_at_the_service_of_the_model(
    wire_model: str, service: str, order: Submit, server: ProviderServer
) -> None:
    order(Maker("stability", "image", wire_model, is_task=False))
    assert server.calls[0].body.get("model", service) == wire_model
    assert server.calls[0].body["output_format"] == "png"
