"""The loop without its wires: what is decided upon when, and what is told, against a watch that lags behind."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import msgspec

from arpfast.spans import Spans
from cluster.config import Config
from cluster.probes import Said
from cluster.world import Change, World
from controller.allocator import Allocator
from controller.outcome import Assignment
from controller.reconciling import STEP, Reconciling
from tests.controller.cluster import pool, service, written

if TYPE_CHECKING:
    from cluster.config import Pool
    from cluster.resources import Key, Service
    from cluster.status import PoolCounts
    from controller.outcome import Note


class Api:
    """An API server with a watch that is as late as the test wants it to be."""

    def __init__(self, *pools: Pool, ahead: int = 0) -> None:
        self.ahead = ahead
        self.version = 0
        self.now_s = 0.0
        self.services: dict[Key, Service] = {}
        self.config = Config(pools={one.name: one for one in pools})
        self.wishes: dict[Key, tuple[Service, Assignment | None]] = {}
        self.writes = self.conflicts = 0
        self.counted: list[tuple[str, PoolCounts]] = []
        self.said: list[tuple[str, str]] = []
        self.asked: list[Spans] = []
        self.took: list[float] = []
        self.contended: list[str] = []
        self.lead()

    def lead(self) -> None:
        """Another leader, which knows nothing."""
        self.wishes = {}
        allocator = partial(Allocator, ahead=self.ahead)
        self.reconciling = Reconciling(allocator, self, clock=lambda: self.now_s, took=self.took.append)

    # -- what the loop tells -----------------------------------------------------------------------------------------

    def write(self, service: Service, assignment: Assignment | None) -> None:
        self.wishes[service.key] = service, assignment

    def ask(self, candidates: Spans) -> None:
        self.asked.append(candidates)

    def contend(self, service: Service) -> None:
        self.contended.append(service.metadata.name)

    def withdraw(self, key: Key) -> None:
        self.wishes.pop(key, None)

    def count(self, pool: str, counts: PoolCounts) -> None:
        self.counted.append((pool, counts))

    def say(self, service: Service, note: Note) -> None:
        self.said.append((service.metadata.name, note.reason))

    # -- what happens ------------------------------------------------------------------------------------------------

    def store(self, *services: Service) -> None:
        """Somebody creates or changes them; nobody is told yet."""
        for one in services:
            self.version += 1
            metadata = msgspec.structs.replace(one.metadata, resource_version=str(self.version))
            self.services[one.key] = msgspec.structs.replace(one, metadata=metadata)

    def tell(self, *keys: Key, config: bool = False, world: World | None = None) -> None:
        """The watch tells of these."""
        list(self.reconciling.take(world or self.world(), Change(frozenset(keys), config=config)))

    def world(self) -> World:
        return World(services=dict(self.services), serving={}, nodes={}, config=self.config)

    def start(self) -> None:
        self.tell(*self.services, config=True)

    def carry_out(self) -> None:
        """Every wish, once: a status is written if nothing has changed since it was decided upon."""
        wishes, self.wishes = self.wishes, {}
        for key, (decided_upon, assignment) in wishes.items():
            now = self.services.get(key)
            if now is None:
                self.reconciling.stale(key, None)
            elif now.metadata.resource_version != decided_upon.metadata.resource_version:
                self.conflicts += 1
                self.reconciling.stale(key, now)
            else:
                self.writes += 1
                self.store(written(now, assignment))
                self.reconciling.written(self.services[key])

    def addresses(self) -> dict[str, tuple[str, ...]]:
        return {
            key.name: tuple(one.ip for one in each.status.load_balancer.ingress) for key, each in self.services.items()
        }


A = pool("a", "192.0.2.0/30")
WEB, DNS = service("web").key, service("dns").key


def test_one_write_for_a_service() -> None:
    api = Api(A)
    api.start()
    api.now_s = 5.0
    api.store(service("web"))
    api.tell(WEB)
    api.now_s = 5.5
    api.carry_out()
    assert api.addresses() == {"web": ("192.0.2.0",)}
    assert api.took == [0.5]
    api.tell(WEB)  # what we wrote ourselves
    assert not api.wishes
    assert (api.writes, api.conflicts, api.said) == (1, 0, [("web", "IPAllocated")])


def test_a_watch_may_be_faster_than_the_answer() -> None:
    """How long a Service waited is counted once, whoever tells first that it need not any more."""
    api = Api(A)
    api.start()
    api.store(service("web"))
    api.tell(WEB)
    api.now_s = 0.5
    _, assignment = api.wishes[WEB]
    api.store(written(api.services[WEB], assignment))
    api.tell(WEB)
    assert api.took == [0.5]
    api.reconciling.written(api.services[WEB])
    assert api.took == [0.5]


def test_a_watch_that_lags_undoes_nothing() -> None:
    """It tells of a Service as it was before our write, after that."""
    api = Api(A)
    api.start()
    api.store(service("web"))
    before = api.world()
    api.tell(WEB)
    api.carry_out()
    api.tell(WEB, world=before)
    assert not api.wishes
    api.store(service("web", ips="192.0.2.3", has=("192.0.2.0",), of="a"))
    before = api.world()
    api.tell(WEB)
    api.carry_out()
    api.tell(WEB, world=before)
    assert not api.wishes
    assert api.addresses() == {"web": ("192.0.2.3",)}


def test_a_conflict_is_decided_anew() -> None:
    api = Api(A)
    api.start()
    api.store(service("web"))
    api.tell(WEB)
    api.store(service("web", ips="192.0.2.2"))
    api.carry_out()
    assert (api.writes, api.conflicts) == (0, 1)
    api.carry_out()
    assert api.addresses() == {"web": ("192.0.2.2",)}


def test_nobody_gets_what_another_has_though_that_comes_last() -> None:
    """At the start, and when a Service arrives with an address together with one without."""
    api = Api(A)
    api.store(service("a-lost-its-pool", has=("203.0.113.1",), of="gone"), service("web", has=("192.0.2.0",), of="a"))
    api.start()
    api.carry_out()
    assert api.addresses() == {"a-lost-its-pool": ("192.0.2.1",), "web": ("192.0.2.0",)}
    api.store(service("new"), service("restored", has=("192.0.2.2",), of="a"))
    api.tell(service("new").key, service("restored").key)
    api.carry_out()
    assert api.addresses() == {
        "a-lost-its-pool": ("192.0.2.1",), "web": ("192.0.2.0",), "new": ("192.0.2.3",), "restored": ("192.0.2.2",),
    }  # fmt: skip


def test_of_those_made_in_one_second_the_first_is_served_first() -> None:
    """Timestamps tell no more than the second, and a slow watch tells of both at once."""
    api = Api(A)
    api.start()
    api.store(service("web"), service("dns"))
    api.tell(DNS, WEB)
    api.carry_out()
    assert api.addresses() == {"web": ("192.0.2.0",), "dns": ("192.0.2.1",)}


def test_another_leader_goes_on_where_the_last_one_was() -> None:
    """Some of its decisions were written, others were not."""
    api = Api(pool("a", "192.0.2.0/24"))
    api.start()
    api.store(*(service(f"s{number}") for number in range(20)))
    api.tell(*api.services)
    wishes = api.wishes
    api.wishes = {key: wishes[key] for number, key in enumerate(wishes) if number % 3}
    api.carry_out()
    before = {name: has for name, has in api.addresses().items() if has}
    api.lead()
    api.start()
    api.carry_out()
    after = api.addresses()
    assert after.items() >= before.items()
    assert len(set(after.values())) == 20


def test_who_waits_is_served_before_who_comes_with_the_address_that_came_free() -> None:
    api = Api(pool("a", "192.0.2.0/32"))
    api.store(service("first"))
    api.start()
    api.store(service("waits"))
    api.tell(service("waits").key)
    api.carry_out()
    del api.services[service("first").key]
    api.store(service("new"))
    api.tell(service("first").key, service("new").key)
    api.carry_out()
    assert api.addresses() == {"waits": ("192.0.2.0",), "new": ()}
    assert api.reconciling.allocator.waiting == 1
    api.now_s = 3.0
    assert api.reconciling.oldest_wait_s() == 3.0


def test_a_pool_is_counted_once_for_all_that_came_together() -> None:
    api = Api(A, pool("b", "198.51.100.0/24", auto_assign=False))
    api.start()
    assert [name for name, _ in api.counted] == ["a", "b"]
    api.counted.clear()
    api.store(*(service(f"s{number}") for number in range(3)))
    api.tell(*api.services)
    api.carry_out()
    assert [(name, tuple(counts)) for name, counts in api.counted] == [("a", (3, 0, 1, 0))]
    del api.services[service("s0").key]
    api.tell(service("s0").key)
    assert tuple(api.counted[-1][1]) == (2, 0, 2, 0)


def test_a_pool_that_goes() -> None:
    api = Api(A, pool("b", "198.51.100.0/24", auto_assign=False))
    api.store(service("web"), service("dns", pool="b"))
    api.start()
    api.carry_out()
    api.config = Config(pools={"b": api.config.pools["b"]})
    api.tell(config=True)
    api.carry_out()
    assert api.addresses() == {"web": (), "dns": ("198.51.100.0",)}
    assert [reason for name, reason in api.said if name == "web"] == [
        "IPAllocated",
        "ClearAssignment",
        "AllocationFailed",
    ]


def test_a_store_that_was_put_back() -> None:
    """What its statuses say is so again, also where an address was given to another Service since."""
    api = Api(A)
    api.start()
    api.store(service("old"), service("new"))
    api.tell(service("old").key)
    api.carry_out()
    backup, version = dict(api.services), api.version
    del api.services[service("old").key]
    api.tell(service("old").key)
    api.store(service("new", labels={"app": "web"}))
    api.tell(service("new").key)
    api.carry_out()
    assert api.addresses() == {"new": ("192.0.2.0",)}
    api.tell(*api.services)
    api.services, api.version = backup, version
    api.tell(*api.services)
    api.carry_out()
    assert api.addresses() == {"old": ("192.0.2.0",), "new": ("192.0.2.1",)}


def test_a_service_that_went_is_written_to_no_more() -> None:
    api = Api(A)
    api.start()
    api.store(service("web"))
    api.tell(WEB)
    del api.services[WEB]
    api.carry_out()
    api.tell(WEB)
    assert not api.wishes
    api.store(service("dns"))
    api.tell(DNS)
    api.carry_out()
    assert api.addresses() == {"dns": ("192.0.2.0",)}


def test_what_is_heard_between_two_steps_waits() -> None:
    """A Service that wants an address does not get one that another has which has not been adopted yet."""
    api = Api(pool("a", "192.0.2.0/24"))
    api.start()
    api.store(service("web"))
    api.tell(WEB)
    many = [service(f"s{number:03}", has=(f"192.0.2.{number}",), of="a") for number in range(1, STEP + 2)]
    api.store(service("web", ips=f"192.0.2.{STEP + 1}"), *many)
    steps = api.reconciling.take(api.world(), Change(frozenset(one.key for one in many)))
    next(steps)
    api.reconciling.stale(WEB, api.services[WEB])
    for _ in steps:
        pass
    api.carry_out()
    assert api.addresses() == {"web": ()} | {one.metadata.name: one_has(one) for one in many}


def one_has(one: Service) -> tuple[str, ...]:
    return tuple(each.ip for each in one.status.load_balancer.ingress)


def test_one_change_is_one_decision() -> None:
    """However many Services there are."""
    api = Api(pool("a", "10.0.0.0/8"))
    api.store(*(service(f"s{number}") for number in range(500)))
    api.start()
    api.carry_out()
    decisions = api.reconciling.decisions
    api.store(service("new"))
    api.tell(service("new").key)
    assert api.reconciling.decisions == decisions + 1
    assert set(api.wishes) == {service("new").key}


def test_who_waits_for_proof_is_served_when_there_is_some_or_in_time() -> None:
    api = Api(A, ahead=8)
    api.start()
    assert api.asked == [Spans.parse("192.0.2.0/30")]
    api.reconciling.found([Said(Spans(), {(4, 0xC0000200): "02:00:00:00:00:99"})])  # a speaker is there
    api.store(service("web"), service("dns"))
    api.tell(WEB, DNS)
    api.carry_out()
    assert api.addresses() == {"web": (), "dns": ()}
    assert api.said == []
    api.now_s = 1.0
    api.reconciling.found([Said(Spans.parse("192.0.2.2"), {(4, 0xC0000200): "02:00:00:00:00:99"})])
    api.carry_out()
    assert sorted(api.addresses().values()) == [(), ("192.0.2.2",)]
    assert api.reconciling.due_s == 2.0
    api.now_s = 2.0
    api.reconciling.hurry()
    api.carry_out()
    assert sorted(api.addresses().values()) == [("192.0.2.1",), ("192.0.2.2",)]
    assert api.reconciling.due_s is None


def test_nobody_is_in_a_hurry_for_ever() -> None:
    api = Api(A, ahead=8)
    api.start()
    api.reconciling.found([Said(Spans(), {})])
    api.store(service("web"))
    api.tell(WEB)
    assert api.reconciling.due_s == 2.0
    api.store(service("web", type="ClusterIP"))
    api.tell(WEB)
    api.now_s = 2.0
    api.reconciling.hurry()
    assert api.reconciling.due_s is None


def test_two_who_put_one_another_right_do_so_ever_more_slowly() -> None:
    """Another controller that gives the same Service something else: for ten minutes, each as fast as it can."""
    api = Api(A)
    api.start()
    api.store(service("web"), service("dns"))
    api.tell(WEB, DNS)
    api.carry_out()
    while api.now_s < 600.0:
        api.store(written(api.services[WEB], Assignment("his", (ip_address("172.16.0.9"),))))
        api.tell(WEB)
        if not api.wishes:
            assert api.reconciling.due_s is not None
            api.now_s = api.reconciling.due_s
            api.reconciling.hurry()
        api.carry_out()
        assert api.addresses()["web"] == ("192.0.2.0",)
    assert api.writes < 25
    assert set(api.contended) == {"web"}
    api.store(service("web", ips="192.0.2.3", has=("172.16.0.9",), of="his"))
    api.tell(WEB)
    api.carry_out()
    assert api.addresses()["web"] == ("192.0.2.3",), "expected its owner not to wait"
    assert api.reconciling.due_s is None
