"""The example's mail server, spoken to by the standard library's client and by hand."""

from __future__ import annotations

import asyncio
import smtplib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from examples.shop.services.mail import BIGGEST_MESSAGE, LONGEST_LINE, Mailbox, listen


class Post:
    """A mail server on a thread of its own."""

    def __init__(self, database: Path, greylisted: float = 0.0) -> None:
        self.database = database
        self.greylisted = greylisted
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))

    def __enter__(self) -> Post:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with closing(Mailbox(self.database, greylisted=self.greylisted)) as mailbox:
            server = await listen(mailbox)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            server.close()

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=5)

    def messages(self, columns: str = "*") -> list[Any]:
        with closing(sqlite3.connect(self.database)) as mailbox:
            return mailbox.execute(f"SELECT {columns} FROM messages ORDER BY id").fetchall()


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with Post(tmp_path / "mail.sqlite") as server:
        yield server


def letter(text: str = "Hello", number: int = 1) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = "shop@shop.example", "ada@example.org"
    mail["Subject"], mail["X-Order"] = f"Grüße {number}", f"order-{number}"
    mail["Message-ID"] = f"<order-{number}.confirmation@shop.example>"
    mail.set_content(text)
    return mail


def test_a_letter_arrives_whole(post: Post) -> None:
    with post.client() as client:
        client.send_message(letter("One\n.\n..two\n.three\nÄnd\n"))
    [(message_id, sender, recipients, subject, order, raw)] = post.messages(
        "message_id, sender, recipients, subject, order_id, raw"
    )
    assert message_id == "<order-1.confirmation@shop.example>"
    assert (sender, recipients) == ("shop@shop.example", "ada@example.org")
    assert (subject, order) == ("Grüße 1", "order-1")
    body = message_from_bytes(raw).get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode().splitlines() == ["One", ".", "..two", ".three", "Änd"]


def test_a_letter_sent_twice_is_seen_twice(post: Post) -> None:
    with post.client() as client:
        client.send_message(letter())
        client.send_message(letter())
    assert post.messages("message_id, count(*)") == [("<order-1.confirmation@shop.example>", 2)]


def test_one_connection_carries_letters_to_several_people(post: Post) -> None:
    with post.client() as client:
        for number in range(5):
            client.sendmail(
                "a@x.example", ["b@x.example", "c@x.example"], letter("x", number).as_bytes()
            )
    assert [row[0] for row in post.messages("recipients")] == ["b@x.example c@x.example"] * 5


def test_the_order_of_commands_matters(post: Post) -> None:
    with post.client() as client:
        assert client.docmd("MAIL", "FROM:<a@x.example>")[0] == 503
        assert client.ehlo()[0] == 250
        assert client.has_extn("size")
        assert client.docmd("RCPT", "TO:<b@x.example>")[0] == 503
        assert client.docmd("DATA")[0] == 503
        assert client.docmd("MAIL", "FROM:<a@x.example>")[0] == 250
        assert client.docmd("MAIL", "FROM:<a@x.example>")[0] == 503
        assert client.docmd("DATA")[0] == 503
        assert client.docmd("RCPT", "TO:<b@x.example>")[0] == 250
        assert client.docmd("RSET")[0] == 250
        assert client.docmd("DATA")[0] == 503
        assert client.docmd("NOOP")[0] == 250
        assert client.docmd("VRFY", "b@x.example")[0] == 252
        assert client.docmd("HELP")[0] == 500
        assert client.docmd("QUIT")[0] == 221
    assert post.messages() == []


@pytest.mark.parametrize(
    ("command", "rest", "code"),
    [
        ("MAIL", "FROM: a@x.example", 501),
        ("MAIL", "TO:<a@x.example>", 501),
        ("MAIL", "FROM:<>", 250),  # a bounce has no sender
        ("MAIL", "from:<a@x.example> size=99", 250),
        ("MAIL", f"FROM:<a@x.example> SIZE={BIGGEST_MESSAGE + 1}", 552),
        ("MAIL", "FROM:<a@x.example> BODY=8BITMIME", 250),
    ],
)
def test_paths_are_read_as_written(post: Post, command: str, rest: str, code: int) -> None:
    with post.client() as client:
        client.helo()
        assert client.docmd(command, rest)[0] == code


def test_a_bad_recipient_is_refused(post: Post) -> None:
    with post.client() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail("a@x.example", "nobody", b"Subject: x\r\n\r\nx")


def test_too_much_is_refused_and_the_conversation_goes_on(post: Post) -> None:
    with post.client() as client:
        client.ehlo()
        assert client.docmd("NOOP", "x" * (3 * LONGEST_LINE))[0] == 500
        client.docmd("MAIL", "FROM:<a@x.example>")
        client.docmd("RCPT", "TO:<b@x.example>")
        line = b"y" * 900 + b"\r\n"
        assert client.data(line * (BIGGEST_MESSAGE // 900 + 1))[0] == 552
        client.send_message(letter())
    assert len(post.messages()) == 1


def test_only_crlf_ends_a_line(post: Post) -> None:
    with post.client() as client:
        client.ehlo()
        client.docmd("MAIL", "FROM:<a@x.example>")
        client.docmd("RCPT", "TO:<b@x.example>")
        client.docmd("DATA")
        client.send(b"Subject: one\r\n\r\none\n.\nMAIL FROM:<evil@x.example>\r\n.\r\n")
        assert client.getreply()[0] == 250
    [(sender, raw)] = post.messages("sender, raw")
    assert sender == "a@x.example"
    assert b"evil" in raw


def test_a_client_that_hangs_up_leaves_nothing(post: Post) -> None:
    client = post.client()
    client.ehlo()
    client.docmd("MAIL", "FROM:<a@x.example>")
    client.docmd("RCPT", "TO:<b@x.example>")
    client.docmd("DATA")
    client.send(b"Subject: half\r\n")
    client.close()
    with post.client() as other:
        other.send_message(letter())
    assert len(post.messages()) == 1


def test_a_greylisted_envelope_is_welcome_the_second_time(tmp_path: Path) -> None:
    with Post(tmp_path / "mail.sqlite", greylisted=1.0) as post, post.client() as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.send_message(letter())
        assert refused.value.recipients["ada@example.org"][0] == 451
        client.send_message(letter())
        assert len(post.messages()) == 1
