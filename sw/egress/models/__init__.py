"""The paper's architectures by `transformers` classes, at sizes that train anywhere.

The names below are imported on first use, so that listing architectures needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egress.models.build import build_model, choose_attention
    from egress.models.configs import ARCHITECTURES, SIZES, form_of
    from egress.models.pretrained import checkpoint_path, load_pretrained

__all__ = [
    "ARCHITECTURES",
    "SIZES",
    "build_model",
    "checkpoint_path",
    "choose_attention",
    "form_of",
    "load_pretrained",
]

_HOMES = {
    "ARCHITECTURES": "configs",
    "SIZES": "configs",
    "build_model": "build",
    "checkpoint_path": "pretrained",
    "choose_attention": "build",
    "form_of": "configs",
    "load_pretrained": "pretrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
