"""What a server of the local stack is, and the place it lives in."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Template

from jobs.settings import Settings
from jobs.stack.errors import StackError
from jobs.stack.java import find_java


@dataclass(frozen=True)
class Server:
    """One process to start.

    Attributes:
        ports: listening ports by the setting that chooses them.
        prepare: writes configuration, formats data; called before each start.
        ready: whether it serves requests, not merely listens; cheap, may be called often.
    """

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    ports: Mapping[str, int]
    ready: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Site:
    """Where the servers live: an absolute root folder, Java, jars by lock name, configuration."""

    settings: Settings
    root: Path
    jars: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    @cached_property
    def java(self) -> Path:
        """The home directory of the Java to use."""
        return find_java(self.settings.java)

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.root / "logs"

    def data(self, server: str) -> Path:
        """The folder of one server's data, made when it is missing."""
        folder = self.root / "data" / server
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def config(self, server: str) -> Path:
        """The folder of one server's rendered configuration, made when it is missing."""
        folder = self.root / "config" / server
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """A process's log."""
        return self.logs / f"{name}.log"

    def out(self, name: str) -> Path:
        """What a process wrote to its standard output and error."""
        return self.logs / f"{name}.out"

    def render(self, template: str, target: Path, **values: object) -> None:
        """Fill a template of ``infra/stack`` with settings and `values`, and write it.

        Raises:
            StackError: the template is missing or names a value that does not exist.
        """
        source = self.settings.infra / "stack" / template
        known = {**self.settings.model_dump(), **values}
        try:
            target.write_text(Template(source.read_text()).substitute(known))
        except (OSError, KeyError, ValueError) as error:
            raise StackError(f"cannot render {source}: {error!r}") from error

    def java_environment(self, name: str, **more: str) -> dict[str, str]:
        """The environment of a Java process: ours, a Java and the file to log to."""
        own = {"JAVA_HOME": str(self.java), "BECKON_LOG": str(self.log(name))}
        return {**os.environ, **own, **more}

    def java_command(
        self, options: Sequence[str], classpath: Sequence[Path], *main: str
    ) -> list[str | Path]:
        """A Java command that logs, and dies, into our log folder."""
        log4j = self.settings.infra / "stack" / "log4j2.properties"
        return [
            self.java / "bin" / "java",
            *options,
            f"-Dlog4j2.configurationFile={log4j}",
            f"-XX:ErrorFile={self.logs}/crash-%p.log",
            "-cp",
            os.pathsep.join(map(str, classpath)),
            *main,
        ]


def listens(host: str, port: int) -> bool:
    """Whether anything accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def require_free(host: str, ports: Mapping[str, int], name: str) -> None:
    """Refuse to start a server on a taken port.

    Raises:
        StackError: naming the port and the setting to change.
    """
    for setting, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StackError(
                    f"{name} cannot listen on {host}:{port} ({error.strerror}): stop what is "
                    f"there, or set BECKON_{setting.upper()} to another port"
                ) from error
