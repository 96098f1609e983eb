"""Jobs while somebody keeps an old view of the database: none costs more for those that were done since.

Counted are the pages that each statement looks at. Postgres removes nothing that died meanwhile, so whoever
walks over what is gone looks at more and more of them.
"""

from __future__ import annotations

import pytest

from app.local.platform import Seeded
from tests.integration.hot_path import STEPS, HotPath, long_reader
from tests.sql import Connection

#: What a step may look at more after a thousand jobs than after a hundred: indexes grow by a level, and
#: entries of equal keys stand on more than one page. A dead row of each job would make hundreds.
MORE_PAGES = 25


@pytest.fixture
def path(connection: Connection, seeded: Seeded) -> HotPath:
    return HotPath(connection)


def test_no_step_of_a_job_costs_more_after_a_thousand_behind_a_long_reader(path: HotPath, dsn: str) -> None:
    with long_reader(dsn):
        path.do_jobs(100)
        first = path.pages_of_a_job()
        path.do_jobs(900)
        last = path.pages_of_a_job()
    assert {step: last[step] for step in STEPS if last[step] > first[step] + MORE_PAGES} == {}
