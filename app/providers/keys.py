"""The platform's own API keys, and what makes a key usable at all."""

from __future__ import annotations

from pydantic import SecretStr

from app.calls import PLATFORM_KEY
from app.errors import GiveUp
from app.settings import Settings, settings


class ApiKey(SecretStr):
    """An API key that knows which one it is: `ref` is the stored key's id."""

    def __init__(self, secret_value: str, ref: str) -> None:
        super().__init__(secret_value)
        self.ref = ref


def key_ref(key: SecretStr) -> str:
    """What stands for a key where the key itself may not be."""
    return key.ref if isinstance(key, ApiKey) else PLATFORM_KEY


_KEYLESS = frozenset({"ollama", "echo"})


def needs_key(provider: str) -> bool:
    """Whether a call to this provider needs an API key; none does while the echo provider serves all."""
    return provider not in _KEYLESS and not settings().echo_provider


def platform_key(provider: str, settings: Settings) -> SecretStr | None:
    """The platform's key for a provider, or None if none is set; a blank one counts as not set."""
    keys = {
        "openai": settings.openai_api_key,
        "anthropic": settings.anthropic_api_key,
        "google": settings.google_api_key,
        "google_vertex": settings.google_vertex_api_key,
        "mistral": settings.mistral_api_key,
        "deepseek": settings.deepseek_api_key,
        "fal": settings.fal_api_key,
        "stability": settings.stability_api_key,
        "elevenlabs": settings.elevenlabs_api_key,
        "kling": settings.kling_api_key,
        "suno": settings.suno_api_key,
    }
    key = keys.get(provider)
    return key if key and key.get_secret_value().strip() else None


def check_key(key: SecretStr) -> str:
    """The key without the blanks around it, fit for an HTTP header.

    Raises `GiveUp`: `key.missing` when it is blank, because an SDK would look for another one in the
    environment; `key.malformed` unless it is printable ASCII without blanks.
    """
    plain = key.get_secret_value().strip()
    if not plain:
        raise GiveUp("key.missing", "no API key is given")
    if not all("!" <= char <= "~" for char in plain):
        raise GiveUp("key.malformed", "the API key holds characters that no key has; was it pasted in full?")
    return plain
