"""AI providers: one way to ask any model for text.

`resolve_model` finds out who serves a model, `platform_key` and `needs_key` what it takes, `ask` asks.
Each provider is one module; its SDK is imported when the first job needs it.
"""

from app.providers.asking import ask
from app.providers.base import Answer, File, Model, Prompt, Turn
from app.providers.catalog import find_model, resolve_model
from app.providers.keys import ApiKey, check_key, key_ref, needs_key, platform_key

__all__ = [
    "Answer",
    "ApiKey",
    "File",
    "Model",
    "Prompt",
    "Turn",
    "ask",
    "check_key",
    "find_model",
    "key_ref",
    "needs_key",
    "platform_key",
    "resolve_model",
]
