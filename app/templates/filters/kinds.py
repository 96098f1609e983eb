"""What a filter is to the rest of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Takes the value on the left and the arguments; `context`, if it has that parameter, is the rendering's.
Filter = Callable[..., Any]
