"""A mail server: real SMTP into an SQLite file. `python -m services.mail --port 8703`

It speaks what RFC 5321 asks of every server (EHLO, HELO, MAIL, RCPT, DATA, RSET, NOOP, QUIT, VRFY)
and keeps each message that it accepted as a row, also one that it has seen before: a mailbox
that hid doubles could not be audited. Now and then it asks for patience (451), as servers do
that greylist; which messages meet that follows from the seed and their envelope.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sqlite3
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from pathlib import Path

from .web import chance, options  # noqa: TID252 - the folder can be copied

GREYLISTED = 0.02  # of all envelopes, the first time
BIGGEST_MESSAGE = 1_000_000
LONGEST_LINE = 1_002  # RFC 5321, 4.5.3.1.6, with its CRLF
PATH = re.compile(r"(?i)(FROM|TO):\s*<([^<>\s]*)>((?: [A-Z0-9]+(?:=\S+)?)*)\s*")
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, message_id TEXT NOT NULL, sender TEXT NOT NULL,
    recipients TEXT NOT NULL, subject TEXT NOT NULL, order_id TEXT NOT NULL, raw BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS seen (envelope TEXT PRIMARY KEY);
"""


class Mailbox:
    """Every message that was accepted, in one SQLite file."""

    def __init__(self, database: Path, *, seed: int = 0, greylisted: float = 0.0) -> None:
        self.seed = seed
        self.greylisted = greylisted
        self._database = sqlite3.connect(database, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)

    def welcome(self, sender: str, recipient: str) -> bool:
        """False when this envelope shall come again later; asked again, it is welcome."""
        envelope = f"{sender} {recipient}"
        if chance(self.seed, "greylist", envelope) >= self.greylisted:
            return True
        known = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (envelope,))
        return known.rowcount == 0

    def keep(self, sender: str, recipients: list[str], raw: bytes) -> int:
        """Store a message; it is on disk when this returns."""
        message = BytesHeaderParser().parsebytes(raw)
        subject = str(make_header(decode_header(message.get("Subject", ""))))
        headers = message.get("Message-ID", ""), subject, message.get("X-Order", "")
        write = """INSERT INTO messages (message_id, subject, order_id, sender, recipients, raw)
                   VALUES (?, ?, ?, ?, ?, ?)"""
        row = (*headers, sender, " ".join(recipients), raw)
        return self._database.execute(write, row).lastrowid or 0

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


class Session:
    """One client's conversation."""

    def __init__(
        self, mailbox: Mailbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.mailbox = mailbox
        self.reader = reader
        self.writer = writer
        self.greeted = False
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def run(self) -> None:
        """Answer commands until the client leaves."""
        await self.say("220 mail.shop.example ESMTP")
        while True:
            line = await self.line()
            if line is None:
                await self.say("500 line too long")
                continue
            verb, _, rest = line.decode("utf-8", "replace").partition(" ")
            if verb.upper() == "QUIT":
                break
            if verb.upper() == "DATA":
                await self.data()
            else:
                await self.say(self.answer(verb.upper(), rest))
        await self.say("221 bye")

    def answer(self, verb: str, rest: str) -> str:
        """The reply to every command that needs no more than its own line."""
        match verb:
            case "EHLO" | "HELO":
                self.greeted = True
                self.reset()
                extras = f"250-SIZE {BIGGEST_MESSAGE}\r\n250 8BITMIME"
                return f"250-mail.shop.example\r\n{extras}" if verb == "EHLO" else "250 hello"
            case "MAIL":
                return self.mail_from(rest)
            case "RCPT":
                return self.rcpt_to(rest)
            case "RSET":
                self.reset()
                return "250 forgotten"
            case "NOOP":
                return "250 here I am"
            case "VRFY":
                return "252 send it and see"
        return "500 what is that?"

    def mail_from(self, rest: str) -> str:
        path = PATH.fullmatch(rest)
        if not self.greeted:
            return "503 say hello first"
        if self.sender is not None:
            return "503 one message after the other"
        if path is None or path[1].upper() != "FROM":
            return "501 MAIL FROM:<address>"
        size = re.search(r"(?i) SIZE=(\d+)", path[3])
        if size and int(size[1]) > BIGGEST_MESSAGE:
            return "552 too big"
        self.sender = path[2]
        return "250 sender is fine"

    def rcpt_to(self, rest: str) -> str:
        path = PATH.fullmatch(rest)
        if self.sender is None:
            return "503 who is it from?"
        if path is None or path[1].upper() != "TO" or "@" not in path[2]:
            return "501 RCPT TO:<address>"
        if not self.mailbox.welcome(self.sender, path[2]):
            return "451 greylisted, come again"
        self.recipients.append(path[2])
        return "250 recipient is fine"

    async def data(self) -> None:
        """Take the message itself."""
        if not self.recipients or self.sender is None:
            await self.say("503 who is it for?")
            return
        await self.say("354 end with a dot on a line")
        message = bytearray()
        fits = True
        while (line := await self.line()) != b".":
            fits = fits and line is not None and len(message) + len(line) < BIGGEST_MESSAGE
            if fits and line is not None:
                message += line.removeprefix(b".") + b"\r\n"  # RFC 5321, 4.5.2: dots were doubled
        if fits:
            number = self.mailbox.keep(self.sender, self.recipients, bytes(message))
            await self.say(f"250 kept as {number}")
        else:
            await self.say("552 too big")
        self.reset()

    def reset(self) -> None:
        self.sender = None
        self.recipients = []

    async def line(self) -> bytes | None:
        """The next line without its CRLF; None for one that is too long.

        Only CRLF ends a line: a server that also takes a bare LF can be made to see the end
        of a message where its sender saw none.
        """
        try:
            return (await self.reader.readuntil(b"\r\n"))[:-2]
        except asyncio.LimitOverrunError:
            while True:
                try:
                    await self.reader.readuntil(b"\r\n")
                except asyncio.LimitOverrunError as error:
                    await self.reader.readexactly(error.consumed)
                else:
                    return None

    async def say(self, text: str) -> None:
        self.writer.write(f"{text}\r\n".encode())
        await self.writer.drain()


async def listen(mailbox: Mailbox, port: int = 0) -> asyncio.Server:
    """Begin to accept connections."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that hangs up in the middle left nothing that needs keeping.
        with contextlib.closing(writer), contextlib.suppress(EOFError, ConnectionError):
            await Session(mailbox, reader, writer).run()

    return await asyncio.start_server(meet, "127.0.0.1", port, limit=LONGEST_LINE, backlog=256)


async def serve(mailbox: Mailbox, port: int) -> None:
    """Answer until interrupted; the first line of output is the address."""
    server = await listen(mailbox, port)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    mailbox.close()


def main() -> None:
    asked = options("A mail server that keeps every message.")
    database = asked.data / "mail.sqlite"
    asyncio.run(serve(Mailbox(database, seed=asked.seed, greylisted=GREYLISTED), asked.port))


if __name__ == "__main__":
    main()
