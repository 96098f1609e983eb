"""Earlier turns and files of a prompt, as each provider gets them."""

import base64

import pytest

from app.errors import GiveUp
from app.local.media_samples import MP4, PNG
from app.providers import File, Turn

PICTURE = File("image/png", PNG)
ENCODED = base64.b64encode(PNG).decode()
TURNS = (Turn("user", "hello"), Turn("assistant", "hi"))

CHAT = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
]
CONTENTS = [
    {"role": "user", "parts": [{"text": "hello"}]},
    {"role": "model", "parts": [{"text": "hi"}]},
]


@pytest.mark.parametrize("provider", ["openai", "mistral", "deepseek", "anthropic", "ollama"])
def test_earlier_turns_come_before_the_prompt(provider, ask_provider, server):
    ask_provider(provider, earlier=TURNS)
    assert server.calls[0].body["messages"] == [*CHAT, {"role": "user", "content": "how are you"}]


def test_google_calls_the_assistant_a_model(ask_provider, server):
    ask_provider("google", earlier=TURNS)
    assert server.calls[0].body["contents"] == [
        *CONTENTS,
        {"role": "user", "parts": [{"text": "how are you"}]},
    ]


@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_a_picture_goes_to_chat_completions_as_a_data_uri(provider, ask_provider, server):
    ask_provider(provider, files=[PICTURE])
    assert server.calls[0].body["messages"][0]["content"] == [
        {"type": "text", "text": "how are you"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
    ]


def test_a_picture_goes_to_anthropic_before_the_text(ask_provider, server):
    ask_provider("anthropic", files=[PICTURE])
    source = {"type": "base64", "media_type": "image/png", "data": ENCODED}
    assert server.calls[0].body["messages"][0]["content"] == [
        {"type": "image", "source": source},
        {"type": "text", "text": "how are you"},
    ]


@pytest.mark.parametrize("provider", ["google", "google_vertex"])
@pytest.mark.parametrize("mime", ["image/png", "video/mp4", "audio/mpeg"])
def test_google_takes_pictures_films_and_recordings(provider, mime, ask_provider, server):
    ask_provider(provider, files=[File(mime, PNG)])
    shown = server.calls[0].body["contents"][0]["parts"][1]
    assert shown == {"inlineData": {"mimeType": mime, "data": ENCODED}}


def test_a_picture_goes_to_ollama_as_it_is(ask_provider, server):
    ask_provider("ollama", files=[PICTURE])
    assert server.calls[0].body["messages"][0]["images"] == [ENCODED]


@pytest.mark.parametrize(
    ("provider", "file"),
    [("openai", File("video/mp4", MP4)), ("anthropic", File("audio/mpeg", PNG)), ("deepseek", PICTURE)],
    ids=["a film for openai", "a recording for anthropic", "a picture for deepseek"],
)
def test_what_a_provider_can_not_be_shown_is_refused_before_any_call(provider, file, ask_provider, server):
    with pytest.raises(GiveUp) as refused:
        ask_provider(provider, files=[file])
    assert refused.value.code == "provider.modality_unsupported"
    assert server.calls == []
