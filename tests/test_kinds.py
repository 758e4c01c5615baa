import pytest

from sksngp._networks.architecture import Architecture
from sksngp._networks.custom_architecture import CustomArchitecture
from sksngp._networks.custom_function import NetworkFunction
from sksngp._networks.dense_architecture import DenseArchitecture
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow.networks import NETWORKS

FIELDS = {"num_outputs": 2, "num_layers": 0, "num_hidden": 4}


def test_kind_follows_from_the_fields():
    assert architecture_of(FIELDS) == DenseArchitecture(**FIELDS)
    assert architecture_of({**FIELDS, "function": None}) == DenseArchitecture(**FIELDS)
    function = NetworkFunction(str, (3,))
    custom = architecture_of(FIELDS, function=function)
    assert custom == CustomArchitecture(**FIELDS, function=function)
    assert custom != architecture_of(FIELDS)


@pytest.mark.parametrize("kind", [DenseArchitecture, CustomArchitecture])
def test_each_kind_has_a_network(kind):
    assert issubclass(kind, Architecture)
    assert set(NETWORKS) == set(Architecture.__subclasses__())
    assert kind in NETWORKS
