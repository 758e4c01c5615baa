from sksngp import SNGPClassifier
from sksngp._shared_parameters import SharedParameters
from sksngp._sngp_parameters import SNGPParameters


def test_parameters_are_those_of_the_classifier():
    assert SNGPClassifier._parameters is SNGPParameters._parameters
    own = SNGPParameters._parameters.keys() - SharedParameters._parameters.keys()
    assert "num_inducing" in own
    assert len(own) == 9
