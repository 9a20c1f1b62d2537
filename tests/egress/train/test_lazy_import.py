import subprocess
import sys

import pytest

import egress.train


def test_the_model_of_weights_loads_no_torch():
    code = (
        "import sys; from egress.train import GeneralizedGaussian; "
        "GeneralizedGaussian.fit_moments([1, 2]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_found_and_listed():
    for name in egress.train.__all__:
        assert getattr(egress.train, name).__name__ == name
        assert name in dir(egress.train)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'egress\.train' has no attribute 'nope'$"):
        egress.train.nope  # noqa: B018
