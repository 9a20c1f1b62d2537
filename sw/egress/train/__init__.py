"""Training under a rate constraint (BackSlash) and the model of weights that it needs.

The names below are imported on first use, so that a fit needs scipy but not torch,
and only the callbacks need transformers and Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egress.train.backslash import BackSlash
    from egress.train.digits import DigitsConfig, train_digits, train_pair
    from egress.train.distill import distillation_loss
    from egress.train.fisher import fisher_steps
    from egress.train.gaussian import GeneralizedGaussian
    from egress.train.huggingface import BackSlashCallback
    from egress.train.initialize import gg_init_
    from egress.train.lightning import LightningBackSlash
    from egress.train.quantized import FrozenZeros, QuantizedTraining
    from egress.train.spare import drop_spare_weights

__all__ = [
    "BackSlash",
    "BackSlashCallback",
    "DigitsConfig",
    "FrozenZeros",
    "GeneralizedGaussian",
    "LightningBackSlash",
    "QuantizedTraining",
    "distillation_loss",
    "drop_spare_weights",
    "fisher_steps",
    "gg_init_",
    "train_digits",
    "train_pair",
]

_HOMES = {
    "BackSlash": "backslash",
    "BackSlashCallback": "huggingface",
    "DigitsConfig": "digits",
    "FrozenZeros": "quantized",
    "GeneralizedGaussian": "gaussian",
    "LightningBackSlash": "lightning",
    "QuantizedTraining": "quantized",
    "distillation_loss": "distill",
    "drop_spare_weights": "spare",
    "fisher_steps": "fisher",
    "gg_init_": "initialize",
    "train_digits": "digits",
    "train_pair": "digits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
