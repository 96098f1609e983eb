"""JavaScript of workflow nodes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class CodeNodes(BaseModel):
    """JavaScript of workflow nodes."""

    code_runner: Literal["off", "bwrap"] = env(
        "WORKER_CODE_RUNNER",
        default="off",
        description="How code nodes are run: not at all, or each in a sandbox of bubblewrap without network.",
    )
    code_bwrap_command: str = env(
        "WORKER_CODE_BWRAP_COMMAND", default="bwrap", description="Bubblewrap's command, or its path."
    )
    code_node_command: str = env(
        "WORKER_CODE_NODE_COMMAND", default="node", description="Node's command, or its path."
    )
    code_memory_mb: PositiveInt = env(
        "WORKER_CODE_MEMORY_MB",
        default=128,
        description="Heap of one code node; Node itself takes some more.",
    )
