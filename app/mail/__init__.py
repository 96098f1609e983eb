"""Sending one mail, by the deployer's mail server or by Resend."""

from app.mail.message import Mail as Mail
from app.mail.message import MailRefusedError as MailRefusedError
from app.mail.message import checked_subject as checked_subject
from app.mail.message import read_addresses as read_addresses
from app.mail.smtp import MailServer as MailServer
from app.mail.smtp import SmtpError as SmtpError
from app.mail.smtp import send_by_smtp as send_by_smtp
