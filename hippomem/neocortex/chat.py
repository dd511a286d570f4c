"""The chat model: any of LangChain's, or the name of one. It is asked only where a caller wants it; nothing here is
logged, and no key is ever a part of a message, an error or a repr.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from hippomem.errors import InvalidInputError, MissingDependencyError, ModelError
from hippomem.neocortex.prompts import Prompt
from hippomem.types import Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

T = TypeVar("T")
SHOWN_CHARS = 300  # of what a server said
TRANSIENT = frozenset({408, 409, 425, 429})  # and everything from 500 on: the same call may succeed later
EXTRA_PACKAGES = frozenset({"langchain", "langchain_openai"})
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 8.0  # seconds before another try at most, doubled each time; a random part of it


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, and what it cost."""

    text: str
    usage: Usage


def resolve_chat(
    llm: str | BaseChatModel | None,
    base_url: str | None = None,
    api_key: SecretStr | None = None,
    timeout: float = 60.0,
    retries: int = 2,
) -> Chat | None:
    """A chat model from the settings; None where none is set. Nothing is loaded here.

    `llm` is "provider:model" for LangChain's `init_chat_model`, or a chat model (anything with LangChain's `invoke`,
    so `model.with_fallbacks(…)` too). Raises InvalidInputError where it is neither.
    """
    if llm is None or (isinstance(llm, str) and not llm.strip()):
        return None
    if not isinstance(llm, str) and not callable(getattr(llm, "invoke", None)):
        raise InvalidInputError(
            f"llm must be 'provider:model' or a LangChain chat model, not {type(llm).__name__}: "
            "for example llm='openai:gpt-4o-mini'"
        )
    return Chat(llm, base_url or None, api_key, timeout, retries)


class Chat:
    """One chat model, asked one prompt at a time. Safe to use from several threads, as LangChain's models are."""

    def __init__(
        self,
        llm: str | BaseChatModel,
        base_url: str | None = None,
        api_key: SecretStr | None = None,
        timeout: float = 60.0,
        retries: int = 2,
    ) -> None:
        self._llm = llm
        self._base_url = base_url
        self._api_key = api_key if api_key and api_key.get_secret_value() else None
        self._timeout = timeout
        self._retries = retries

    @property
    def identity(self) -> str:
        """Names the model; known without loading it."""
        if isinstance(self._llm, str):
            return self._llm.strip()
        name = getattr(self._llm, "model_name", None) or getattr(self._llm, "model", None)
        return f"{type(self._llm).__name__}:{name}" if isinstance(name, str) else type(self._llm).__name__

    def __repr__(self) -> str:
        return f"Chat({self.identity!r})"

    def load(self) -> None:
        """Set the model up, which `ask` does too: raises ModelError where the settings are wrong, and
        MissingDependencyError without the extra.
        """
        _ = self._model

    def ask(self, prompt: Prompt, data: Mapping[str, Any]) -> Reply:
        """The answer to a prompt with its data.

        A try lasts `timeout` seconds at most; one that failed for a passing reason (no connection, too many requests,
        a fault of the server) is repeated `retries` times, after a pause; one that took too long is not. Raises
        ModelError where there is no answer, and what `load` does.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        model = self._model
        messages = prompt.messages(data)
        tries = Retrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            retry=retry_if_exception(_is_transient),
            reraise=True,
        )
        try:
            return _reply(tries(_within, self._timeout, lambda: model.invoke(messages)))
        except Exception as error:  # whatever a provider's package can raise
            if _is_late(error):
                raise ModelError(
                    f"the chat model {self.identity!r} did not answer within {self._timeout:g} s: raise llm_timeout "
                    "(HIPPOMEM_LLM_TIMEOUT), or ask a faster model"
                ) from None
            raise self._failure(error, "did not answer", _advice(error)) from self._cause(error)

    @cached_property
    def _model(self) -> Any:
        if not isinstance(self._llm, str):
            return self._llm
        options: dict[str, Any] = {"timeout": self._timeout, "max_retries": 0}  # tries are counted here
        if self._base_url:
            options["base_url"] = self._base_url
        if self._api_key:
            options["api_key"] = self._api_key
        advice = "llm is 'provider:model' (HIPPOMEM_LLM), its key llm_api_key (HIPPOMEM_LLM_API_KEY)"
        try:
            from langchain.chat_models import init_chat_model

            return init_chat_model(self.identity, **options)
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            if package in EXTRA_PACKAGES or "langchain-openai" in str(error):
                raise MissingDependencyError(package or "langchain-openai", "llm") from error
            raise self._failure(error, "cannot be set up", "install the package of its provider") from error
        except Exception as error:  # a missing key, an unknown provider, an option that it does not take
            raise self._failure(error, "cannot be set up", advice) from self._cause(error)

    def _failure(self, error: Exception, what: str, advice: str) -> ModelError:
        said = " ".join(str(error).split())
        for secret in self._secrets():
            said = said.replace(secret, "***")
        said = said if len(said) <= SHOWN_CHARS else said[:SHOWN_CHARS] + " …"
        return ModelError(f"the chat model {self.identity!r} {what}: {type(error).__name__}: {said} ({advice})")

    def _cause(self, error: Exception) -> Exception | None:
        """The error, to be chained; not where it would show a key in a traceback."""
        return None if any(secret in f"{error}{error!r}" for secret in self._secrets()) else error

    def _secrets(self) -> list[str]:
        held = [self._api_key]
        if not isinstance(self._llm, str):
            held += [value for value in getattr(self._llm, "__dict__", {}).values() if isinstance(value, SecretStr)]
        return [secret for key in held if key and (secret := key.get_secret_value())]


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The call's result. LangChain has no common time-out, so it runs on a thread, which is left behind when late."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    context = contextvars.copy_context()  # the caller's callbacks and tracing go along
    threading.Thread(target=context.run, args=(run,), name="hippomem-chat", daemon=True).start()
    return result.result(seconds)


def _reply(message: Any) -> Reply:
    """Text and token counts of LangChain's message, or of a str where a parser follows the model."""
    text = message if isinstance(message, str) else getattr(message, "text", None)
    if not isinstance(text, str):
        text = str(getattr(message, "content", ""))
    counted = getattr(message, "usage_metadata", None) or {}
    tokens = (counted.get(name) for name in ("input_tokens", "output_tokens"))
    return Reply(str(text), Usage(1, *(count if isinstance(count, int) else 0 for count in tokens)))


def _status(error: BaseException) -> int | None:
    code = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _is_transient(error: BaseException) -> bool:
    if _is_late(error):
        return False
    status = _status(error)
    if status is not None:
        return status in TRANSIENT or status >= 500
    return isinstance(error, OSError) or "Connect" in type(error).__name__


def _is_late(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__


def _advice(error: BaseException) -> str:
    status = _status(error)
    if status in (401, 403):
        return "check llm_api_key (HIPPOMEM_LLM_API_KEY)"
    if status == 404:
        return "check the model's name in llm (HIPPOMEM_LLM) and llm_base_url (HIPPOMEM_LLM_BASE_URL)"
    if status == 429:
        return "the provider refuses more requests for now: wait, or raise the limit there"
    if status is not None and status >= 500:
        return "the server failed: try again later"
    return "check llm and llm_base_url (HIPPOMEM_LLM, HIPPOMEM_LLM_BASE_URL)"
