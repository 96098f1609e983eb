"""The platform's keys for AI providers."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from app.settings.fields import key


class ProviderKeys(BaseModel):
    """The platform's keys for AI providers."""

    openai_api_key: SecretStr = key("OPENAI_API_KEY", owner="OpenAI")
    anthropic_api_key: SecretStr = key("ANTHROPIC_API_KEY", owner="Anthropic")
    google_api_key: SecretStr = key(
        "GOOGLE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", owner="Google AI"
    )
    google_vertex_api_key: SecretStr = key("GOOGLE_VERTEX_API_KEY", owner="Google Vertex AI")
    mistral_api_key: SecretStr = key("MISTRAL_API_KEY", owner="Mistral")
    deepseek_api_key: SecretStr = key("DEEPSEEK_API_KEY", owner="DeepSeek")
    fal_api_key: SecretStr = key("FAL_KEY", "FAL_API_KEY", owner="fal")
    kling_api_key: SecretStr = key("KLING_API_KEY", owner="Kling")
    suno_api_key: SecretStr = key("SUNO_API_KEY", owner="Suno")
    stability_api_key: SecretStr = key("STABILITY_API_KEY", owner="Stability AI")
    elevenlabs_api_key: SecretStr = key("ELEVENLABS_API_KEY", owner="ElevenLabs")
