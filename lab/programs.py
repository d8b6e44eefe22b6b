"""What a cluster is made of, and what speaks BGP for its nodes, as their own people publish it; and what we measure
beside us that is made of others' libraries.

`python -m lab.programs` builds all of it beforehand. A test that would have to wait for the first build would be late:
`make test` builds them before.
"""

from __future__ import annotations

import subprocess
import sys

from lab.golang import TOOLS, Program

_KUBERNETES = "k8s.io/kubernetes/cmd/"
_VERSIONS = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")

ETCD = Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", minutes=1)
APISERVER = Program("kube-apiserver", "kubernetes", f"{_KUBERNETES}kube-apiserver", variables=_VERSIONS, minutes=6)
CONTROLLER_MANAGER = Program(
    "kube-controller-manager", "kubernetes", f"{_KUBERNETES}kube-controller-manager", variables=_VERSIONS, minutes=2
)
PROXY = Program("kube-proxy", "kubernetes", f"{_KUBERNETES}kube-proxy", variables=_VERSIONS, minutes=1)
KUBECTL = Program("kubectl", "kubernetes", f"{_KUBERNETES}kubectl", variables=_VERSIONS, minutes=1)
GOBGPD = Program("gobgpd", "gobgp", "github.com/osrg/gobgp/v4/cmd/gobgpd", minutes=1)
GOBGP = Program("gobgp", "gobgp", "github.com/osrg/gobgp/v4/cmd/gobgp", minutes=1)
GORESPONDER = Program("goresponder", "goresponder", sources=(TOOLS / "goresponder" / "main.go",))

ALL = (ETCD, APISERVER, CONTROLLER_MANAGER, PROXY, KUBECTL, GOBGPD, GOBGP, GORESPONDER)


def main() -> None:
    """Build what is missing."""
    for program in ALL:
        try:
            program.path()
        except OSError as error:
            sys.exit(f"arpfast: cannot build {program.name}: {error}")
        except subprocess.CalledProcessError as error:
            said = "\n".join(error.stderr.strip().splitlines()[-10:])
            sys.exit(f"arpfast: cannot build {program.name} {program.version}:\n{said}")


if __name__ == "__main__":
    main()
