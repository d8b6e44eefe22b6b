"""GoBGP's daemon as our child: started, looked at, started again, ended.

It listens on a unix socket alone, whose directory nobody else may enter: whoever reaches it may announce whatever he
likes, and reads the passwords. Before each start the socket is removed, for a daemon that was killed leaves it behind,
and the next one would run on without listening. A daemon that has ended is started anew at once, and then ever later
while it keeps ending; one that says nothing for too long, or has been stopped by its API, is killed first. What is in
it is not this file's concern: `Bgp` finds it empty, and fills it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.backoff import Backoff
from speaker.bgp import messages
from speaker.bgp.failure import DaemonError
from speaker.bgp.rpc import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    from cluster.watch import Log

LOOK_EVERY_S = 1.0
LOOK_DEADLINE_S = 2.0
PATIENCE_S = 30.0
"""A daemon that has said nothing for so long is killed."""
STEADY_S = 30.0
"""What has run for so long may end once without a wait."""
STOPPED = "server stopped"
FLAGS = ("--pprof-disable", "--metrics-path=", "--log-plain", "--cpus=1")
"""With more processors than one each change is sent as soon as it is made, to each peer in a message of its own. With
one, many go together: 10 000 prefixes for 16 peers took it 5 s of processor time, and take it 2 s.
"""


class Daemon:
    """Keeps one running, while `run` runs."""

    def __init__(
        self,
        program: str | Path,
        socket: str,
        *,
        log: Log,
        output: int | IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`program`: gobgpd; `socket`: a path, whose directory is made if it is missing. `output`: where what it says
        goes; None: where ours does. One that is silent for `patience_s` is killed.
        """
        self._patience_s = patience_s
        self._program, self._socket, self._log = str(program), Path(socket), log
        self._output, self._environment = output, environment
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Of the daemon that runs now."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Keep it running until cancelled; then its peers are told that we go, or not, as `Bgp.leave` says of that.
        Raises OSError if there is no such program.
        """
        if shutil.which(self._program) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._program)
        backoff = Backoff(most_s=5.0)
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            began_s = time.monotonic()
            why = await self._live()
            if time.monotonic() - began_s >= STEADY_S:
                backoff.well()
            wait_s = backoff.failed()
            self._log.warning("the BGP daemon has ended", why=why, again_s=round(wait_s, 1))
            await asyncio.sleep(wait_s)

    async def _live(self) -> str:
        """One daemon from its start to its end; why it ended."""
        self._socket.unlink(missing_ok=True)
        setpriv = shutil.which("setpriv")
        dies_with_us = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
        process = self._process = await asyncio.create_subprocess_exec(
            *dies_with_us, self._program, "--api-hosts", f"unix://{self._socket}", *FLAGS,
            stdin=asyncio.subprocess.DEVNULL, stdout=self._output, stderr=self._output, env=self._environment,
        )  # fmt: skip
        self.starts += 1
        looking = asyncio.create_task(self._look())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((looking, ending), return_when=asyncio.FIRST_COMPLETED)
            return looking.result() if looking.done() else f"status {ending.result()}"
        except asyncio.CancelledError:
            await self._say_goodbye()
            raise
        finally:
            looking.cancel()
            if process.returncode is None:
                process.kill()
            await ending
            self._process = None
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> str:
        """Return, with the reason, when it is no use to wait for it any longer."""
        connection, silent_since, heard = Connection(str(self._socket)), time.monotonic(), False
        try:
            while True:
                try:
                    await connection.ask(
                        "GetBgp", messages.Empty(), messages.GetBgpResponse, deadline_s=LOOK_DEADLINE_S
                    )
                except DaemonError as error:
                    if STOPPED in error.message:
                        return STOPPED
                    if time.monotonic() - silent_since > self._patience_s:
                        return f"expected an answer within {self._patience_s:g} s, not {error}"
                else:
                    silent_since, heard = time.monotonic(), True
                if heard and not self._socket.exists():  # we are connected still, others never will be
                    return "its socket was removed"
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await connection.close()

    async def _say_goodbye(self) -> None:
        """Peers with graceful restart keep what they were told; the others hear that we go."""
        connection = Connection(str(self._socket))
        try:
            request = messages.StopBgpRequest(allow_graceful_restart=True)
            await connection.tell("StopBgp", request, deadline_s=LOOK_DEADLINE_S)
        except DaemonError:
            pass  # it has nobody to tell, or cannot
        finally:
            await connection.close()
