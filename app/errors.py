"""Every way a job can end other than done, and the errors around it.

    WorkerError
    ├── JobError
    │   ├── RetryLater   transient: the same job is tried again after a delay, and the error counts
    │   ├── GiveUp       permanent: the job fails for good with its error code
    │   │   └── PlatformRefused  the database refuses for good what the job's end writes
    │   ├── PutBack      not now (shutdown, a limit, an open breaker): handed back, nothing is counted
    │   └── StaleClaim   a newer attempt owns the job: whatever this one found out is dropped
    ├── SettingsError    the environment can't be used; the message is one line for a person
    ├── DatabaseError    the database can't be used; the message is one line for a person
    │   └── DatabaseAway not for now: it passes by itself, and what was tried may be tried again
    └── ProcessFailed    a process that this one started ended when it should not have, or failed

Error codes are dotted, lower case and stable (`provider.rate_limited`, `template.syntax`): people and
dashboards group by them. Messages are for people and never contain a key or a prompt.
"""

from __future__ import annotations

from uuid import UUID


class WorkerError(Exception):
    """The root of every error this package raises on purpose."""


class JobError(WorkerError):
    """A job did not end as done; `code` says why in a word, `message` in a sentence.

    `costs_nothing`: the call that ended so was certainly not taken, and so is not to be paid for.
    """

    costs_nothing = False

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RetryLater(JobError):
    """Transient: try the same job again, after `after_seconds` if the other side named a time."""

    def __init__(self, code: str, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(code, message)
        self.after_seconds = after_seconds


class GiveUp(JobError):
    """Permanent: trying again would end the same way."""


class PlatformRefused(GiveUp):
    """The database refuses for good what the job's end writes; what the job has bought is kept."""

    def __init__(self, sqlstate: str, reason: str) -> None:
        super().__init__("platform.refused", f"{sqlstate}: {reason}")
        self.sqlstate = sqlstate
        self.reason = reason


class PutBack(JobError):
    """Not now: another attempt, here or elsewhere, goes on with the job and nothing is counted.

    `ticket` has a place in line and may be called before the time is over.
    """

    def __init__(
        self, code: str, message: str, *, after_seconds: float = 0.0, ticket: UUID | None = None
    ) -> None:
        super().__init__(code, message)
        self.after_seconds = after_seconds
        self.ticket = ticket


class StaleClaim(JobError):
    """A newer attempt owns this job, so this one must not write anything more."""

    def __init__(self, message: str = "a newer attempt owns this job") -> None:
        super().__init__("worker.stale_claim", message)


class SettingsError(WorkerError):
    """A setting is missing or wrong."""


class DatabaseError(WorkerError):
    """The database can't be used as it is."""


class DatabaseAway(DatabaseError):
    """The database can't be used for now; nothing is wrong with what was asked of it.

    `sqlstate` is None where the session was lost, or never came about. With `session_is_good` only this
    statement or transaction failed, over a lock, a conflict or its time; else another session is needed.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, session_is_good: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.session_is_good = session_is_good


class ProcessFailed(WorkerError):
    """A process that this one started ended when it should not have, or failed."""
