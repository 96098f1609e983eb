"""Every setting of the worker, read once from the environment.

Names and defaults of variables that the platform's documentation already gives are kept; the unit stands
in the field's name. `.env.example` lists them all, and a test keeps it so.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError
from app.provider_limits import ProviderLimit


def _env(*names: str, default: Any, description: str) -> Any:
    return Field(default=default, validation_alias=AliasChoices(*names), description=description)


def _key(*names: str, owner: str) -> Any:
    return _env(
        *names, default=SecretStr(""), description=f"Platform key for {owner}. Blank counts as unset."
    )


class Settings(BaseSettings):
    """The worker's settings; frozen, validated, and safe to print because secrets are masked."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    # The database
    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="Postgres DSN: a direct connection or a pooler in session mode, never transaction mode.",
    )
    database_pool_max_connections: Annotated[int, Field(ge=2)] = _env(
        "WORKER_DATABASE_POOL_MAX_CONNECTIONS",
        default=3,
        description="Connections a process shares among its jobs; the broker holds up to three more.",
    )
    database_pool_wait_seconds: PositiveFloat = _env(
        "WORKER_DATABASE_POOL_WAIT_SECONDS",
        default=30.0,
        description="How long a thread waits for a free connection, or for Postgres to come back.",
    )
    database_statement_timeout_ms: PositiveInt = _env(
        "WORKER_DATABASE_STATEMENT_TIMEOUT_MS",
        default=60_000,
        description="Statement and idle-in-transaction timeout of every session.",
    )

    # Who this process is
    worker_id: str = _env(
        "BATTLE_WORKER_ID",
        default="",
        description="Stable id of this worker in heartbeats and claims; the host name when blank.",
    )
    health_monitoring: bool = _env(
        "FEATURE_WORKER_HEALTH_MONITORING",
        default=False,
        description="Write heartbeats for the health panel.",
    )
    heartbeat_interval_ms: PositiveInt = _env(
        "WORKER_HEARTBEAT_INTERVAL_MS",
        default=10_000,
        description="Time between heartbeats; the panel calls a worker dead after 30 s.",
    )

    # The broker
    broker_lease_seconds: PositiveFloat = _env(
        "WORKER_BROKER_LEASE_SECONDS",
        default=7.0,
        description="A process silent for this long is taken for dead and its messages go to others.",
    )
    broker_stall_seconds: PositiveFloat = _env(
        "WORKER_BROKER_STALL_SECONDS",
        default=30.0,
        description="The same for a silent process whose connection is still open: it is held up, not gone.",
    )
    broker_poll_seconds: PositiveFloat = _env(
        "WORKER_BROKER_POLL_SECONDS",
        default=5.0,
        description="Poll interval that covers lost notifications.",
    )

    deadline_grace_ms: PositiveInt = _env(
        "WORKER_DEADLINE_GRACE_MS",
        default=10_000,
        description="A job this far over its hard time limit is ended without its thread, which is given up.",
    )

    # Retries
    job_max_attempts: PositiveInt = _env(
        "WORKER_JOB_MAX_ATTEMPTS", default=5, description="Errors a job may have before it fails for good."
    )
    job_max_deaths: PositiveInt = _env(
        "WORKER_JOB_MAX_DEATHS",
        default=3,
        description="Workers that may die of a job before it is taken for poison.",
    )
    retry_min_backoff_ms: PositiveInt = _env(
        "WORKER_RETRY_MIN_BACKOFF_MS", default=500, description="First retry backoff, before jitter."
    )
    retry_max_backoff_ms: PositiveInt = _env(
        "WORKER_RETRY_MAX_BACKOFF_MS",
        default=60_000,
        description="Longest retry backoff; a provider's Retry-After is honoured up to ten times this.",
    )

    # Providers, as all processes together treat them
    provider_limits: dict[str, ProviderLimit] = _env(
        "WORKER_PROVIDER_LIMITS",
        default={},
        description='What each key may send, as JSON: {"openai": {"requests_per_minute": 500, '
        '"tokens_per_minute": 200000, "concurrency": 50}, "openai/gpt-4.1": {"concurrency": 5}}.',
    )
    learn_provider_limits: bool = _env(
        "WORKER_LEARN_PROVIDER_LIMITS",
        default=False,
        description="Keep to the limits per minute that providers name in their answers.",
    )
    provider_longest_pause_seconds: PositiveFloat = _env(
        "WORKER_PROVIDER_LONGEST_PAUSE_SECONDS",
        default=600.0,
        description="Longest Retry-After that is honoured for all jobs of a key.",
    )
    key_rejection_seconds: PositiveFloat = _env(
        "WORKER_KEY_REJECTION_SECONDS",
        default=600.0,
        description="A person's API key that its provider refused is not tried again for this long.",
    )
    breaker_window_seconds: PositiveFloat = _env(
        "WORKER_BREAKER_WINDOW_SECONDS",
        default=60.0,
        description="Time over which a breaker counts a model's calls.",
    )
    breaker_min_calls: PositiveInt = _env(
        "WORKER_BREAKER_MIN_CALLS",
        default=10,
        description="A breaker opens after no fewer calls than this.",
    )
    breaker_failure_rate: Annotated[float, Field(gt=0, le=1)] = _env(
        "WORKER_BREAKER_FAILURE_RATE",
        default=0.5,
        description="Share of calls that must fail by the provider's fault to open a breaker.",
    )
    breaker_open_seconds: PositiveFloat = _env(
        "WORKER_BREAKER_OPEN_SECONDS",
        default=15.0,
        description="First time for which a model that fails is left alone; each in a row is twice as long.",
    )

    retention_days: PositiveFloat = _env(
        "WORKER_RETENTION_DAYS",
        default=14.0,
        description="Finished claims and dead letters of the broker are deleted after this.",
    )

    worker_once: bool = _env(
        "PLATFORM_API_WORKER_ONCE",
        default=False,
        description="`lf-worker run` does what there is to do and ends, like `lf-worker once`.",
    )

    # JavaScript of workflow nodes
    code_runner: Literal["off", "bwrap"] = _env(
        "WORKER_CODE_RUNNER",
        default="off",
        description="How code nodes are run: not at all, or each in a sandbox of bubblewrap without network.",
    )
    code_bwrap_command: str = _env(
        "WORKER_CODE_BWRAP_COMMAND", default="bwrap", description="Bubblewrap's command, or its path."
    )
    code_node_command: str = _env(
        "WORKER_CODE_NODE_COMMAND", default="node", description="Node's command, or its path."
    )
    code_memory_mb: PositiveInt = _env(
        "WORKER_CODE_MEMORY_MB",
        default=128,
        description="Heap of one code node; Node itself takes some more.",
    )

    # Mail and chat services of workflow nodes
    smtp_url: SecretStr = _env(
        "WORKER_SMTP_URL",
        default=SecretStr(""),
        description="Mail server: smtps://user:password@host:465, or smtp:// to begin TLS with STARTTLS.",
    )
    resend_api_key: SecretStr = _key("RESEND_API_KEY", owner="Resend, which sends mail over HTTP")
    resend_base_url: str = _env(
        "RESEND_BASE_URL", default="https://api.resend.com", description="Root of Resend's API."
    )
    mail_from: str = _env(
        "WORKER_MAIL_FROM",
        default="",
        description="Sender of workflows' mails, an address or `Name <address>`; without it none are sent.",
    )
    slack_base_url: str = _env(
        "SLACK_API_BASE_URL", default="https://slack.com/api", description="Root of Slack's Web API."
    )
    telegram_base_url: str = _env(
        "TELEGRAM_API_BASE_URL", default="https://api.telegram.org", description="Root of Telegram's Bot API."
    )

    # Kinds of work
    lens_run_enabled: bool = _env(
        "PLATFORM_API_LENS_RUN_WORKER_ENABLED", default=True, description="Execute queued lens runs."
    )
    battle_enabled: bool = _env(
        "PLATFORM_API_BATTLE_WORKER_ENABLED",
        default=False,
        description="Execute battle jobs, start battles that are due, and take back abandoned jobs.",
    )
    battle_max_retries: PositiveInt = _env(
        "BATTLE_WORKER_MAX_RETRIES",
        default=3,
        description="Tries that a battle job has in all, where its row's max_retries doesn't allow fewer.",
    )
    battle_auto_promote_enabled: bool = _env(
        "PLATFORM_API_AUTO_PROMOTE_WORKER_ENABLED",
        default=True,
        description="Open drafts of battles that are to open by themselves.",
    )
    battle_auto_promote_interval_ms: PositiveInt = _env(
        "BATTLE_AUTO_PROMOTE_INTERVAL_MS",
        default=300_000,
        description="Time between two looks at such drafts, rounded up to even minutes or hours.",
    )
    battle_finalize_enabled: bool = _env(
        "PLATFORM_API_BATTLE_FINALIZE_WORKER_ENABLED",
        default=True,
        description="Close battles whose voting has ended.",
    )
    battle_finalize_interval_ms: PositiveInt = _env(
        "BATTLE_FINALIZE_INTERVAL_MS",
        default=60_000,
        description="Time between two looks at such battles, rounded up to minutes or hours likewise.",
    )
    async_media_poll_enabled: bool = _env(
        "PLATFORM_API_ASYNC_MEDIA_POLL_ENABLED",
        default=True,
        description="Take over and poll lens runs that another producer started at a provider.",
    )

    webhook_drain_enabled: bool = _env(
        "PLATFORM_API_WEBHOOK_DRAIN_ENABLED", default=True, description="Deliver the webhooks of the outbox."
    )

    # Workflows
    scheduled_workflow_enabled: bool = _env(
        "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED",
        default=False,
        description="Dispatch schedules and execute the workflow runs of schedules and of the API.",
    )
    team_run_enabled: bool = _env(
        "PLATFORM_API_TEAM_RUN_WORKER_ENABLED", default=False, description="Execute queued team runs."
    )
    team_run_timeout_ms: PositiveInt = _env(
        "WORKER_TEAM_RUN_TIMEOUT_MS",
        default=1_800_000,
        description="Total deadline of a team's discussion of a shared task, for each attempt at it.",
    )
    team_max_rounds: PositiveInt = _env(
        "WORKER_TEAM_MAX_ROUNDS",
        default=3,
        description="Times that a team does its work, sent back by reviewers, before it fails.",
    )
    workflow_recovery_enabled: bool = _env(
        "PLATFORM_API_WORKFLOW_RECOVERY_ENABLED",
        default=True,
        description="Take over workflow and team runs whose worker died, if such runs are executed here.",
    )
    workflow_timeout_ms: PositiveInt = _env(
        "WORKER_WORKFLOW_TIMEOUT_MS", default=600_000, description="Total deadline of one workflow run."
    )
    workflow_heartbeat_ms: PositiveInt = _env(
        "WORKER_WORKFLOW_HEARTBEAT_MS",
        default=15_000,
        description="Time between two heartbeats of a run; a cancelled run stops within one.",
    )
    workflow_stale_after_ms: PositiveInt = _env(
        "WORKER_WORKFLOW_STALE_AFTER_MS",
        default=90_000,
        description="A run without a heartbeat for this long has lost its worker.",
    )
    workflow_max_parallel_nodes: PositiveInt = _env(
        "WORKER_WORKFLOW_MAX_PARALLEL_NODES",
        default=10,
        description="Nodes of one run that are worked on at once.",
    )

    # Webhooks and other requests to hosts that users name
    outbound_allowed_hosts: str = _env(
        "WORKER_OUTBOUND_ALLOWED_HOSTS",
        default="",
        description="Hosts, host:port pairs and networks that may be private or plain http; for development.",
    )
    service_roots: str = _env(
        "WORKER_SERVICE_ROOTS",
        default="",
        description="Roots of services' APIs in place of their own: name, equals sign, URL; commas between.",
    )
    google_oauth_client_id: str = _env(
        "GOOGLE_OAUTH_CLIENT_ID",
        default="",
        description="OAuth client whose users' Google tokens are refreshed; not refreshed when blank.",
    )
    google_oauth_client_secret: SecretStr = _env(
        "GOOGLE_OAUTH_CLIENT_SECRET", default=SecretStr(""), description="Secret of that OAuth client."
    )
    webhook_timeout_ms: PositiveInt = _env(
        "WORKER_WEBHOOK_TIMEOUT_MS",
        default=15_000,
        description="Total deadline of one webhook, from looking up the host to the last byte.",
    )
    webhook_retry_delays_seconds: str = _env(
        "WORKER_WEBHOOK_RETRY_DELAYS_SECONDS",
        default="5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Waits between attempts at one webhook, before a jitter of 20 %; then it is given up.",
    )
    webhook_previous_signing_secret: SecretStr = _env(
        "WORKER_WEBHOOK_PREVIOUS_SIGNING_SECRET",
        default=SecretStr(""),
        description="The replaced platform secret, while receivers change over; signs beside the new one.",
    )

    vote_anomaly_enabled: bool = _env(
        "PLATFORM_API_VOTE_ANOMALY_WORKER_ENABLED",
        default=True,
        description="Inspect votes, and act on those that are not honest.",
    )
    workflow_dispatch_enabled: bool = _env(
        "PLATFORM_API_WORKFLOW_DISPATCH_ENABLED",
        default=True,
        description="Tell workflows of each change of a battle's status.",
    )

    # AI providers
    echo_provider: bool = _env(
        "ECHO_PROVIDER",
        "USE_ECHO_PROVIDER",
        default=False,
        description="Serve every model by echoing the prompt: offline, keyless, for development.",
    )
    echo_latency_ms: Annotated[int, Field(ge=0)] = _env(
        "WORKER_ECHO_LATENCY_MS", default=0, description="How long the echo provider takes to answer."
    )
    provider_timeout_ms: PositiveInt = _env(
        "WORKER_PROVIDER_TIMEOUT_MS",
        default=120_000,
        description="Total deadline of one provider call, from connecting to the last byte.",
    )
    openai_api_key: SecretStr = _key("OPENAI_API_KEY", owner="OpenAI")
    anthropic_api_key: SecretStr = _key("ANTHROPIC_API_KEY", owner="Anthropic")
    google_api_key: SecretStr = _key(
        "GOOGLE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", owner="Google AI"
    )
    google_vertex_api_key: SecretStr = _key("GOOGLE_VERTEX_API_KEY", owner="Google Vertex AI")
    mistral_api_key: SecretStr = _key("MISTRAL_API_KEY", owner="Mistral")
    deepseek_api_key: SecretStr = _key("DEEPSEEK_API_KEY", owner="DeepSeek")
    fal_api_key: SecretStr = _key("FAL_KEY", "FAL_API_KEY", owner="fal")
    kling_api_key: SecretStr = _key("KLING_API_KEY", owner="Kling")
    suno_api_key: SecretStr = _key("SUNO_API_KEY", owner="Suno")
    stability_api_key: SecretStr = _key("STABILITY_API_KEY", owner="Stability AI")
    elevenlabs_api_key: SecretStr = _key("ELEVENLABS_API_KEY", owner="ElevenLabs")
    openai_base_url: str = _env(
        "OPENAI_BASE_URL", default="https://api.openai.com/v1", description="Root of OpenAI's API."
    )
    anthropic_base_url: str = _env(
        "ANTHROPIC_BASE_URL", default="https://api.anthropic.com", description="Root of Anthropic's API."
    )
    google_base_url: str = _env(
        "GOOGLE_GEMINI_BASE_URL",
        default="https://generativelanguage.googleapis.com",
        description="Root of Google's Gemini API.",
    )
    google_vertex_base_url: str = _env(
        "GOOGLE_VERTEX_BASE_URL",
        default="https://aiplatform.googleapis.com",
        description="Root of Google's Vertex AI API.",
    )
    mistral_base_url: str = _env(
        "MISTRAL_BASE_URL", default="https://api.mistral.ai/v1", description="Root of Mistral's API."
    )
    deepseek_base_url: str = _env(
        "DEEPSEEK_BASE_URL", default="https://api.deepseek.com", description="Root of DeepSeek's API."
    )
    ollama_base_url: str = _env(
        "LENSERFIGHT_OLLAMA_BASE_URL",
        "OLLAMA_BASE_URL",
        default="http://localhost:11434",
        description="Root of the local Ollama server.",
    )
    fal_base_url: str = _env(
        "FAL_QUEUE_BASE_URL", default="https://queue.fal.run", description="Root of fal's queue API."
    )
    kling_base_url: str = _env(
        "KLING_BASE_URL", default="https://api.klingai.com", description="Root of Kling's API."
    )
    suno_base_url: str = _env(
        "SUNO_BASE_URL", default="https://api.sunoapi.org", description="Root of Suno's API."
    )
    stability_base_url: str = _env(
        "STABILITY_BASE_URL", default="https://api.stability.ai", description="Root of Stability AI's API."
    )
    elevenlabs_base_url: str = _env(
        "ELEVENLABS_BASE_URL", default="https://api.elevenlabs.io", description="Root of ElevenLabs' API."
    )

    # Media
    media_poll_interval_ms: PositiveInt = _env(
        "ASYNC_MEDIA_POLL_INTERVAL_MS",
        default=15_000,
        description="First time between two questions how far a media task is; it grows to four times this.",
    )
    media_task_expiry_seconds: PositiveFloat = _env(
        "WORKER_MEDIA_TASK_EXPIRY_SECONDS",
        default=900.0,
        description="A media task that a provider has not finished within this time fails.",
    )
    async_poll_batch_limit: Annotated[int, Field(ge=1, le=50)] = _env(
        "ASYNC_POLL_BATCH_LIMIT",
        default=10,
        description="How many runs of other producers are taken over in one statement.",
    )
    async_poll_stale_after_seconds: PositiveInt = _env(
        "ASYNC_POLL_STALE_AFTER_SECONDS",
        default=30,
        description="A run of another producer is taken over when nobody polled it for this long.",
    )
    media_transfer_timeout_ms: PositiveInt = _env(
        "WORKER_MEDIA_TRANSFER_TIMEOUT_MS",
        default=120_000,
        description="Total deadline of fetching a finished medium, and again of storing it.",
    )
    media_max_bytes: PositiveInt = _env(
        "WORKER_MEDIA_MAX_BYTES",
        default=100_000_000,
        description="Larger media are refused; the limit of the bucket that they go to counts too.",
    )
    media_inline_max_bytes: PositiveInt = _env(
        "WORKER_MEDIA_INLINE_MAX_BYTES",
        default=2_000_000,
        description="Without Supabase Storage, media without a URL are stored as data URIs up to this size.",
    )

    # Chainabit
    chainabit_execution_enabled: bool = _env(
        "CHAINABIT_EXECUTION_ENABLED",
        default=False,
        description="Have every battle job executed by Chainabit instead of the providers.",
    )
    chainabit_api_url: str = _env("CHAINABIT_API_URL", default="", description="Root of Chainabit's API.")
    chainabit_partner_api_key: SecretStr = _env(
        "CHAINABIT_PARTNER_API_KEY", default=SecretStr(""), description="The platform's key at Chainabit."
    )
    chainabit_poll_interval_ms: PositiveInt = _env(
        "WORKER_CHAINABIT_POLL_INTERVAL_MS",
        default=2_000,
        description="Time between two questions how far a session is.",
    )
    chainabit_timeout_ms: PositiveInt = _env(
        "WORKER_CHAINABIT_TIMEOUT_MS",
        default=300_000,
        description="A session that has not ended within this time fails its job.",
    )

    # Supabase
    supabase_url: str = _env(
        "SUPABASE_URL", default="", description="Root of the Supabase project; needed for Storage."
    )
    supabase_service_role_key: SecretStr = _env(
        "SUPABASE_SERVICE_ROLE_KEY",
        default=SecretStr(""),
        description="Service role key; with SUPABASE_URL finished media are copied into Storage.",
    )

    workflow_buckets: str = _env(
        "WORKER_WORKFLOW_BUCKETS",
        default="artifacts,workflow-outputs,workflow-artifacts",
        description="Storage buckets that workflows may use, with commas; the first is the usual one.",
    )
    workflow_file_max_bytes: PositiveInt = _env(
        "WORKER_WORKFLOW_FILE_MAX_BYTES",
        default=10_485_760,
        description="Largest file that a node of a workflow puts into Storage, or gets from it.",
    )
    workflow_query_functions: str = _env(
        "WORKER_WORKFLOW_QUERY_FUNCTIONS",
        default="fn_get_battle_scores,fn_profile_completion_score",
        description="Functions in public that workflows may ask, read-only and in their owners' rights.",
    )
    supabase_jwt_secret: SecretStr = _env(
        "SUPABASE_JWT_SECRET",
        default=SecretStr(""),
        description="Signs short-lived tokens for Realtime; without it the service role key is the token.",
    )
    realtime_source: Literal["auto", "supabase", "postgres"] = _env(
        "WORKER_REALTIME_SOURCE",
        default="auto",
        description="Where hints of new votes come from; auto is Supabase Realtime where it is configured.",
    )
    run_event_transport: Literal["database", "rest", "off"] = _env(
        "WORKER_RUN_EVENT_TRANSPORT",
        default="database",
        description="How followers of workflow runs are told: with realtime.send, over HTTP, or not at all.",
    )

    # Telemetry
    sentry_dsn: SecretStr = _env("SENTRY_DSN", default=SecretStr(""), description="Sentry is off when blank.")
    sentry_environment: str = _env(
        "SENTRY_ENVIRONMENT", default="production", description="Environment that alerts are filed under."
    )
    otel_endpoint: str = _env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        default="",
        description="Root of an OTLP/HTTP collector; OpenTelemetry is off when blank. Needs lf-worker[otel].",
    )
    otel_headers: SecretStr = _env(
        "OTEL_EXPORTER_OTLP_HEADERS",
        default=SecretStr(""),
        description="Headers for the collector: names and values with commas between the pairs.",
    )
    otel_service_name: str = _env(
        "OTEL_SERVICE_NAME", default="lf-worker", description="Name that spans and metrics are filed under."
    )
    otel_metric_export_interval_ms: PositiveInt = _env(
        "OTEL_METRIC_EXPORT_INTERVAL", default=60_000, description="Time between two exports of metrics."
    )
    log_level: str = _env("LOG_LEVEL", default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgres://", "postgresql://")):
            raise ValueError("must begin with postgres:// or postgresql://")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_mail_server(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value().strip()
        if url and not re.fullmatch(r"smtps?://[^/\s?#]+/?", url):
            raise ValueError("must be smtps://user:password@host:port or smtp://…")
        return value

    @field_validator("mail_from")
    @classmethod
    def _is_sender(cls, value: str) -> str:
        if value.strip() and not re.fullmatch(
            r"[^<>\r\n]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+", value.strip()
        ):
            raise ValueError("must be an address or `Name <address>`")
        return value.strip()

    @field_validator("webhook_retry_delays_seconds")
    @classmethod
    def _are_delays(cls, value: str) -> str:
        if not re.fullmatch(r"\s*\d+(\.\d+)?\s*(,\s*\d+(\.\d+)?\s*)*", value):
            raise ValueError("must be numbers of seconds with commas between them")
        return value

    @field_validator("outbound_allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        for entry in value.split(","):
            if "/" in entry:
                ip_network(entry.strip())
            elif set(entry.strip()) & set("*@% "):
                raise ValueError(f"{entry.strip()!r} is not a host, host:port or network")
        return value

    @field_validator("service_roots")
    @classmethod
    def _are_roots(cls, value: str) -> str:
        for entry in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"[a-z0-9_]+=https?://[^\s=,]+", entry):
                raise ValueError(f"{entry!r} is not of the form service=https://…")
        return value

    @field_validator("run_event_transport")
    @classmethod
    def _has_what_it_needs(cls, value: str, known: ValidationInfo) -> str:
        key = known.data.get("supabase_service_role_key", SecretStr("")).get_secret_value()
        if value == "rest" and not (known.data.get("supabase_url") and key.strip()):
            raise ValueError("rest needs SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY")
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        level = value.strip().upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level

    def root_of(self, service: str, default: str) -> str:
        """The root of a service's API without a slash at its end: the configured one, else its own."""
        entries = (entry.strip().partition("=") for entry in self.service_roots.split(","))
        return {name: root for name, _, root in entries}.get(service, default).rstrip("/")

    @property
    def instance_id(self) -> str:
        """The worker's id: the configured one, else the host's name."""
        return self.worker_id.strip() or socket.gethostname()


def load_settings(**overrides: Any) -> Settings:
    """Read and validate the environment.

    Raises `SettingsError` with one line that names every variable at fault, without its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(sorted(_describe(problem) for problem in error.errors()))) from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read at first use."""
    return load_settings()


def _describe(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    if problem["type"] == "missing":
        return f"{name} is not set"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[0].lower()}{message[1:]}"


def environment_names() -> list[str]:
    """Every environment variable that a field reads, in the order of the fields."""
    names: list[str] = []
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names.extend(str(choice) for choice in choices if choice)
    return names
