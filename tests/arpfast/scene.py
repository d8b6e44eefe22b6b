"""One interface and one table that the tests of answer() share, with an address of every kind and his who asks."""

from __future__ import annotations

from arpfast.answer import Link, Members, Outcome, Table, Verdict, answer
from arpfast.spans import Spans
from tests.arpfast import reference
from tests.arpfast.wire import KIN_MAC, MEMBER_MAC, OUR_MAC, ip

NONCE = bytes.fromhex("0a0b0c0d0e0f")
LINK_LOCAL = ip("fe80::ff:fe00:1")
LINK = Link(OUR_MAC, link_local=LINK_LOCAL, kin=[KIN_MAC], nonce=NONCE, members=Members([MEMBER_MAC]))
ALL_NODES = ip("ff02::1")
HIM4, HIM6 = "192.0.2.99", "fe80::99"
OWN4, OWN6 = "192.0.2.10", "2001:db8::10"
TENTATIVE4, TENTATIVE6 = "192.0.2.20", "2001:db8::20"
PROXY4, PROXY6 = "198.51.100.7", "2001:db8:1::7"
ADDRESSES = reference.Addresses(
    own=Spans.parse(OWN4, OWN6, TENTATIVE4),
    proxy=Spans.parse(
        "198.51.100.0/24", "224.0.0.0/3", "0.0.0.0/8", "127.0.0.0/8", "2001:db8:1::/48", OWN6, "ff00::/8", "::/64"
    ),
    tentative=Spans.parse(TENTATIVE4, TENTATIVE6),
)

TABLE = Table(*ADDRESSES)
INTERFACE = reference.Interface(OUR_MAC, link_local=LINK_LOCAL, kin=(KIN_MAC,), nonce=NONCE, members=(MEMBER_MAC,))


def ask(frame: bytes, link: Link = LINK) -> Outcome:
    return answer(TABLE, link, frame)


def verdict(frame: bytes) -> str:
    return ask(frame).verdict.name


def reply(frame: bytes, link: Link = LINK) -> bytes:
    outcome = ask(frame, link)
    assert outcome.verdict is Verdict.REPLY
    assert outcome.reply is not None
    return outcome.reply
