"""What tests on a real kernel share: a lab of their own, or the one line that says why there can be none."""

from collections.abc import Iterator

import pytest

from lab import Lab, manifests, obstacle
from lab.control_plane import ControlPlane
from tests.real.inside import Inside, Meddler


@pytest.fixture(scope="session")
def _lab_is_possible() -> None:
    if reason := obstacle():
        pytest.skip(reason)


@pytest.fixture
def lab(_lab_is_possible: None) -> Iterator[Lab]:
    """An empty lab that vanishes after the test."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def _control_plane(_lab_is_possible: None) -> Iterator[ControlPlane]:
    with Lab() as lab:
        yield ControlPlane(lab)


@pytest.fixture
def control(_control_plane: ControlPlane) -> ControlPlane:
    """The control plane that all tests share. What the last test has left, whose lab is gone by now, is deleted."""
    _control_plane.start()
    _control_plane.clean()
    return _control_plane


@pytest.fixture(scope="session")
def _installed(_control_plane: ControlPlane) -> None:
    _control_plane.start()
    _control_plane.clean()
    manifests.install(_control_plane.api)
    _control_plane.keep()


@pytest.fixture
def installed(_installed: None, control: ControlPlane) -> ControlPlane:
    """The same with everything in it that `deploy/kubernetes/base` has."""
    return control


@pytest.fixture
def inside(installed: ControlPlane) -> Iterator[Inside]:
    """An event loop on the host of the control plane, for what the daemons are made of."""
    made = Inside(installed.host)
    yield made
    made.close()


@pytest.fixture
def meddler(inside: Inside, installed: ControlPlane) -> Iterator[Meddler]:
    """Between that and the API server."""
    made = Meddler(inside, installed)
    yield made
    made.close()
