"""Whatever a provider answers, a call ends in an answer or in an outcome of a job, and in nothing else."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from pydantic import SecretStr

from app.errors import GiveUp, RetryLater
from app.local.provider_wire import WIRES, Question, Wire
from app.providers import Answer, Model, Prompt, ask
from app.providers.media import Finished, Pending, Started, Task, poll, submit
from tests.fuzz.conftest import Parrot
from tests.fuzz.hostile import RETRY_AFTER, as_bytes, bodies
from tests.unit.providers.media.conftest import MAKERS, Maker

KEY = SecretStr("sk-fuzz-0123456789abcdef")
STATUSES = st.sampled_from([200, 200, 200, 201, 400, 401, 429, 500, 529])
BRIEFLY = fuzzing(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

#: What the media's providers answer when all is well, in one; each reads its own part.
GOOD_MEDIA = {
    "id": "task-1",
    "taskId": "task-1",
    "task_id": "task-1",
    "request_id": "task-1",
    "name": "operations/1",
    "code": 0,
    "msg": "ok",
    "status": "completed",
    "progress": 100,
    "done": True,
    "audio_url": "https://a.example/1",
    "status_url": "https://a.example/s",
    "response_url": "https://a.example/r",
    "data": {
        "task_id": "task-1",
        "taskId": "task-1",
        "task_status": "succeed",
        "b64_json": "aGk=",
        "task_result": {"videos": [{"id": "1", "url": "https://a.example/v.mp4", "duration": "5"}]},
    },
    "images": [{"url": "https://a.example/i.png", "width": 8, "height": 8, "content_type": "image/png"}],
    "predictions": [{"bytesBase64Encoded": "aGk=", "mimeType": "image/png"}],
    "response": {
        "generateVideoResponse": {"generatedSamples": [{"video": {"uri": "https://a.example/v"}}]},
        "sunoData": [{"audioUrl": "https://a.example/a.mp3", "duration": 3.5}],
    },
}


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.provider)
def test_a_text_comes_as_an_answer_or_an_outcome(wire: Wire, parrot: Parrot) -> None:
    good = wire.answer(Question("m", "hi", None), "an answer", "stop")
    answers = bodies(good) | bodies(wire.error(429, "slow_down", "wait"))

    def ask_once() -> Answer:
        model = Model("m", wire.provider, "m", "text")
        return ask(model, Prompt(text="hi"), key=KEY, deadline_seconds=20.0)

    @BRIEFLY
    @given(status=STATUSES, body=answers, wait=RETRY_AFTER)
    def meet(status: int, body: bytes, wait: str) -> None:
        parrot.answer = (status, {"Retry-After": wait, "x-ratelimit-limit-requests": wait}, body)
        with suppress(RetryLater, GiveUp):
            answer = ask_once()
            assert isinstance(answer, Answer)
            # What goes into the database: its texts hold no NUL, its numbers fit its integers.
            assert "\x00" not in answer.text
            assert 0 <= answer.tokens_in < 2**31
            assert 0 <= answer.tokens_out < 2**31
            json.dumps(answer.usage, allow_nan=False)
            answer.text.encode()

    meet()
    parrot.answer = (200, {}, as_bytes(good))
    assert ask_once().text == "an answer"


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_a_medium_comes_as_an_answer_or_an_outcome(maker: Maker, parrot: Parrot) -> None:
    @BRIEFLY
    @given(status=STATUSES, body=bodies(GOOD_MEDIA), wait=RETRY_AFTER)
    def meet(status: int, body: bytes, wait: str) -> None:
        parrot.answer = (status, {"Retry-After": wait}, body)
        model = Model("m", maker.provider, maker.wire_model, maker.kind)
        with suppress(RetryLater, GiveUp):
            begun = submit(model, "a kite", key=KEY, deadline_seconds=20.0, idempotency_key="job-1")
            assert isinstance(begun, Finished | Started)
        if maker.is_task:
            with suppress(RetryLater, GiveUp):
                task = Task(maker.provider, maker.wire_model, maker.kind, "task-1")
                assert isinstance(poll(task, key=KEY, deadline_seconds=20.0), Pending | Finished)

    meet()
