"""The Secret with the ring's key, as it is made."""

from __future__ import annotations

import base64

import msgspec

from cluster.resources import Metadata, Object
from controller.secret import body


def test_the_key_is_as_metallb_makes_it() -> None:
    """16 random bytes in base64 without padding, owned by the Deployment."""
    made = msgspec.json.decode(body("lb", "memberlist", Object(Metadata(name="controller", uid="u-1"))))
    key = made["stringData"]["secretkey"]
    assert len(key) == 22
    assert len(base64.b64decode(key + "==")) == 16
    assert made["metadata"]["namespace"] == "lb"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Deployment", "controller", "u-1")


def test_each_key_is_another() -> None:
    assert body("lb", "memberlist", None) != body("lb", "memberlist", None)
