"""Tasks at providers: every state that a poll can find, and every way in which it finds nothing out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.errors import GiveUp, JobError, RetryLater
from app.local.provider_server import ProviderServer
from app.providers.base import Model
from app.providers.media import Finished, Pending, Started, SubmissionUnknown, can_recover, poll, recover
from app.providers.media.base import Task
from app.providers.media.wire import segment, task_id

from .conftest import KEY, MAKERS, Maker, PollTask, Submit

TASKS = [maker for maker in MAKERS if maker.is_task]
EVERY_TASK = pytest.mark.parametrize("maker", TASKS, ids=str)
KLING = Model("kling-2.0", "kling", "kling-v2-master", "video")

#: Polls that find nothing out, and those after which there is nothing to wait for.
POLLS = {
    "408": (RetryLater, "provider.timeout"),
    "429": (RetryLater, "provider.rate_limited"),
    "500": (RetryLater, "provider.unavailable"),
    "503": (RetryLater, "provider.unavailable"),
    "reset": (RetryLater, "provider.connection_failed"),
    "cut-body": (RetryLater, "provider.connection_failed"),
    "html": (RetryLater, "provider.bad_response"),
    "bad-json": (RetryLater, "provider.bad_response"),
    "401": (GiveUp, "provider.auth_failed"),
    "404": (GiveUp, "provider.model_not_found"),
}


def started(order: Submit, maker: Maker) -> str:
    made = order(maker)
    assert isinstance(made, Started)
    assert made.poll_after_seconds > 0
    return made.task_id


@EVERY_TASK
def test_a_task_is_pending_and_then_done(
    maker: Maker, order: Submit, ask: PollTask, server: ProviderServer
) -> None:
    server.media.plan(maker.wire_model, ["pending", "odd", "done"])
    task = started(order, maker)
    assert isinstance(ask(maker, task), Pending)
    assert isinstance(ask(maker, task), Pending)
    done = ask(maker, task)
    assert isinstance(done, Finished)
    assert (done.media.url is None) == (done.media.content is not None)
    assert {found.key for found in server.media.polls} == {KEY}
    assert len(server.calls) == 1


@EVERY_TASK
@pytest.mark.parametrize(
    ("state", "code"), [("failed", "provider.task_failed"), ("refused", "provider.content_refused")]
)
def test_a_task_that_failed_says_why(
    maker: Maker, state: str, code: str, order: Submit, ask: PollTask, server: ProviderServer
) -> None:
    server.media.plan(maker.wire_model, [state])
    task = started(order, maker)
    with pytest.raises(GiveUp) as caught:
        ask(maker, task)
    assert caught.value.code == code
    assert caught.value.__context__ is None


@EVERY_TASK
def test_a_poll_that_finds_nothing_out_is_told_from_an_end(
    maker: Maker, order: Submit, ask: PollTask, server: ProviderServer
) -> None:
    server.media.plan(maker.wire_model, list(POLLS))
    task = started(order, maker)
    seen = {}
    for scenario in POLLS:
        with pytest.raises(JobError) as caught:
            ask(maker, task)
        seen[scenario] = (type(caught.value), caught.value.code)
    assert seen == POLLS


@EVERY_TASK
def test_a_poll_keeps_its_deadline(
    maker: Maker, order: Submit, ask: PollTask, server: ProviderServer
) -> None:
    server.media.plan(maker.wire_model, ["hang"])
    task = started(order, maker)
    with pytest.raises(RetryLater) as caught:
        ask(maker, task, deadline_seconds=0.3)
    assert caught.value.code == "provider.timeout"


@EVERY_TASK
def test_a_task_that_the_provider_does_not_know_is_said(maker: Maker, ask: PollTask) -> None:
    name = "ai-studio|models/veo-3/operations/x1" if maker.provider == "google" else "nobody-s-task"
    if maker.provider == "google" and maker.kind == "music":
        name = "ai-studio|models/lyria-002/operations/x1"
    with pytest.raises(GiveUp) as caught:
        ask(maker, name)
    assert caught.value.code == "provider.model_not_found"


def test_a_veo_video_is_fetched_with_the_key(order: Submit, ask: PollTask, server: ProviderServer) -> None:
    veo = next(maker for maker in TASKS if maker.wire_model.startswith("veo"))
    server.media.plan(veo.wire_model, ["done"])
    task = started(order, veo)
    assert task.startswith("ai-studio|models/veo")
    done = ask(veo, task)
    assert isinstance(done, Finished)
    assert done.media.fetch_headers == {"x-goog-api-key": KEY}
    assert KEY not in repr(done)


def test_suno_answers_in_either_of_its_shapes(order: Submit, ask: PollTask, server: ProviderServer) -> None:
    for wire_model in ("chirp-v4", "chirp-bare"):
        maker = Maker("suno", "music", wire_model, is_task=True)
        server.media.plan(wire_model, ["done"])
        done = ask(maker, started(order, maker))
        assert isinstance(done, Finished)
        assert done.media.duration_seconds == 29.5


@pytest.mark.parametrize("scenario", ["reset", "hang"])
def test_kling_finds_a_task_again_whose_answer_got_lost(
    scenario: str, order: Submit, server: ProviderServer
) -> None:
    kling = Maker("kling", "video", "kling-v2-master", is_task=True)
    with pytest.raises(SubmissionUnknown):
        order(kling, scenario, deadline_seconds=0.5)
    found = recover(KLING, key=SecretStr(KEY), deadline_seconds=5, idempotency_key="job-1")
    assert found is not None
    assert found.task_id == "task-1"
    assert recover(KLING, key=SecretStr(KEY), deadline_seconds=5, idempotency_key="job-2") is None


@pytest.mark.parametrize("maker", [maker for maker in MAKERS if maker.provider != "kling"], ids=str)
def test_no_other_provider_can_be_asked_what_became_of_an_order(maker: Maker, server: ProviderServer) -> None:
    model = Model("m", maker.provider, maker.wire_model, maker.kind)
    assert not can_recover(model)
    with pytest.raises(SubmissionUnknown):
        recover(model, key=SecretStr(KEY), deadline_seconds=5, idempotency_key="job-1")


@given(name=st.text(max_size=40))
def test_a_task_id_never_leaves_its_segment_of_the_path(name: str) -> None:
    try:
        assert set(task_id(name)) <= set(segment(name))
    except GiveUp:
        return
    assert not set(name) & set("/?#%\\ \n")


@pytest.mark.parametrize(
    "name", ["../../v1/keys", "ai-studio|../../x", "vertex:eu@evil|a/b", "ai-studio|", "x y/z"]
)
def test_an_operation_that_is_none_is_not_asked_for(name: str, server: ProviderServer) -> None:
    with pytest.raises(GiveUp) as caught:
        poll(Task("google", "veo", "video", name), key=SecretStr(KEY), deadline_seconds=5)
    assert caught.value.code == "provider.task_malformed"
    assert server.media.polls == []
