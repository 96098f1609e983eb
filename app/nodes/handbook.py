"""The catalogue of node types as a page to read: docs/nodes.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from app.nodes.catalogue import Entry, Setting
from app.workflow.values import compact_json

_OPENING = """\
# Nodes of workflows

Written by `lf-worker nodes --markdown`; a test keeps it in step with the code.

A node's type stands in its config as `nodeType` or `node_type`, its settings beside that, or, as the
builder stores them, as text under `param_overrides` with `__` before each name. Every setting is read in
camelCase and in snake_case. Settings are checked before a run starts, and all that is wrong is named at
once. A number beyond its limit, and an unknown word where there is a usual one, are passed over as on the
platform, and noted in the run's log. References to other nodes, `[[node id.path]]`, may stand in any of them
and are filled in when the node runs. The upstream of a node is its first direct parent.

A path means the same wherever one is read: in `inputPath`, `field`, `arrayPath`, mappings, expressions,
`{{…}}` and the keys of edges. It may begin with

* a key of the upstream's data: of what a node of data gives, or of the JSON that a model answered with, with
  or without a code fence around it;
* `data`, `value` or `input`, which are all of that;
* `output` or `text`, the upstream's text, and other keys of its stored output, such as `modelId` and `url`;
* the id of another node that has ended before.

The first that is there wins. Steps follow by dots and brackets, as in `data.rows[0].name`; a step into text
that is JSON goes into the JSON, so `output.score` works too. In `{{…}}` the labels of the node come first.
The key of an edge and `[[node id.path]]` look among the keys of the stored output first, so `output` is
always all of it, and give all of it where the rest leads nowhere.

What a node does to the world decides what another try may do: one that *computes* or *reads* does it again,
one that *writes* leaves the same, what one *sends* or *spends* is written down before and after, and one that
*waits* takes up no thread meanwhile.
"""


def handbook(entries: Iterable[Entry]) -> str:
    """All types as Markdown, in the order of the catalogue."""
    parts = [_OPENING]
    for family, group in groupby(entries, lambda entry: entry.family):
        members = list(group)
        chapters = map(_chapter, members)
        parts += [f"## {family.capitalize()}\n", *chapters] if family else [_refused(members)]
    return "\n".join(parts)


def _chapter(entry: Entry) -> str:
    lines = [f"### {entry.name}\n", f"{entry.does} It {entry.effect}.\n"]
    if entry.settings:
        lines += [f"{entry.about}\n", "| setting | is | default |", "|---|---|---|"]
        lines += [*_rows(entry.settings), ""]
    if entry.gives:
        lines.append(f"Gives {', '.join(f'`{key}`' for key in entry.gives)}.\n")
    return "\n".join(lines)


def _rows(settings: Iterable[Setting]) -> Iterator[str]:
    for setting in settings:
        others = f" (also {', '.join(f'`{other}`' for other in setting.others)})" if setting.others else ""
        limits = f", {setting.limits}" if setting.limits else ""
        kind = setting.kind.replace("|", "\\|")
        blank = setting.default is None or setting.default in ("", [], {})
        default = "*required*" if setting.required else "" if blank else f"`{_shown(setting)}`"
        yield f"| `{setting.name}`{others} | {kind}{limits} | {default} |"


def _shown(setting: Setting) -> str:
    return compact_json(setting.default).replace("|", "\\|")


def _refused(entries: Iterable[Entry]) -> str:
    rows = [f"| `{entry.name}` | {entry.refused} |" for entry in entries]
    return "\n".join(
        [
            "## Refused\n",
            "A run with one of these does not start.\n",
            "| type | which |",
            "|---|---|",
            *rows,
            "",
        ]
    )
