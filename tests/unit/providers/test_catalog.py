import pytest

from app.errors import GiveUp
from app.providers import Model, find_model, resolve_model
from app.settings import settings


@pytest.mark.parametrize(
    ("key", "provider", "model"),
    [
        ("gpt-5.4-pro", None, Model("gpt-5.4-pro", "openai", "gpt-5.4", "text")),
        ("gpt-5.4-pro", "openai", Model("gpt-5.4-pro", "openai", "gpt-5.4", "text")),
        ("claude-haiku-4-5", "", Model("claude-haiku-4-5", "anthropic", "claude-haiku-4-5-20251001", "text")),
        (
            "gemini-2.5-pro-vertex",
            None,
            Model("gemini-2.5-pro-vertex", "google_vertex", "gemini-2.5-pro", "text"),
        ),
        (
            "llama3.2:3b-instruct",
            "ollama",
            Model("llama3.2:3b-instruct", "ollama", "llama3.2:3b-instruct", "text"),
        ),
        ("brand-new", "Mistral ", Model("brand-new", "mistral", "brand-new", "text")),
        # A wire name is as good as a key.
        (
            "mistral-large-3-25-12",
            None,
            Model("mistral-large-3-25-12", "mistral", "mistral-large-3-25-12", "text"),
        ),
        # Another provider's wire name is not this one's: the database decides who is asked.
        ("gpt-5.4-pro", "mistral", Model("gpt-5.4-pro", "mistral", "gpt-5.4-pro", "text")),
    ],
)
def test_a_models_provider_and_wire_name_are_found(key, provider, model):
    assert resolve_model(key, provider) == model


@pytest.mark.parametrize(
    ("key", "provider", "code"),
    [
        (None, None, "provider.model_not_found"),
        ("  ", "openai", "provider.model_not_found"),
        ("brand-new", None, "provider.model_not_found"),
        ("brand-new", "openrouter", "provider.unsupported"),
        ("suno-v5", None, "provider.modality_unsupported"),
        ("dall-e-4", "openai", "provider.modality_unsupported"),
        ("midjourney-7", None, "provider.modality_unsupported"),
    ],
)
def test_a_model_that_can_not_be_asked_is_given_up(key, provider, code):
    with pytest.raises(GiveUp) as caught:
        resolve_model(key, provider)
    assert caught.value.code == code


def test_the_echo_provider_stands_in_for_providers_that_the_worker_can_not_call(monkeypatch):
    monkeypatch.setenv("ECHO_PROVIDER", "1")
    settings.cache_clear()
    assert resolve_model("brand-new", "openrouter").provider == "openrouter"


@pytest.mark.parametrize(
    ("key", "provider", "modality", "found"),
    [
        ("dall-e-4", "openai", None, ("openai", "gpt-image-2", "image")),
        ("veo-3", None, None, ("google", "veo-3.0-generate-001", "video")),
        ("fal-ai/flux", "fal-ai", None, ("fal", "fal-ai/flux", "image")),
        ("fal-ai/some-video", "fal", "video", ("fal", "fal-ai/some-video", "video")),
        ("gpt-4o", "openai", "image", ("openai", "gpt-4o", "text")),
        ("new-tune", "suno", "text", ("suno", "new-tune", "music")),
    ],
)
def test_a_model_is_found_whatever_it_makes(key, provider, modality, found):
    model = find_model(key, provider, modality)
    assert (model.provider, model.wire_model, model.kind) == found
