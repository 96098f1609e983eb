"""Messages to people: mails, and chats on Slack, Discord and Telegram.

A webhook's URL and a bot's token are secrets: they stand in no output, error or log. None of the chats
tells repetitions apart, so a message whose fate is unknown is not sent again unless the node says so.
"""

from app.nodes.messages import discord, mail, slack, telegram

__all__ = ["discord", "mail", "slack", "telegram"]
