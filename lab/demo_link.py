"""`make demo-link`: two hosts on a switch, one of which answers for addresses that no kernel owns.

Nothing is staged but the network: the answerer runs the installed `arpfast` command, the neighbour is an ordinary
Linux kernel, and a web server stands behind the addresses as it would behind a load balancer: nftables hands it what
arrives for them, and no interface carries them. Ends by itself and leaves nothing behind.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.frames import Mac
from lab.network import Lab
from lab.playing import perform
from lab.waiting import wait_until

if TYPE_CHECKING:
    from lab.host import Host

ADDRESSES = ("192.0.2.10", "2001:db8::10")
POOL = "192.0.2.128/25"
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
ARPFAST = Path(sys.executable).with_name("arpfast")
RULES = """
table inet service {
  chain arriving {
    type nat hook prerouting priority dstnat
    ip daddr 192.0.2.10 tcp dport 80 dnat ip to 192.0.2.2:8080
    ip6 daddr 2001:db8::10 tcp dport 80 dnat ip6 to [2001:db8::2]:8080
  }
}
"""
SERVER = """
import http.server, socket, socketserver
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello from behind the address\\n")
    def log_message(self, *_): pass
class Server(socketserver.ThreadingTCPServer):  # HTTPServer would ask the DNS for its own name, and wait for that
    address_family = socket.AF_INET6
server = Server(("::", 8080), Answer)
print("ready", flush=True)
server.serve_forever()
"""


def say(text: str) -> None:
    """A step, for people."""
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def show(text: str) -> None:
    """What a program said."""
    print("\n".join(f"  {line}" for line in text.rstrip().splitlines()), flush=True)


def run(host: Host, *command: str) -> str:
    """Run a command on a host, showing both it and what it says."""
    print(f"{DIM}{host.name}$ {' '.join(command)}{PLAIN}", flush=True)
    words = [str(ARPFAST) if word == "arpfast" else word for word in command]
    finished = host.run(words, check=False, environment={"ARPFAST_CONTROL": str(host.lab.directory / "control.sock")})
    show(finished.stdout + finished.stderr)
    return finished.stdout


def fetch(host: Host, address: str) -> str:
    """Fetch the page behind the address, once the web is reached."""
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=3).read().decode(), end='')"
    print(f"{DIM}{host.name}$ curl {url}{PLAIN}", flush=True)
    finished = host.run([sys.executable, "-c", code])
    show(finished.stdout)
    return finished.stdout


def play() -> None:
    """The whole piece."""
    with Lab() as lab:
        switch, server, neighbour = lab.switch(), lab.host("server"), lab.host("neighbour")
        eth0 = server.link(switch, addresses=["192.0.2.2/24", "2001:db8::2/64"])
        neighbour.link(switch, addresses=["192.0.2.1/24", "2001:db8::1/64"])
        server.set({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        server.route("default", via="192.0.2.1")
        server.route("default", via="2001:db8::1")
        server.run(["nft", "-f", "-"], stdin=RULES)
        server.spawn([sys.executable, "-c", SERVER]).wait_for_line("ready")

        say(f"1. Nobody has {ADDRESSES[0]}: the neighbour asks, and no one answers")
        print(f"{DIM}neighbour$ ip neighbour get {ADDRESSES[0]} dev eth0{PLAIN}")
        show(f"{ADDRESSES[0]} {'unreachable' if neighbour.resolve(ADDRESSES[0]) is None else 'answered?'}")

        say("2. arpfast answers for it, and for a whole prefix; no interface carries these addresses")
        command = ["run", "-i", "eth0", *ADDRESSES, POOL]
        print(f"{DIM}server$ arpfast {' '.join(command)} &{PLAIN}")
        arpfast = server.spawn(
            [ARPFAST, *command],
            environment={"ARPFAST_CONTROL": str(lab.directory / "control.sock"), "ARPFAST_LOG_FORMAT": "human"},
        )
        started_s = time.monotonic()
        arpfast.wait_for_line("started", deadline_s=20)
        wait_until(lambda: neighbour.resolve(ADDRESSES[0]) is not None, deadline_s=20)
        show(f"{ADDRESSES[0]} is answered {time.monotonic() - started_s:.1f} s after the start, probing included")

        say("3. The neighbour reaches what stands behind the addresses")
        for address in ADDRESSES:
            fetch(neighbour, address)
        for address in (*ADDRESSES, "192.0.2.200"):
            mac = neighbour.resolve(address)
            show(f"{address:15} is at {mac}, {'the MAC of the server' if mac == eth0.mac else 'who is that?'}")

        say("4. What arpfast says of it")
        run(server, "arpfast", "status")
        run(server, "arpfast", "explain", ADDRESSES[0])

        say("5. An intruder takes the address; arpfast defends it and says who it was")
        intruder = lab.host("intruder")
        intruder.link(switch, addresses=[f"{ADDRESSES[0]}/24"])
        intruder.poke("192.0.2.1")
        arpfast.wait_for_line("another host uses an address of ours", deadline_s=10)
        neighbour.wait_neighbour(ADDRESSES[0], mac=Mac(eth0.mac), deadline_s=15)
        run(server, "arpfast", "explain", ADDRESSES[0])

        say("What arpfast logged meanwhile")
        show(arpfast.output)
        arpfast.stop()


if __name__ == "__main__":
    sys.exit(perform(lambda _: play()))
