"""Types that are known and that no worker can do; a run with one of them does not start."""

from __future__ import annotations

from app.nodes.registry import refuse

refuse("has never had anything behind it", "media_convert")
