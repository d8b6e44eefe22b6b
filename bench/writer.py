"""Writes Services and EndpointSlices by the thousand, as fast as sixteen clients can; prints one line of JSON.

python bench/writer.py KUBECONFIG FIRST COUNT WHAT...

WHAT is one or several of, for each Service in this order:

    slice      an EndpointSlice with one endpoint, on the node `a`
    service    the Service, of type LoadBalancer; IPv4 and IPv6 in turn where `both` is given, too
    status     its status with an address, as a controller would write it: one merge patch

Bare clients: nothing is watched, nothing is read but the status of the response, and what a busy server refuses is
asked again. What they take is what the API server takes, with a client beside it that costs as little as can be had in
Python.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = 16
BUSY, ATTEMPTS = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}, 100
AGAIN_S = 0.1
NAMESPACE = "default"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
MERGE_PATCH = "application/merge-patch+json"
FIRST = IPv4Address("198.18.64.0")


def name(number: int) -> str:
    """Of the Service."""
    return f"s-{number}"


def service(number: int, both: bool) -> dict[str, object]:
    """The Service, without a selector: its endpoints are made, if they are, by hand."""
    family = "IPv6" if both and number % 2 else "IPv4"
    spec = {
        "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ipFamilies": [family],
        "ports": [{"port": 80}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name(number)}, "spec": spec}


def endpoint_slice(number: int, both: bool) -> dict[str, object]:
    """The EndpointSlice of the Service."""
    six = both and number % 2
    metadata = {"name": name(number), "labels": {"kubernetes.io/service-name": name(number)}}
    endpoint = {
        "addresses": ["fd97:0:0:1::2" if six else "10.97.1.2"], "nodeName": "a",
        "conditions": {"ready": True, "serving": True},
    }  # fmt: skip
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv6" if six else "IPv4", "endpoints": [endpoint], "ports": [{"port": 80}],
    }  # fmt: skip


def status(number: int) -> dict[str, object]:
    """The status of a Service that has an address."""
    return {"status": {"loadBalancer": {"ingress": [{"ip": str(FIRST + number), "ipMode": "VIP"}]}}}


class Writer:
    """All clients."""

    def __init__(self, kubeconfig: Path, what: list[str]) -> None:
        """Read how to reach the API server."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server, self._headers = cluster["server"], {"Authorization": f"Bearer {user['token']}"}
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._what = [one for one in what if one != "both"]
        self._both = "both" in what
        self._again = 0

    async def write(self, first: int, count: int) -> dict[str, float]:
        """Write all; when that began, how long it took, and how many requests had to be made again."""
        connector = aiohttp.TCPConnector(limit=CLIENTS, ssl=self._tls)
        numbers = iter(range(first, first + count))
        async with aiohttp.ClientSession(self._server, connector=connector, headers=self._headers) as session:
            began_s = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(self._client(session, numbers))
            return {"began_s": began_s, "seconds": time.monotonic() - began_s, "again": self._again}

    async def _client(self, session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            for what in self._what:
                match what:
                    case "service":
                        await self._ask(session, "POST", SERVICES, service(number, self._both))
                    case "slice":
                        await self._ask(session, "POST", SLICES, endpoint_slice(number, self._both))
                    case "status":
                        path = f"{SERVICES}/{name(number)}/status"
                        await self._ask(session, "PATCH", path, status(number), MERGE_PATCH)

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: object, kind: str = "application/json"
    ) -> None:
        data = json.dumps(body).encode()
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._again += 1
                await asyncio.sleep(AGAIN_S)
            try:
                async with session.request(method, path, data=data, headers={"Content-Type": kind}) as response:
                    told = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:  # who is busy cuts off, too
                why = repr(error)
                continue
            if response.status < HTTPStatus.BAD_REQUEST or (attempt and response.status == HTTPStatus.CONFLICT):
                return  # or it had been done, though the server was late to say so
            why = f"{response.status} {told.decode(errors='replace')}"
            if response.status not in BUSY:
                break
        raise RuntimeError(f"{method} {path}: {why}")


if __name__ == "__main__":
    writer = Writer(Path(sys.argv[1]), sys.argv[4:])
    print(json.dumps(asyncio.run(writer.write(int(sys.argv[2]), int(sys.argv[3])))), flush=True)
