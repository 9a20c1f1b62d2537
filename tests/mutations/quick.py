"""Plugin of pytest: Hypothesis draws the same examples each time, and makes none smaller."""

from hypothesis import Phase, settings

settings.register_profile(
    "mutations", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None
)
settings.load_profile("mutations")
