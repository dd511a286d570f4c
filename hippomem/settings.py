"""Settings: arguments, then environment variables HIPPOMEM_*, then hippomem.toml in the working directory."""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from hippomem.errors import InvalidInputError
from hippomem.neocortex.encoder import PACKAGED as PACKAGED_ENCODER
from hippomem.neocortex.encoder import Backend, Precision
from hippomem.neocortex.extraction import PACKAGED as PACKAGED_PIPELINE

log = logging.getLogger("hippomem")

ENV_PREFIX = "HIPPOMEM_"
ALIKE = 0.85  # of difflib's ratio: a slip or two in a name; what others may have in the environment is below
# Of a URL: as an option, and then up to the last @, as one may be written wrongly.
_PASSWORDS = re.compile(r"([?&](?:ssl)?password=)[^&]*"), re.compile(r"(://[^/?#:@]*:).*(?=@)")

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Deed = Literal["flag", "invalidate", "merge", "promote", "strengthen", "probe", "rehearse", "archive"]


class Settings(BaseSettings):
    """What can be set, with the defaults of the embedded memory: no server, no key, no download.

    Raises pydantic's ValidationError on a value that cannot be; `Memory.open` and the command line turn it into
    InvalidInputError.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        toml_file="hippomem.toml",
        arbitrary_types_allowed=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a misspelt name would show its value, which may be a key
    )

    db: str = Field(
        default="hippomem.db",
        description="path of the database, postgresql://…, or :memory:",
    )
    namespace: str = Field(default="default", description="whose memory: every read and write is inside one namespace")
    encoder: Any = Field(
        default=PACKAGED_ENCODER,
        description="name or folder of a sentence-transformers model, or a LangChain Embeddings",
    )
    encoder_backend: Backend = Field(
        default="auto",
        description="what runs an encoder given by name or folder: torch; onnx, which needs hippomem[fast]; or auto, "
        "which is onnx where that is installed, the model is BERT-shaped and no GPU is there, else torch; beside a GPU "
        "a small such model is on both, for questions and for many texts",
    )
    encoder_precision: Precision = Field(
        default="fp32",
        description="fp32; fp16 or bf16, for large models on a GPU, with the same vectors but for the last digits; or "
        "int8, which is faster, needs onnx, and makes vectors that never mix with the others",
    )
    encoder_device: str = Field(
        default="auto",
        min_length=1,
        description="where torch computes an encoder given by name or folder: cpu, cuda, cuda:1, mps …; auto is a GPU "
        "where there is one",
    )
    pipeline: Any = Field(default=PACKAGED_PIPELINE, description="name or folder of a spaCy pipeline, or a loaded one")
    llm: Any = Field(
        default=None,
        description="chat model: 'provider:model' as LangChain's init_chat_model takes it, or a LangChain chat model",
    )
    llm_base_url: str | None = Field(
        default=None, description="server of the chat model, where it is not its provider's"
    )
    llm_api_key: SecretStr | None = Field(default=None, description="key of the chat model; never shown")
    llm_timeout: float = Field(
        default=60.0, gt=0, le=3600, description="seconds that one call of the chat model may take"
    )
    llm_retries: int = Field(default=2, ge=0, le=10, description="further tries after a call that failed in passing")
    llm_structured: bool | None = Field(
        default=None, description="hold the chat model to a JSON schema; otherwise where it says that it can be"
    )
    llm_options: dict[str, Any] = Field(
        default_factory=dict, description="further options of the chat model, for init_chat_model: {'temperature': 0}"
    )
    llm_concurrency: int = Field(default=8, ge=1, le=256, description="calls of extraction at the same time")
    llm_requests_per_minute: int | None = Field(
        default=None, ge=1, description="calls of extraction a minute, over all processes of a database"
    )
    llm_tokens_per_minute: int | None = Field(default=None, ge=1, description="tokens a minute, in the same way")
    llm_group_chars: int = Field(
        default=1600, ge=0, description="characters of short passages that share a call of extraction; 0: none do"
    )
    llm_prices: dict[str, tuple[Price, Price]] = Field(
        default_factory=dict,
        description="dollars for a million tokens in and out, by model: {'openai:gpt-4o-mini': [0.15, 0.6]}",
    )
    llm_share_answers: bool = Field(
        default=False, description="use what was answered about the same text in another namespace"
    )
    passage_chars: int = Field(default=1000, ge=100, le=20_000, description="longest passage a document is split into")
    max_text_chars: int = Field(default=20_000, ge=1, description="longest text of one add()")
    max_query_chars: int = Field(default=10_000, ge=1, description="longest question")
    max_document_bytes: int = Field(
        default=32 * 2**20,
        ge=1,
        description="largest file that is one document, and its text; records and Documents have no limit",
    )
    neural_map: Literal["linear", "mlp", "chain"] = Field(
        default="linear", description="slow map of the neural memory; chain: linear maps at several timescales"
    )
    neural_rule: Literal["none", "ewc", "classp", "metaplasticity", "dual", "refresh", "gates", "k-fpf"] = Field(
        default="none", description="plasticity rule of the slow map"
    )
    neural_capacity: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="questions that the fast store of the neural memory holds; then those leave first that the slow "
        "map has learned, and then the oldest",
    )
    neural_device: str = Field(
        default="cpu", min_length=1, description="where the slow map learns, as torch calls it: cpu, cuda"
    )
    forgetting_curve: Literal["fsrs", "ebbinghaus", "leitner", "expanding", "uniform"] = Field(
        default="fsrs", description="how replays are spaced"
    )
    consolidation_steps: frozenset[Deed] = Field(
        default=frozenset(get_args(Deed)), description="what a round of consolidation may do"
    )
    source_trust: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="from 0 to 1, by source or all below it: {'tools/': 0.5}; 1 where none is set. A memory's own "
        "metadata may say trust, too",
    )
    quality_gate: bool = Field(
        default=True, description="whether what was just recalled and comes back in as new is kept out"
    )
    batch: int = Field(
        default=256,
        ge=1,
        le=10_000,
        description="passages that an ingest analyses together; up to "
        "eight times as many are written in one transaction, where that takes no more than seconds",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="processes that read and encode for an ingest beside the one that writes, each with models of its "
        "own in memory; where none is set that one does it, or as many as a Ray cluster has processors",
    )
    ray: str | None = Field(
        default=None,
        description="Ray cluster whose machines read and encode for an ingest, as ray.init takes it: auto "
        "for the one that this machine is of, host:port",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file; no .env and no secrets folder are read."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What logs, tracebacks and notebooks show: URLs without their passwords."""
        for name, value in super().__repr_args__():
            for password in _PASSWORDS if name in ("db", "llm_base_url") and value else ():
                value = password.sub(r"\1***", value)
            yield name, value

    @property
    def encoding(self) -> tuple[Any, Backend, Precision, str]:
        """The encoder and what runs it, as `resolve_encoder` takes them."""
        return self.encoder, self.encoder_backend, self.encoder_precision, self.encoder_device


