"""Workflows."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class Workflows(BaseModel):
    """Workflows."""

    scheduled_workflow_enabled: bool = env(
        "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED",
        default=False,
        description="Dispatch schedules and execute the workflow runs of schedules and of the API.",
    )
    workflow_recovery_enabled: bool = env(
        "PLATFORM_API_WORKFLOW_RECOVERY_ENABLED",
        default=True,
        description="Take over workflow and team runs whose worker died, if such runs are executed here.",
    )
    workflow_timeout_ms: PositiveInt = env(
        "WORKER_WORKFLOW_TIMEOUT_MS", default=600_000, description="Total deadline of one workflow run."
    )
    workflow_heartbeat_ms: PositiveInt = env(
        "WORKER_WORKFLOW_HEARTBEAT_MS",
        default=15_000,
        description="Time between two heartbeats of a run; a cancelled run stops within one.",
    )
    workflow_stale_after_ms: PositiveInt = env(
        "WORKER_WORKFLOW_STALE_AFTER_MS",
        default=90_000,
        description="A run without a heartbeat for this long has lost its worker.",
    )
    workflow_max_parallel_nodes: PositiveInt = env(
        "WORKER_WORKFLOW_MAX_PARALLEL_NODES",
        default=10,
        description="Nodes of one run that are worked on at once.",
    )
    workflow_buckets: str = env(
        "WORKER_WORKFLOW_BUCKETS",
        default="artifacts,workflow-outputs,workflow-artifacts",
        description="Storage buckets that workflows may use, with commas; the first is the usual one.",
    )
    workflow_file_max_bytes: PositiveInt = env(
        "WORKER_WORKFLOW_FILE_MAX_BYTES",
        default=10_485_760,
        description="Largest file that a node of a workflow puts into Storage, or gets from it.",
    )
    workflow_query_functions: str = env(
        "WORKER_WORKFLOW_QUERY_FUNCTIONS",
        default="fn_get_battle_scores,fn_profile_completion_score",
        description="Functions in public that workflows may ask, read-only and in their owners' rights.",
    )
