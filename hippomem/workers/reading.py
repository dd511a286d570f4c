"""What a worker does: it holds the models, and reads what it is given. The same on this machine and on a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hippomem.analyse import Analyser, Text, Understood
from hippomem.errors import HippomemError, InvalidInputError, MissingDependencyError, ModelError
from hippomem.neocortex.centring import CentredEncoder, Means
from hippomem.neocortex.checked_encoder import CheckedEncoder, Sample
from hippomem.neocortex.encoder import Backend, Precision
from hippomem.neocortex.encoder_choice import resolve_encoder
from hippomem.neocortex.extraction import LocalExtractor


@dataclass(frozen=True, slots=True)
class Models:
    """What texts are to be read with, as the settings say it; the identity that the encoder then has, a vector of its,
    and what its vectors are centred by, where there are some."""

    encoder: Any
    backend: Backend
    precision: Precision
    device: str
    pipeline: Any
    identity: str
    sample: Sample | None
    means: str | None = None

    def packed(self) -> bytes:
        """To send to another process. Raises InvalidInputError where there is an object that cannot be sent."""
        try:
            return pickle.dumps(self)
        except Exception as error:  # whatever an object raises that refuses
            raise InvalidInputError(
                f"the encoder or the pipeline cannot be sent to workers ({error}): give it by name, or ingest without"
            ) from error

    def analyser(self, batch: int) -> Analyser:
        """What reads with them. Raises ModelError where this machine has another encoder."""
        encoder = resolve_encoder(self.encoder, self.backend, self.precision, self.device)
        if encoder.identity != self.identity:
            raise ModelError(f"a worker has the encoder {encoder.identity}, not {self.identity}: give it the same")
        if isinstance(encoder, CentredEncoder) and self.means:
            means = Means.read(self.means)
            encoder = encoder.kept(lambda _: means)
        return Analyser(CheckedEncoder(encoder, lambda: self.sample), LocalExtractor(self.pipeline), batch)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How texts were understood, and the seconds that each part took; or why they were not."""

    understood: Sequence[Understood] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: HippomemError | None = None


class Reader:
    """Reads texts with models of its own, which are loaded for the first one. Errors are returned, as raised they might
    not find the way back.
    """

    def __init__(self, models: bytes, batch: int) -> None:
        self._analyser: Analyser | None = None
        try:
            given: Models = pickle.loads(models)  # noqa: S301 - from the process that started this one
            self._analyser = given.analyser(batch)
        except Exception as error:  # whatever a stranger's encoder raises
            self._error = _sendable(error, "cannot have the encoder or the pipeline, whose classes must be in modules")

    def read(self, texts: Sequence[Text]) -> Outcome:
        """What the analyser of an ingest does, here."""
        if self._analyser is None:
            return Outcome(error=self._error)
        before = dict(self._analyser.seconds)
        try:
            understood = self._analyser.understand(texts)
        except Exception as error:  # as above
            return Outcome(error=_sendable(error, "cannot read"))
        return Outcome(understood, {part: s - before[part] for part, s in self._analyser.seconds.items()})


def _sendable(error: Exception, what: str) -> HippomemError:
    """An error of ours as it is, any other by its text: where it goes to, its class may be unknown, or not be made of
    what it holds."""
    if type(error).__module__ == HippomemError.__module__ and not isinstance(error, MissingDependencyError):
        return cast(HippomemError, error)
    return ModelError(f"a worker {what} ({type(error).__name__}: {error})")