def load_settings(settings: Settings | None = None, /, **values: Any) -> Settings:
    """Settings with these arguments (None means not given), else as in `settings`.

    Raises InvalidInputError naming what is wrong.
    """
    if not isinstance(settings, Settings | None):
        raise InvalidInputError(f"settings must be a hippomem.Settings, not {type(settings).__name__}")
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            _tell_slip(name)
    given = dict(settings) if settings is not None else {}
    given |= {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidInputError(f"settings: {'; '.join(map(_told, error.errors()))}") from error
    except SettingsError as error:  # which names the field
        raise InvalidInputError(f"settings: {error}: its environment variable, HIPPOMEM_…, must be JSON") from error
    except (ValueError, OSError) as error:  # a hippomem.toml that is not TOML
        raise InvalidInputError(f"hippomem.toml cannot be read: {error}") from error


def _told(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{name}: {error['msg']}"
    meant = difflib.get_close_matches(name, Settings.model_fields, 1)  # only a file has names that are none of ours
    return f"hippomem.toml: there is no setting {name!r}" + (f": is {meant[0]!r} meant?" if meant else "")


@cache
def _tell_slip(name: str) -> None:
    """Warn, once, of a variable that is none of ours but much like one: its value would be missed without a word."""
    known = [f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields]
    if name.upper() in known:
        return
    if meant := difflib.get_close_matches(name.upper(), known, 1, ALIKE):
        log.warning("the environment variable %s is no setting: is %s meant?", name, meant[0])
