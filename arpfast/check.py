"""Would it work here, and if not, why not: the settings held against this machine. Pure; `machine` has looked already.

A finding is `ok`, `warn` (it works, but somebody may be surprised) or `fail` (it would not work, or not for some
address); each that is not ok says what to do.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

import msgspec

from arpfast.interfaces import Choice, Interface, Refusal, networks
from arpfast.local import refusal
from arpfast.privileges import DEFAULT_USERS, NEEDED_FOR, Capability
from arpfast.silence import speakers
from arpfast.spans import Span, Spans, Version, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arpfast.config import Config
    from arpfast.machine import Machine
    from arpfast.ring.settings import RingSettings

Judgement = Literal["ok", "warn", "fail"]
_NAMED_AT_MOST = 5
_FAMILIES: tuple[tuple[Version, str], ...] = ((4, "ipv4"), (6, "ipv6"))


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    check: str
    judgement: Judgement
    told: str
    remedy: str = ""


def examine(config: Config, machine: Machine, user: str | None = None) -> list[Finding]:
    """All findings, in the order in which a daemon would trip over them."""
    chosen, refused = _choose(config, machine)
    return [
        *_wanted(config),
        *_privileges(machine, user),
        *_kernel(config, machine),
        *_places(config, machine),
        *_interfaces(config, chosen, refused),
        *_backend(config, machine, chosen),
        *_ipv6(config, machine, chosen),
        *_kernel_owned(config, machine, chosen),
        *_on_link(config, chosen),
        *_proxied(config, machine, chosen),
        *_paths(config, machine, chosen),
        *(local(config.addresses, machine, chosen, shared=config.ring is not None) if config.local else ()),
        *(_ring(config.ring, machine) if config.ring else ()),
    ]


def _listed(spans: Spans) -> str:
    texts = [str(span) for _, span in zip(range(_NAMED_AT_MOST), spans, strict=False)]
    more = len(spans.spans) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _choose(config: Config, machine: Machine) -> tuple[list[Interface], dict[str, Refusal]]:
    choice = Choice(config.interfaces)
    refusals = {interface.name: choice.refusal(interface) for interface in machine.interfaces}
    chosen = [interface for interface in machine.interfaces if refusals[interface.name] is None]
    return chosen, {name: refusal for name, refusal in refusals.items() if refusal is not None}


def _wanted(config: Config) -> Iterator[Finding]:
    if not config.addresses and not config.proxy:
        remedy = "give addresses on the command line or in the file"
        yield Finding("addresses", "warn", "none: nothing would be answered", remedy)
        return
    told = [f"{spans.size} {what}" for what, spans in (("own", config.addresses), ("proxied", config.proxy)) if spans]
    yield Finding("addresses", "ok", f"{' and '.join(told)}: {_listed(config.addresses | config.proxy)}")


def _privileges(machine: Machine, user: str | None) -> Iterator[Finding]:
    has = machine.capabilities
    need = Capability.NET_RAW
    if need in has:
        yield Finding(str(need), "ok", f"kept for {NEEDED_FOR[need]}")
    else:
        remedy = "start as root, or give the capability (systemd: AmbientCapabilities=CAP_NET_RAW)"
        yield Finding(str(need), "fail", f"missing; needed for {NEEDED_FOR[need]}", remedy)
    if not machine.root:
        yield Finding("user", "ok", "not root: stays the user that it is, and keeps only the capabilities above")
    elif machine.account is None:
        remedy = "create it, as in 'useradd --system --shell /usr/sbin/nologin arpfast', or name another with --user"
        yield Finding("user", "fail", f"there is no user {user or ' or '.join(DEFAULT_USERS)} to drop to", remedy)
    elif machine.account.name == "nobody" and user is None:
        remedy = "useradd --system --shell /usr/sbin/nologin arpfast"
        yield Finding("user", "warn", "drops from root to nobody, whom other programs may share", remedy)
    else:
        yield Finding("user", "ok", f"drops from root to {machine.account.name}")


def _kernel(config: Config, machine: Machine) -> Iterator[Finding]:
    """What of our own would run in the kernel."""
    if machine.filter_refused:
        missing = Capability.BPF not in machine.capabilities
        remedy = f"add {Capability.BPF}" if missing else "see what the kernel says"
        remedy += ", if floods of frames for others are to cost less"
        yield Finding("filter", "ok" if missing else "warn", f"classic; {machine.filter_refused}", remedy)
    else:
        yield Finding("filter", "ok", "eBPF: frames that are not ours die in the kernel")
    if config.rate_limit is not None:
        if machine.guard:
            yield Finding("guard", "ok", "in tc ingress, where refusing a flood costs least")
        else:
            remedy = f"start with {Capability.NET_ADMIN} as well, if floods over the limit are to cost less"
            yield Finding("guard", "ok", "none can be loaded; the limit is kept without it", remedy)


def _backend(config: Config, machine: Machine, chosen: list[Interface]) -> Iterator[Finding]:
    """Who would answer."""
    wanted = config.backend
    if config.restart_s is not None and wanted == "raw":
        yield Finding("restart", "warn", "nothing to keep where the daemon itself answers", "let 'backend' be auto")
    elif config.restart_s is not None and not machine.root:
        remedy = "start as root, which may make a folder in /sys/fs/bpf"
        yield Finding("restart", "warn", "nothing can be kept, so a restart is not bridged", remedy)
    if wanted == "raw":
        yield Finding("backend", "ok", "raw: the daemon itself, as was wished")
    elif not machine.answers:
        remedy = f"start with {Capability.BPF} and {Capability.NET_ADMIN}, if the kernel is to answer"
        told = "raw: the programs that would answer in the kernel cannot be loaded"
        yield Finding("backend", "ok" if wanted == "auto" else "warn", told, remedy)
    else:
        for interface in chosen:
            harm = machine.harms.get(interface.name, "")
            if wanted == "auto":
                yield Finding("backend", "ok", f"{interface.name}: {f'tc, since {harm}' if harm else 'xdp'}")
            elif wanted == "xdp" and harm:
                yield Finding("backend", "warn", f"{interface.name}: xdp, but {harm}", "leave the choice to 'auto'")
            else:
                yield Finding("backend", "ok", f"{interface.name}: {wanted}")


def _places(config: Config, machine: Machine) -> Iterator[Finding]:
    if machine.unreadable:
        remedy = "make it readable, or run as another user with --user; without that, a reload fails"
        yield Finding("reload", "warn", machine.unreadable, remedy)
    if machine.control_holder is not None:
        told = f"a daemon (pid {machine.control_holder}) already answers on {config.control}"
        yield Finding("control", "warn", told, "'arpfast reload' changes that one; to run another, give it --control")
    elif machine.control_problem:
        remedy = "choose another place with --control or 'control' in the file"
        yield Finding("control", "fail", machine.control_problem, remedy)
    else:
        yield Finding("control", "ok", config.control)
    if config.metrics is not None:
        if machine.metrics_problem:
            yield Finding("metrics", "fail", machine.metrics_problem, "choose another address or port")
        else:
            yield Finding("metrics", "ok", f"http://{config.metrics}/metrics")


def _interfaces(config: Config, chosen: list[Interface], refused: dict[str, Refusal]) -> Iterator[Finding]:
    for interface in chosen:
        mac = interface.mac.hex(":")
        if interface.carrier:
            yield Finding(f"interface {interface.name}", "ok", f"answers with {mac}")
        else:
            remedy = "plug in the cable; until then nobody can ask"
            yield Finding(f"interface {interface.name}", "warn", f"would answer with {mac}, but has no carrier", remedy)
    unmatched = []
    for pattern in config.interfaces:
        if pattern.startswith("!") or any(Choice((pattern,)).refusal(one) is None for one in chosen):
            continue
        if (why := refused.get(pattern)) is not None and why is not Refusal.NOT_NAMED:
            remedy = "ip link set {0} up" if why is Refusal.DOWN else "name another interface"
            told = f"cannot be used: {why}"
            yield Finding(f"interface {pattern}", "warn" if chosen else "fail", told, remedy.format(pattern))
        else:
            unmatched.append(pattern)
    if unmatched:
        remedy = "see 'ip link'; arpfast will answer there as soon as there is one"
        told = f"nothing here matches {', '.join(unmatched)}"
        yield Finding("interfaces", "warn" if chosen else "fail", told, remedy)
    if not chosen and not config.interfaces:
        remedy = "bring an Ethernet-like interface up; arpfast will answer there as soon as there is one"
        whys = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:_NAMED_AT_MOST])
        yield Finding("interfaces", "fail", f"none that can be used ({whys})", remedy)


def _ipv6(config: Config, machine: Machine, chosen: list[Interface]) -> Iterator[Finding]:
    if not (config.addresses | config.proxy).of_version(6):
        return
    for interface in chosen:
        if not interface.ipv6 or machine.sysctl("ipv6", interface.name, "disable_ipv6"):
            remedy = f"sysctl net.ipv6.conf.{interface.name}.disable_ipv6=0, or take the IPv6 addresses out"
            told = f"IPv6 is disabled on {interface.name}: no multicast groups, so nobody's question arrives"
            yield Finding("IPv6", "fail", told, remedy)
        elif config.proxy.of_version(6) and interface.link_local is None:
            told = f"{interface.name} has no link-local address to advertise proxied addresses from"
            yield Finding(
                "IPv6", "warn", told, f"ip link set {interface.name} addrgenmode eui64, or add an fe80:: address"
            )


def _kernel_owned(config: Config, machine: Machine, chosen: list[Interface]) -> Iterator[Finding]:
    """Two who answer for one address: the same MAC is harmless, another is a fault that neighbours will feel."""
    for owner in machine.interfaces:
        for address in owner.addresses:
            if address.ip not in config.addresses or (config.local and owner.loopback):
                continue
            span = Span.of(address.ip)
            name = f"address {address_of(span.version, span.first)}"
            if owner in chosen:
                told = (
                    f"the kernel has it on {owner.name} and answers there too, with the same MAC {owner.mac.hex(':')}"
                )
                yield Finding(name, "warn", told, "harmless; take it out here, or off the interface")
                continue
            speaks = owner.up and owner.arp and owner.ethernet and not owner.loopback
            if speaks and chosen and all(owner.mac != one.mac for one in chosen):
                ours = ", ".join(f"{one.name} ({one.mac.hex(':')})" for one in chosen)
                told = (
                    f"the kernel has it on {owner.name} and answers there with {owner.mac.hex(':')}, arpfast on {ours}"
                )
                remedy = f"if these are one link, neighbours see two answers: take it off {owner.name}, or out here"
                yield Finding(name, "fail", told, remedy)
                continue
            answering = [one.name for one in chosen if machine.sysctl("ipv4", one.name, "arp_ignore") == 0]
            if span.version == 4 and answering:
                told = (
                    f"the kernel has it on {owner.name} and, with arp_ignore=0, answers on {', '.join(answering)} too"
                )
                yield Finding(name, "warn", told, "sysctl net.ipv4.conf.all.arp_ignore=1, so that only one answers")
            else:
                told = f"the kernel has it on {owner.name}, where it takes the packets; arpfast answers for it"
                yield Finding(name, "ok", told)
            asking = [one.name for one in chosen if machine.sysctl("ipv4", one.name, "arp_announce") < 2]
            if span.version == 4 and asking:
                told = f"with arp_announce below 2 the kernel may ask its neighbours from it on {', '.join(asking)}"
                remedy = "sysctl net.ipv4.conf.all.arp_announce=2, above all if other hosts hold the address too"
                yield Finding(name, "warn", told, remedy)


def _ring(ring: RingSettings, machine: Machine) -> Iterator[Finding]:
    """Whether this host is a member, and whether strangers can be."""
    ours = {str(address.ip) for owner in machine.interfaces for address in owner.addresses}
    found = [member for member in ring.members if str(ip_address(member)) in ours]
    if len(found) == 1:
        yield Finding("ring", "ok", f"this host is {found[0]}, one of {len(ring.members)} members")
    else:
        told = f"{', '.join(found)} are all this host's" if found else "no address of this host is among ring.members"
        yield Finding("ring", "fail", told, "list one address of each member, the same list on all of them")
    if ring.quorum and len(ring.members) == 2:
        told = "a quorum of two members is both of them: should one die, the other answers nothing"
        yield Finding("ring", "warn", told, "add a third member, whose weight may be 0, or do without a quorum")
    if not ring.key_files:
        told = f"the gossip on port {ring.port} is open: whoever reaches it can take part"
        yield Finding("ring", "warn", told, "give all members the same secret in ring.key_files")


def local(wanted: Spans, machine: Machine, chosen: list[Interface], *, shared: bool) -> Iterator[Finding]:
    """Whether `wanted` can be on `lo` here; `shared`: other hosts have these addresses as well."""
    if why_not := refusal(wanted):
        yield Finding("local", "fail", why_not, "put others there; a whole prefix: ip route add local PREFIX dev lo")
    need = Capability.NET_ADMIN
    if need not in machine.capabilities:
        remedy = f"start as root, or give it (systemd: {need} in AmbientCapabilities and CapabilityBoundingSet)"
        yield Finding("local", "fail", f"{need} is missing: addresses cannot be put on lo", remedy)
    speaking = speakers(machine.sysctl, [one.name for one in chosen]) if wanted.of_version(4) else []
    for speaker in speaking:
        if shared:
            told = f"{speaker}, though another host may be the one to: IPv4 addresses are kept off lo"
            yield Finding("local", "fail", told, speaker.remedy)
        else:
            yield Finding("local", "warn", f"{speaker}, as arpfast does", f"{speaker.remedy}, so that only one speaks")
    if not speaking:
        yield Finding("local", "ok", f"{wanted.size} on lo, for which the kernel does not speak by itself")


def _on_link(config: Config, chosen: list[Interface]) -> Iterator[Finding]:
    on_link = Spans(Span.parse(str(address.network)) for interface in chosen for address in interface.addresses)
    for version in (4, 6):
        outside = config.addresses.of_version(version) - on_link
        if chosen and outside:
            told = f"{_listed(outside)}: in no network of {', '.join(one.name for one in chosen)}"
            remedy = "neighbours ask only for what their own routes call on-link: check the prefix, or their routes"
            yield Finding("networks", "warn", told, remedy)
    ours = {address.network: one for one in chosen for address in one.addresses if address.version == 4}
    for network, one in ours.items():
        edges = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()
        found = config.addresses & Spans(Span.of(edge) for edge in edges)
        if found:
            told = f"{_listed(found)}: the first and the last address of {network} on {one.name} are no host's"
            yield Finding("networks", "warn", told, "harmless, and of no use: neighbours there never ask for them")


def _proxied(config: Config, machine: Machine, chosen: list[Interface]) -> Iterator[Finding]:
    for interface in chosen:
        swallowed = Spans(network for network in networks((interface,)) if network in config.proxy)
        if swallowed:
            told = (
                f"proxies all of {_listed(swallowed)} on {interface.name}, so it also answers for the neighbours there"
            )
            yield Finding("proxy", "warn", told, "proxy only addresses that are elsewhere")
        for version, family in _FAMILIES:
            forwards = machine.sysctls.get(f"{family}/conf/{interface.name}/forwarding", 0)
            if config.proxy.of_version(version) and not forwards:
                told = f"packets for proxied addresses end here: {family} forwarding is off on {interface.name}"
                remedy = f"sysctl net.{family}.conf.all.forwarding=1, unless something else takes them"
                yield Finding("forwarding", "warn", told, remedy)
        for family, name in (("ipv4", "proxy_arp"), ("ipv6", "proxy_ndp")):
            if (config.addresses | config.proxy).of_version(4 if family == "ipv4" else 6) and machine.sysctl(
                family, interface.name, name
            ):
                told = f"{name} is on for {interface.name}: the kernel answers for addresses that it has routes to"
                yield Finding(
                    name, "warn", told, f"sysctl net.{family}.conf.{interface.name}.{name}=0, so that only one answers"
                )


def _paths(config: Config, machine: Machine, chosen: list[Interface]) -> Iterator[Finding]:
    if not config.addresses.of_version(4):
        return
    others = [one for one in machine.interfaces if one.up and not one.loopback and not one.enslaved]
    strict = [one.name for one in chosen if machine.sysctl("ipv4", one.name, "rp_filter") == 1]
    if strict and len(others) > 1:
        told = f"rp_filter=1 on {', '.join(strict)}: drops packets whose sender the routes place on another interface"
        yield Finding("rp_filter", "warn", told, "sysctl net.ipv4.conf.all.rp_filter=2 if answers leave by another way")
    elif chosen:
        yield Finding("rp_filter", "ok", "drops nothing that comes in by the interface it is asked on")
