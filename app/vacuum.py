"""Removes dead rows of our own tables as soon as nothing holds them back."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import LiteralString

import dramatiq
import psycopg2
import structlog
from dramatiq.middleware import Middleware
from psycopg2.sql import SQL

from app.database import database
from app.errors import DatabaseError
from app.sessions import connect
from app.settings import Settings

log = structlog.get_logger(__name__)

#: Whether the session's own role may vacuum our tables: only their owner may.
MAY_VACUUM = """
    SELECT pg_has_role(session_user, c.relowner, 'USAGE') AS may FROM pg_class c
    WHERE c.oid = 'dramatiq.queue'::regclass
"""

#: A process that has done nothing since it looked last looks this many intervals later.
IDLE_INTERVALS = 4

#: Doesn't wait for a lock, nor ask for one that others must wait for.
_VACUUM: LiteralString = "VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE FALSE, PARALLEL 0) {}"


class VacuumsOwnTables(Middleware):
    """Looks now and then for tables of ours with many dead rows; of all processes one vacuums each of them.

    Autovacuum comes by once a minute, and until then dead rows that a long transaction kept stay on. Each
    vacuum ends with the statement timeout at the latest. A role that may not vacuum leaves it to
    autovacuum, and says so once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._has_worked = True

    def after_process_message(self, *_: object, **__: object) -> None:
        """Note that there may be dead rows."""
        self._has_worked = True

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to look, unless it is switched off."""
        if self._settings.vacuum_dead_rows:
            threading.Thread(target=self._look_until_stopped, name="lf-worker vacuum", daemon=True).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin no other vacuum."""
        self._stopping.set()

    def _look_until_stopped(self) -> None:
        may_vacuum = False
        idle_intervals = 0
        while not self._stopping.wait(self._settings.vacuum_interval_seconds):
            idle_intervals = 0 if self._has_worked else (idle_intervals + 1) % IDLE_INTERVALS
            if idle_intervals:
                continue
            self._has_worked = False
            try:
                if not may_vacuum and not database().call(MAY_VACUUM)[0]["may"]:
                    log.info("dead rows are left to autovacuum: this role doesn't own the worker's tables")
                    return
                may_vacuum = True
                self._vacuum_where_due()
            except (psycopg2.Error, DatabaseError) as error:
                log.warning("dead rows could not be removed", error=str(error).strip())

    def _vacuum_where_due(self) -> None:
        due = database().call(
            "SELECT worker.begin_vacuums(%s, %s) AS relation",
            (self._settings.vacuum_dead_rows, self._settings.vacuum_interval_seconds),
        )
        if not due:
            return
        # A session of its own, so that no job waits for one meanwhile.
        dsn = self._settings.database_url.get_secret_value()
        with closing(connect(dsn, "lf-worker vacuum")) as session, session.cursor() as row:
            for relation in (found["relation"] for found in due):
                if self._stopping.is_set():
                    return
                try:
                    row.execute(SQL(_VACUUM).format(SQL(relation)))
                except psycopg2.Error as error:
                    if session.closed:
                        raise
                    # One that takes longer than a statement may keeps no other from its turn.
                    log.warning("a table could not be vacuumed", table=relation, error=str(error).strip())
