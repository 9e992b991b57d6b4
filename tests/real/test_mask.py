"""Secrets are hidden wherever the output is cut."""

from __future__ import annotations

import base64
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.real.mask import Mask, MaskedStream
from batuta.real.pipes import Kept

secrets = st.lists(st.text("ab9é", min_size=4, max_size=9), min_size=1, max_size=3)
pieces = st.lists(st.text("ab9é\n", max_size=8), max_size=12)


@settings(max_examples=400)
@given(secrets, pieces, st.data())
def test_however_it_is_cut_the_same_is_hidden(
    values: list[str], around: list[str], data: st.DataObject
) -> None:
    mask = Mask(values)
    text = "".join(piece + data.draw(st.sampled_from(["", *values])) for piece in around).encode()
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    stream = MaskedStream(mask)
    shown = b""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        shown += stream.feed(text[begin:end])
    shown += stream.end()
    assert shown == mask.hide(text)
    for value in values:
        assert value.encode() not in shown


@given(
    st.binary(min_size=6, max_size=40).map(lambda raw: raw.hex()),
    st.binary(max_size=7),
    st.binary(max_size=7),
)
def test_base64_at_any_place(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after)
    assert b"***" in Mask([secret]).hide(encoded)


def test_other_forms() -> None:
    secret = 'p ss/"wörd"+'
    mask = Mask([secret])
    for form in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        secret.encode().hex(),
        'p ss/\\"w\\u00f6rd\\"+',
    ):
        assert mask.hide_text(f"<{form}>") == "<***>"
    assert Mask(["abc"]).hide_text("abc") == "abc"
    assert Mask(["first line\nsecond line"]).hide_text("a second line") == "a ***"


def test_a_secret_at_the_cut_of_what_is_kept_is_hidden() -> None:
    mask = Mask(["hunter22"])
    for shift in range(10):
        kept = Kept(limit=40)
        kept.add(b"." * (20 - shift) + b"hunter22" + b"-" * 200 + b"hunter22" + b"." * (20 - shift))
        text = kept.text(mask)
        assert "dropped" in text
        for length in range(2, 9):
            assert "hunter22"[:length] not in text.split("\n")[0]
            assert "hunter22"[-length:] not in text.split("\n")[-1]


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(2, 100).map(lambda n: 2 * n))
def test_kept_is_the_whole_or_both_ends(parts: list[bytes], limit: int) -> None:
    kept = Kept(limit)
    for part in parts:
        kept.add(part)
    whole = b"".join(parts)
    text = kept.text(Mask())
    if len(whole) <= limit:
        assert text == whole.decode("utf-8", "replace")
        assert kept.dropped == 0
    else:
        assert kept.dropped == len(whole) - limit
        assert f"… {kept.dropped:,} bytes dropped …" in text
