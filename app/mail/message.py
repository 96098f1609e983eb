"""A mail, and what its fields may hold; nothing that ends a header's line gets into one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr

from app.errors import WorkerError
from app.texts.pasted import pasted_address

#: Most recipients of one mail; Resend takes no more.
MOST_RECIPIENTS = 50
#: Longest subject, in characters (RFC 5322 allows 998 a line).
LONGEST_SUBJECT = 900

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{1,253}\Z)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


class MailRefusedError(WorkerError):
    """A field of a mail can't be what it is; the message says which and why, without its value."""


@dataclass(frozen=True)
class Mail:
    """One mail. `key` is the same whenever the same mail is sent again, and becomes its Message-ID."""

    sender: str
    to: Sequence[str]
    subject: str
    body: str
    key: str
    cc: Sequence[str] = ()
    reply_to: str = ""
    is_html: bool = False

    @property
    def recipients(self) -> list[str]:
        """Everybody who gets it, each once."""
        return list(dict.fromkeys([*self.to, *self.cc]))

    @property
    def message_id(self) -> str:
        """Made of the key, at the sender's domain."""
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:32]
        return f"<{digest}@{parseaddr(self.sender)[1].rpartition('@')[2]}>"

    def as_message(self) -> EmailMessage:
        """The mail as it goes over the wire."""
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        if self.cc:
            message["Cc"] = ", ".join(self.cc)
        if self.reply_to:
            message["Reply-To"] = self.reply_to
        message["Subject"], message["Date"], message["Message-ID"] = (
            self.subject,
            formatdate(),
            self.message_id,
        )
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.body, subtype="html" if self.is_html else "plain", charset="utf-8")
        return message


def read_addresses(entries: Sequence[str]) -> list[str]:
    """The addresses of entries like `a@b.example` or `Name <a@b.example>`, each once, names left out.

    Raises `MailRefusedError`, also for the groups of RFC 5322, which would hide further recipients.
    """
    found = [pasted_address(entry) for entry in entries if entry.strip()]
    if not all(_ADDRESS.fullmatch(address) for address in found):
        raise MailRefusedError("something in it is not a mail address")
    if len(found) > MOST_RECIPIENTS:
        raise MailRefusedError(f"it holds more than {MOST_RECIPIENTS} addresses")
    return list(dict.fromkeys(found))


def checked_subject(text: str) -> str:
    """A subject without blanks around it; raises `MailRefusedError` for one that breaks out of its line."""
    subject = text.strip()
    if _BREAKS.search(subject):
        raise MailRefusedError("the subject has a line break or a control character")
    if len(subject) > LONGEST_SUBJECT:
        raise MailRefusedError(f"the subject is longer than {LONGEST_SUBJECT} characters")
    return subject
