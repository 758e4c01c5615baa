"""The kinds of networks, by the type of their architecture."""

from __future__ import annotations

from .._networks.architecture import Architecture
from .._networks.custom_architecture import CustomArchitecture
from .._networks.dense_architecture import DenseArchitecture
from .custom_network import CustomNetwork
from .network import Network
from .residual_network import ResidualNetwork

NETWORKS: dict[type[Architecture], type[Network]] = {
    DenseArchitecture: ResidualNetwork,
    CustomArchitecture: CustomNetwork,
}


def network_type(architecture: Architecture) -> type[Network]:
    """Return the class of the network that an architecture describes."""
    return NETWORKS[type(architecture)]
