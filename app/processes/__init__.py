"""Processes that this one starts and looks after: what a Procfile names, kept alive, none left behind."""

from app.processes.children import launch_command, shell_command, with_programs
from app.processes.procfile import RELEASE, ProcessType, read_procfile, repository_procfile
from app.processes.supervisor import Supervisor

__all__ = [
    "RELEASE",
    "ProcessType",
    "Supervisor",
    "launch_command",
    "read_procfile",
    "repository_procfile",
    "shell_command",
    "with_programs",
]
