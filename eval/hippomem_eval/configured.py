"""What is set for hippomem (environment, hippomem.toml), as what is measured needs it."""

from __future__ import annotations

from hippomem import Encoder, Settings
from hippomem.neocortex.encoder_choice import resolve_encoder
from hippomem.settings import load_settings


def configured_encoder() -> Encoder:
    """The encoder that a memory has here. Raises InvalidInputError where what is set cannot be."""
    return resolve_encoder(*load_settings().encoding)


def without_workers() -> Settings:
    """All that is set, but an ingest is done by the process that is measured. Raises as `configured_encoder`."""
    # Over what the environment says; `load_settings` takes None for not given.
    return load_settings(load_settings().model_copy(update={"workers": None, "ray": None}))
