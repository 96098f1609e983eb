"""AI providers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

from app.settings.fields import env


class Providers(BaseModel):
    """AI providers."""

    echo_provider: bool = env(
        "ECHO_PROVIDER",
        "USE_ECHO_PROVIDER",
        default=False,
        description="Serve every model by echoing the prompt: offline, keyless, for development.",
    )
    echo_latency_ms: Annotated[int, Field(ge=0)] = env(
        "WORKER_ECHO_LATENCY_MS", default=0, description="How long the echo provider takes to answer."
    )
    provider_timeout_ms: PositiveInt = env(
        "WORKER_PROVIDER_TIMEOUT_MS",
        default=120_000,
        description="Total deadline of one provider call, from connecting to the last byte.",
    )
    openai_base_url: str = env(
        "OPENAI_BASE_URL", default="https://api.openai.com/v1", description="Root of OpenAI's API."
    )
    anthropic_base_url: str = env(
        "ANTHROPIC_BASE_URL", default="https://api.anthropic.com", description="Root of Anthropic's API."
    )
    google_base_url: str = env(
        "GOOGLE_GEMINI_BASE_URL",
        default="https://generativelanguage.googleapis.com",
        description="Root of Google's Gemini API.",
    )
    google_vertex_base_url: str = env(
        "GOOGLE_VERTEX_BASE_URL",
        default="https://aiplatform.googleapis.com",
        description="Root of Google's Vertex AI API.",
    )
    mistral_base_url: str = env(
        "MISTRAL_BASE_URL", default="https://api.mistral.ai/v1", description="Root of Mistral's API."
    )
    deepseek_base_url: str = env(
        "DEEPSEEK_BASE_URL", default="https://api.deepseek.com", description="Root of DeepSeek's API."
    )
    ollama_base_url: str = env(
        "LENSERFIGHT_OLLAMA_BASE_URL",
        "OLLAMA_BASE_URL",
        default="http://localhost:11434",
        description="Root of the local Ollama server.",
    )
    fal_base_url: str = env(
        "FAL_QUEUE_BASE_URL", default="https://queue.fal.run", description="Root of fal's queue API."
    )
    kling_base_url: str = env(
        "KLING_BASE_URL", default="https://api.klingai.com", description="Root of Kling's API."
    )
    suno_base_url: str = env(
        "SUNO_BASE_URL", default="https://api.sunoapi.org", description="Root of Suno's API."
    )
    stability_base_url: str = env(
        "STABILITY_BASE_URL", default="https://api.stability.ai", description="Root of Stability AI's API."
    )
    elevenlabs_base_url: str = env(
        "ELEVENLABS_BASE_URL", default="https://api.elevenlabs.io", description="Root of ElevenLabs' API."
    )
