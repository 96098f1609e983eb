"""The lenses of one run's nodes, and the prompts that come of them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app import templates
from app.database import Database
from app.errors import GiveUp
from app.memo import Memo
from app.platform.lens_nodes import fetch_lens, fetch_memory
from app.workflow import (
    InputContract,
    Node,
    OutputContract,
    Work,
    check_input,
    read_contract,
    render_lens,
)


@dataclass(frozen=True)
class Lens:
    """The version of a lens that a node uses, read."""

    body: str
    parameters: tuple[templates.Parameter, ...]
    takes: InputContract | None
    gives: OutputContract | None


class Lenses:
    """Reads lenses, each version once; `agent` is whose memory goes before every prompt."""

    def __init__(self, database: Database, agent: UUID | None) -> None:
        self._database = database
        self._agent = agent
        self._lens = Memo(self._load)
        self._preface: Memo[UUID, str] = Memo(lambda agent: fetch_memory(database, agent))

    def contract_of(self, node: Node) -> OutputContract | None:
        """What the node's output must look like."""
        return self._lens(_version_of(node)).gives

    def prompt_of(self, work: Work) -> str:
        """The node's lens, rendered with its labels; raises `NodeFailure` or `GiveUp`."""
        lens = self._lens(_version_of(work.node))
        labels = dict(work.labels)
        prompt = render_lens(
            lens.body,
            labels,
            parameters=lens.parameters,
            optional=lens.takes.optional_labels if lens.takes else (),
            preface=self._preface(self._agent) if self._agent else "",
        )
        if lens.takes:
            check_input(lens.takes, labels, work.bound)
        return prompt

    def _load(self, version: tuple[str, str | None]) -> Lens:
        found = fetch_lens(self._database, *version)
        if found is None:
            raise GiveUp("template.missing", "the lens, or its version, was deleted")
        return Lens(
            body=found.version.template_body,
            parameters=tuple(
                templates.Parameter(str(p.id), p.label, p.required) for p in found.version.parameters
            ),
            takes=read_contract(InputContract, found.input_contract),
            gives=read_contract(OutputContract, found.output_contract),
        )


def _version_of(node: Node) -> tuple[str, str | None]:
    assert node.lens_id is not None, "a node without a lens has no prompt of one"
    return node.lens_id, node.version_id
