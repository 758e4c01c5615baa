from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow.networks import network_type
from sksngp._tensorflow.residual_network import ResidualNetwork


def test_dense_architecture_describes_the_residual_network():
    architecture = architecture_of(num_outputs=2, num_layers=1, num_hidden=4)
    assert network_type(architecture) is ResidualNetwork
