"""The faults: what platforms, networks, databases and other people's servers do, at random."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Collection
from contextlib import closing

import psycopg2

from app.local.postgres import EmbeddedPostgres
from tests.chaos import database_faults
from tests.chaos.crew import WORKERS, Crew, Service
from tests.chaos.database_faults import setting
from tests.chaos.ledger import Ledger
from tests.chaos.outside import Spells

#: Longer than a lease, shorter than a provider's time to answer: a call outlives it.
FREEZE_SECONDS = 10.0
SPELL_SECONDS = (2.0, 5.0)
SERIALIZABLE_SECONDS = 6.0
#: Several leases long.
READ_ONLY_SECONDS = 20.0


class Faults:
    """Does one fault after the other; each kind comes once before any comes twice."""

    def __init__(
        self,
        dice: random.Random,
        ledger: Ledger,
        crew: Crew,
        server: EmbeddedPostgres,
        providers: Spells,
        receivers: Spells,
        *,
        only: Collection[str] = (),
    ) -> None:
        self._dice = dice
        self._ledger = ledger
        self._crew = crew
        self._server = server
        self._providers = providers
        self._receivers = receivers
        self._names = sorted(set(only) & FAULTS.keys() or FAULTS)
        self._bag: list[str] = []

    def next(self) -> None:
        """Do the next fault; one that has nobody to befall is left out."""
        if not self._bag:
            self._bag = list(self._names)
            self._dice.shuffle(self._bag)
        FAULTS[self._bag.pop()](self)

    def kill_child(self) -> None:
        """SIGKILL to one process of a worker, as the kernel does when memory is short."""
        service = self._some_worker()
        children = service.children() if service else []
        if service and children:
            # Dramatiq's command ends the others then; until it is gone jobs are handed back.
            service.endings.append(self._ledger.begin("kill child", service.name))
            self._dice.choice(children).kill()

    def kill_worker(self) -> None:
        """SIGKILL to a whole worker, as when its machine crashes."""
        self._kill(self._some_worker(), "kill worker")

    def kill_scheduler(self) -> None:
        """SIGKILL to the scheduler."""
        self._kill(self._crew.services["scheduler"], "kill scheduler")

    def kill_realtime(self) -> None:
        """SIGKILL to the forwarder of votes."""
        self._kill(self._crew.services["realtime"], "kill realtime")

    def terminate_worker(self) -> None:
        """SIGTERM to a worker, as a deploy does."""
        if (service := self._some_worker()) and service.process:
            service.endings.append(self._ledger.begin("terminate worker", service.name))
            service.process.terminate()

    def freeze_worker(self) -> None:
        """SIGSTOP to a whole worker; it goes on when the other one has its work."""
        if (service := self._some_worker()) and not self._crew.is_frozen:
            fault = self._ledger.begin("freeze worker", service.name)
            self._crew.freeze(service, fault, FREEZE_SECONDS)

    def end_sessions(self) -> None:
        """End half of the workers' database sessions."""
        with self._ledger.fault("end sessions"), closing(psycopg2.connect(self._server.dsn)) as session:
            session.autocommit = True
            with session.cursor() as row:
                row.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'lf-worker%' ORDER BY pid"
                )
                pids = [pid for (pid,) in row.fetchall()]
                for pid in self._dice.sample(pids, (len(pids) + 1) // 2):
                    row.execute("SELECT pg_terminate_backend(%s)", (pid,))

    def kill_endings(self) -> None:
        """End sessions that have ended a claim and not committed the result."""
        with self._ledger.fault("kill endings") as fault:
            fault.hits = database_faults.kill_endings(self._server.dsn)

    def serializable(self) -> None:
        """Serializable transactions by default, as some administrators want them."""
        self._set("serializable", "default_transaction_isolation", "serializable", SERIALIZABLE_SECONDS)

    def read_only(self) -> None:
        """A database that takes no writes, as when its disk is full; sessions of then are so for ever."""
        self._set("read only", "default_transaction_read_only", "on", READ_ONLY_SECONDS)

    def _set(self, fault_name: str, name: str, value: str, seconds: float) -> None:
        """Have sessions begin with a setting for a while; it was felt by those of workers that did."""
        with self._ledger.fault(fault_name) as fault, setting(self._server.dsn, name, value) as session:
            felt: set[int] = set()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self._crew.tend()
                felt |= database_faults.sessions_opened_since(session, fault.began_at)
                time.sleep(0.05)
            fault.hits = len(felt)

    def restart_postgres(self) -> None:
        """A restart in good order."""
        with self._ledger.fault("restart postgres"):
            self._server.restart()

    def crash_postgres(self) -> None:
        """An immediate stop: what was not flushed yet is lost, and recovery begins."""
        with self._ledger.fault("crash postgres"):
            if self._server.pid is not None:
                os.kill(self._server.pid, signal.SIGQUIT)
            while self._server.pid is not None:
                time.sleep(0.01)
            self._server.start()

    def spoil_providers(self) -> None:
        """Providers fail, hang and break off for some seconds."""
        self._spoil("spoil providers", self._providers)

    def spoil_receivers(self) -> None:
        """Receivers of webhooks do so."""
        self._spoil("spoil receivers", self._receivers)

    def _spoil(self, name: str, spells: Spells) -> None:
        # No process is harmed: what a spell explains is known request by request.
        seconds = self._dice.uniform(*SPELL_SECONDS)
        fault = self._ledger.begin(name, "nobody")
        spells.begin(seconds)
        fault.ended_at = fault.began_at + seconds

    def _kill(self, service: Service | None, name: str) -> None:
        if service is not None and service.is_up:
            with self._ledger.fault(name, service.name):
                service.signal_all(signal.SIGKILL)

    def _some_worker(self) -> Service | None:
        up = [name for name in WORKERS if self._crew.services[name].is_up]
        return self._crew.services[self._dice.choice(up)] if up else None


FAULTS: dict[str, Callable[[Faults], None]] = {
    fault.__name__: fault
    for fault in (
        Faults.kill_child,
        Faults.kill_worker,
        Faults.kill_scheduler,
        Faults.kill_realtime,
        Faults.terminate_worker,
        Faults.freeze_worker,
        Faults.end_sessions,
        Faults.kill_endings,
        Faults.serializable,
        Faults.read_only,
        Faults.restart_postgres,
        Faults.crash_postgres,
        Faults.spoil_providers,
        Faults.spoil_receivers,
    )
}
