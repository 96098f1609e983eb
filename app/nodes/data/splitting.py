"""Cut what came in into pieces: `text_splitter` and `split_in_batches`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from app.nodes.data.items import ListSettings, items_of, structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.values import stringify

#: Most pieces of one text, and most characters of all pieces together.
MOST_CHUNKS = 10_000
MOST_CHARACTERS = 2_000_000

_BLANK_LINE = "\n\n"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
#: What forms call the ways to split a text.
_WAYS = {
    **dict.fromkeys(("paragraph", "paragraphs"), "separator"),
    **dict.fromkeys(("character", "fixed", "fixed_size", "size"), "characters"),
    **{"line": "lines", "sentence": "sentences", "": None},
}


def _way(raw: object) -> object:
    word = raw.strip().lower() if isinstance(raw, str) else raw
    return _WAYS.get(word, word) if isinstance(word, str) else word


class SplitText(NodeSettings):
    """How to cut a text: at a separator (a blank line), or every so many characters with some overlap."""

    text: str = ""
    split_by: Annotated[
        Literal["separator", "characters", "lines", "sentences"] | None, BeforeValidator(_way)
    ] = Field(default=None, validation_alias=spelled("splitBy", "strategy"))
    separator: str = ""
    chunk_size: int = Field(default=1000, ge=1, le=MOST_CHARACTERS)
    overlap: int = Field(default=0, ge=0, validation_alias=spelled("overlap", "chunkOverlap"))

    @model_validator(mode="after")
    def _moves_on(self) -> SplitText:
        if self.overlap >= self.chunk_size:
            raise ValueError("the overlap must be smaller than chunkSize")
        return self

    @property
    def way(self) -> str:
        """How to cut; who only names a size means characters."""
        only_size = "chunk_size" in self.model_fields_set and not self.separator
        return self.split_by or ("characters" if only_size else "separator")


@node_type("text_splitter", config=SplitText, gives=("chunks", "count"))
def split_text(task: Task[SplitText]) -> Output:
    """Cut a text into pieces."""
    text = task.config.text or stringify(task.work.labels.get("text")) or task.text
    if not text:
        raise NodeFailure("no_text: there is nothing to split")
    chunks: list[JsonValue] = [*_CUTS[task.config.way](text, task.config)]
    if len(chunks) > MOST_CHUNKS:
        raise NodeFailure(f"too_many_chunks: {len(chunks)}, at most {MOST_CHUNKS} are allowed")
    return structured({"chunks": chunks, "items": chunks, "count": len(chunks)})


def _cut_by_size(text: str, config: SplitText) -> list[str]:
    step = config.chunk_size - config.overlap
    starts = range(0, max(len(text) - config.overlap, 1), step)
    if len(starts) > MOST_CHUNKS or len(starts) * config.chunk_size > MOST_CHARACTERS + config.chunk_size:
        raise NodeFailure(f"too_many_chunks: {len(starts)} of {config.chunk_size} characters")
    return [text[start : start + config.chunk_size] for start in starts]


def _without_blank(pieces: list[str]) -> list[str]:
    return [piece.strip() for piece in pieces if piece.strip()]


_CUTS: dict[str, Callable[[str, SplitText], list[str]]] = {
    "characters": _cut_by_size,
    "separator": lambda text, config: _without_blank(text.split(config.separator or _BLANK_LINE)),
    "lines": lambda text, _: _without_blank(text.splitlines()),
    "sentences": lambda text, _: _without_blank(_SENTENCE_END.split(text)),
}


class SplitList(ListSettings):
    """How many items a batch has; the last one may have fewer."""

    batch_size: int = Field(default=10, ge=1, le=1000, validation_alias=spelled("batchSize", "size"))


@node_type("split_in_batches", config=SplitList, gives=("items", "batchCount", "totalCount", "truncated"))
def split_list(task: Task[SplitList]) -> Output:
    """Cut a list into batches, which are the items of a list themselves."""
    items = items_of(task, task.config)
    seen, size = items[: task.config.max_items], task.config.batch_size
    batches: list[JsonValue] = [seen[start : start + size] for start in range(0, len(seen), size)]
    return structured(
        {
            "items": batches,
            "batchCount": len(batches),
            "totalCount": len(items),
            "truncated": len(items) > len(seen),
        }
    )
