"""What is said of the configuration."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from cluster.configuration_state import CONTROLLER, SUMMARY_AT_MOST, object_body, speaker, status_of
from cluster.problems import Problem
from cluster.resources import Key, Metadata, Object

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BAD = Problem("IPAddressPool", Key("metallb-system", "a"), "spec.addresses[0]", "x", "a prefix")


def test_a_good_one() -> None:
    assert status_of(CONTROLLER, (), SINCE) == {
        "result": "Valid",
        "errorSummary": "",
        "conditions": [
            {
                "type": "poolReconcilerValid",
                "status": "True",
                "reason": "Reconciled",
                "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }
        ],
    }


def test_a_bad_one_has_a_line_for_each_problem() -> None:
    status = status_of(speaker("n1"), (BAD, BAD), SINCE)
    line = "IPAddressPool metallb-system/a: spec.addresses[0]: expected a prefix, not 'x'"
    assert (status["result"], status["errorSummary"]) == ("Invalid", f"{line}\n{line}")
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"]) == ("configReconcilerValid", "False")
    assert condition["reason"] == "ConfigurationError"


def test_many_problems_are_cut_short() -> None:
    status = status_of(CONTROLLER, (BAD,) * 1000, SINCE)
    assert len(status["errorSummary"]) == SUMMARY_AT_MOST


def test_the_object_goes_with_its_pod() -> None:
    pod = Object(Metadata(name="speaker-x", uid="u1"))
    made = msgspec.json.decode(object_body(speaker("n1"), "metallb-system", pod))
    assert made == {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "ConfigurationState",
        "metadata": {
            "name": "speaker-n1",
            "namespace": "metallb-system",
            "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": "u1"}],
        },
    }
