"""The chat model: any of LangChain's, or the name of one. It is asked only where a caller wants it; nothing here is
logged, and no key is ever a part of a message, an error or a repr.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from hippomem.errors import InvalidInputError, MissingDependencyError, ModelError
from hippomem.neocortex.faults import (
    Kind,
    body_of,
    causes,
    fault_of,
    is_about_key,
    is_late,
    is_out_of_credit,
    status_of,
)
from hippomem.neocortex.prompts import Prompt
from hippomem.types import Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

T = TypeVar("T")
SHOWN_CHARS = 300  # of what a server said
SECRET_CHARS = 4  # of a key, or a part of one, that tells something: "x" is for servers that want none
MOST_TOKENS = 10**9  # of one call: what a server tells beyond is no count
CUT = frozenset({"length", "max_tokens", "max_output_tokens"})  # why an answer ends that has no end
FILTERED = frozenset(  # the same where its server lets no more of it out: OpenAI's, Anthropic's, Bedrock's, Gemini's
    {"content_filter", "refusal", "content_filtered", "guardrail_intervened"}
    | {"safety", "recitation", "blocklist", "prohibited_content", "spii"}
)
REFUSED = frozenset({400, 422})  # how servers answer to an option that they do not know
EXTRA_PACKAGES = frozenset({"langchain", "langchain_openai"})
# Seconds before another try at most, doubled each time; a random part of it, or as many as the server asks for.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 8.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote, and what it cost. `model` is what answered, as it calls itself; `is_cut` where it stopped
    at its limit, `is_filtered` where a content filter stopped it, `is_open` where its server did not say that it ended,
    and would have.
    """

    text: str
    usage: Usage
    model: str = ""
    is_cut: bool = False
    is_filtered: bool = False
    is_open: bool = False


Ledger = Callable[[str, Usage, float, bool], None]
"""Hears of every call: the prompt's name, what was used, seconds, whether it was answered."""


def resolve_chat(
    llm: str | BaseChatModel | None,
    base_url: str | None = None,
    api_key: SecretStr | None = None,
    timeout: float = 60.0,
    retries: int = 2,
    structured: bool | None = None,
    options: Mapping[str, Any] | None = None,
) -> Chat | None:
    """A chat model from the settings; None where none is set. Nothing is loaded here.

    `llm` is "provider:model" for LangChain's `init_chat_model`, or a chat model (anything with LangChain's `invoke`,
    so `model.with_fallbacks(…)` too). Raises InvalidInputError where it is neither.
    """
    if llm is None or (isinstance(llm, str) and not llm.strip()):
        return None
    if not isinstance(llm, str) and (isinstance(llm, type) or not callable(getattr(llm, "invoke", None))):
        given = f"the class {llm.__name__}" if isinstance(llm, type) else type(llm).__name__
        raise InvalidInputError(
            f"llm must be 'provider:model' or a LangChain chat model, not {given}: for example llm='openai:gpt-4o-mini'"
        )
    return Chat(llm, base_url or None, api_key, timeout, retries, structured, options)


def none_set(what: str) -> ModelError:
    """That `what` needs a chat model, and where to name one."""
    return ModelError(
        f"{what} a chat model, and none is set: give Memory.open(llm='openai:gpt-4o-mini') or "
        "set HIPPOMEM_LLM (its key as HIPPOMEM_LLM_API_KEY, another server as HIPPOMEM_LLM_BASE_URL)"
    )


class Chat:
    """One chat model, asked one prompt at a time. Safe to use from several threads, as LangChain's models are."""

    def __init__(
        self,
        llm: str | BaseChatModel,
        base_url: str | None = None,
        api_key: SecretStr | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        structured: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._structured = structured
        self._uncounted: dict[str, Any] = {}  # what a stream without token counts is asked with
        self._options = dict(options or {})
        self.ledger: Ledger | None = None
        self._llm = llm
        self._base_url = base_url
        key = api_key.get_secret_value().strip() if api_key else ""  # one from a file ends with a line end
        self._api_key = SecretStr(key) if key else None
        self.timeout = timeout
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

    @property
    def is_own_server(self) -> bool:
        """Whether it is asked at another place than its provider's."""
        return self._base_url is not None

    def ask(self, prompt: Prompt, data: Mapping[str, Any]) -> Reply:
        """The answer to a prompt with its data.

        A try lasts `timeout` seconds at most; one that failed for a passing reason (no connection, too many requests,
        a fault of the server) is repeated `retries` times, after a pause; one that took too long is not. Raises
        ModelError where there is no answer, and what `load` does.
        """
        self.load()
        return self.tried(lambda: self.begin(prompt, data).result(self.timeout), prompt, lambda reply: reply.usage)

    def enter(self, prompt: Prompt, usage: Usage, seconds: float, is_answered: bool) -> None:
        """Enter a call in the ledger."""
        if self.ledger is not None:
            self.ledger(prompt.name, usage, seconds, is_answered)

    def tried(self, call: Callable[[], T], prompt: Prompt, usage: Callable[[T], Usage] | None = None) -> T:
        """What `call` gives, repeated as `ask` says. Each try is entered in the ledger; one that succeeds only where
        its `usage` can be told already.
        """
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        def once() -> T:
            began = time.monotonic()
            try:
                found = call()
            except BaseException:
                self.enter(prompt, Usage(), time.monotonic() - began, is_answered=False)
                raise
            if usage is not None:
                self.enter(prompt, usage(found), time.monotonic() - began, is_answered=True)
            return found

        pause = wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            wish = fault_of(error).wait if error else None  # who asks sooner is refused again
            return max(pause(state), min(wish or 0.0, LONGEST_PAUSE))

        tries = Retrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=wait,
            retry=retry_if_exception(lambda error: fault_of(error).kind in (Kind.busy, Kind.passing, Kind.unreachable)),
            reraise=True,
        )
        try:
            return tries(once)
        except Exception as error:  # whatever a provider's package can raise
            failure = self.failure(error)
            cause = None if is_late(error) or not self._is_safe(error) else error
        raise failure from cause

    def begin(self, prompt: Prompt, data: Mapping[str, Any]) -> Future[Reply]:
        """One try, begun on a thread of its own, which nobody has to wait for."""
        messages = prompt.messages(data)
        return _on_thread(lambda: self._answered(prompt, messages))

    def stream(self, prompt: Prompt, data: Mapping[str, Any]) -> Iterator[Any]:
        """The message in pieces, as LangChain's `stream` gives them. Raises whatever the provider's package does."""
        messages, is_begun = prompt.messages(data), False
        try:
            for piece in self._model.stream(messages, **self._uncounted):
                is_begun = True
                yield piece
            return
        except Exception as error:
            can_do_without = not self._uncounted and getattr(self._model, "stream_usage", None)
            if is_begun or not can_do_without or status_of(error) not in REFUSED:
                raise
        uncounted = {"stream_usage": False}
        for piece in self._model.stream(messages, **uncounted):
            self._uncounted = uncounted  # the server knows no `stream_options`; what was asked is all right
            yield piece

    def failure(self, error: BaseException) -> ModelError:
        """What a call raised, as the error that users see."""
        if isinstance(error, ModelError):
            return error
        if is_late(error):
            return ModelError(
                f"the chat model {self.identity!r} did not answer within {self.timeout:g} s: raise llm_timeout "
                "(HIPPOMEM_LLM_TIMEOUT), or ask a faster model"
            )
        return self._failure(error, "did not answer", _advice(error))

    def cause(self, error: BaseException) -> str:
        """What a call failed for, without what the server said, which may quote what it was sent."""
        if is_late(error):
            return f"no answer within {self.timeout:g} s"
        status = status_of(error)
        return f"{type(error).__name__ if status is None else f'HTTP {status}'}: {_advice(error)}"

    def _answered(self, prompt: Prompt, messages: Sequence[tuple[str, str]]) -> Reply:
        if prompt.schema is None or not self._holds_to_schemas():
            return reply_of(self._model.invoke(messages))
        model = self._model.with_structured_output(dict(prompt.schema), include_raw=True)
        try:
            found = model.invoke(messages)
        except Exception as error:
            if (unfinished := _unfinished(error)) is not None:
                return unfinished
            if self._structured is None and status_of(error) in REFUSED:
                reply = reply_of(self._model.invoke(messages))
                self._structured = False  # it says that it can, and its server cannot; what was asked is all right
                return reply
            raise
        reply = reply_of(found["raw"])
        # A model that answers by calling a tool writes no text.
        return reply if reply.text.strip() else replace(reply, text=json.dumps(found["parsed"]))

    def _holds_to_schemas(self) -> bool:
        if self._structured is not None:
            return self._structured
        profile = getattr(self._model, "profile", None) or {}
        return not self.is_own_server and isinstance(profile, Mapping) and bool(profile.get("structured_output"))

    @cached_property
    def _model(self) -> Any:
        if not isinstance(self._llm, str):
            return self._llm
        options: dict[str, Any] = {"timeout": self.timeout, "max_retries": 0}  # tries are counted here
        if self.identity.startswith("openai:"):
            options["stream_usage"] = True
        if self._base_url:
            options["base_url"] = self._base_url
        if self._api_key:
            options["api_key"] = self._api_key
        options |= self._options
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
            raise self._failure(error, "cannot be set up", advice) from (error if self._is_safe(error) else None)

    def _failure(self, error: BaseException, what: str, advice: str) -> ModelError:
        said = str(error)
        if status_of(error) is None and fault_of(error).kind in (Kind.unreachable, Kind.passing, Kind.setup):
            # "Connection error." hides what the matter was: a certificate, an address, a proxy.
            *_, first = causes(error)
            said = said if str(first) in said else f"{said} {first}"
        elif (more := body_of(error)) not in said:  # OpenAI's package quotes what it finds in errors of OpenAI's shape
            said = f"{said} {more}"
        said = " ".join(said.split())
        for secret in self._secrets():
            said = said.replace(secret, "***")
        said = said if len(said) <= SHOWN_CHARS else said[:SHOWN_CHARS] + " …"
        return ModelError(f"the chat model {self.identity!r} {what}: {type(error).__name__}: {said} ({advice})")

    def _is_safe(self, error: BaseException) -> bool:
        """Whether an error may be chained: not where it, or what it came of, would show a key in a traceback."""
        shown = "".join(f"{cause}{cause!r}" for cause in causes(error))
        return not any(secret in shown for secret in self._secrets())

    def _secrets(self) -> list[str]:
        """What no message may show: keys, and the parts of one with a line end in it, which an error has escaped."""
        held = [self._api_key]
        # Also one that the provider's package has from its own environment variable, once the model is set up.
        model = vars(self).get("_model", self._llm)
        held += [value for value in getattr(model, "__dict__", {}).values() if isinstance(value, SecretStr)]
        keys = [key.get_secret_value() for key in held if key]
        return [part for key in keys for part in (key, *key.split()) if len(part) >= SECRET_CHARS]


def _on_thread(call: Callable[[], T]) -> Future[T]:
    """The call on a thread, left behind where it is late.

    LangChain has no common time-out. Its asynchronous clients belong to the event loop in which they were first used,
    and a model that the user shares with us is used in theirs: threads belong to nobody.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            found = call()
        except StopIteration:  # which asyncio's futures do not take: who awaits it would wait for ever
            outcome = partial(result.set_exception, RuntimeError("StopIteration: it has no more answers"))
        except BaseException as error:
            outcome = partial(result.set_exception, error)
        else:
            outcome = partial(result.set_result, found)
        with suppress(InvalidStateError):  # who waited for it has gone
            outcome()

    context = contextvars.copy_context()  # the caller's callbacks and tracing go along
    threading.Thread(target=context.run, args=(run,), name="hippomem-chat", daemon=True).start()
    return result


def reply_of(message: Any) -> Reply:
    """Text and token counts of LangChain's message, or of a str where a parser follows the model."""
    text = message if isinstance(message, str) else getattr(message, "text", None)
    if not isinstance(text, str):
        text = str(getattr(message, "content", ""))
    counted = getattr(message, "usage_metadata", None) or {}
    tokens = (counted.get(name) for name in ("input_tokens", "output_tokens"))
    told = getattr(message, "response_metadata", None) or {}
    stopped = told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason") or told.get("stopReason")
    # OpenAI's Responses API has a status instead, and why it is "incomplete".
    stopped = stopped or (told.get("incomplete_details") or {}).get("reason") or told.get("status")
    model = told.get("model_name") or told.get("model") or ""
    usage = Usage(1, *(min(max(0, count), MOST_TOKENS) if isinstance(count, int) else 0 for count in tokens))
    is_open = not stopped and told.get("model_provider") == "openai"  # of that protocol each answer says why it ends
    why = str(stopped).lower()
    return Reply(str(text), usage, str(model), why in CUT, why in FILTERED, is_open)


def _unfinished(error: Exception) -> Reply | None:
    """The answer that an error holds: OpenAI's package raises one for what should keep to a schema and was cut off or
    filtered, though it is paid for, and a part of it is there.
    """
    completion = getattr(error, "completion", None)
    if completion is None or not completion.choices:
        return None
    choice, counted = completion.choices[0], completion.usage
    usage = Usage(1, counted.prompt_tokens, counted.completion_tokens) if counted else Usage(1)
    why = choice.finish_reason
    return Reply(choice.message.content or "", usage, completion.model, why in CUT, why in FILTERED)


def _advice(error: BaseException) -> str:
    status = status_of(error)
    if is_out_of_credit(error):
        return "the account at the provider has nothing left: see its plan and billing there"
    if status in (401, 403) or is_about_key(error):
        return "check llm_api_key (HIPPOMEM_LLM_API_KEY)"
    if status == 404:
        return "check the model's name in llm (HIPPOMEM_LLM) and llm_base_url (HIPPOMEM_LLM_BASE_URL)"
    if status in REFUSED:
        return "check llm, llm_options and llm_base_url (HIPPOMEM_LLM, HIPPOMEM_LLM_OPTIONS, HIPPOMEM_LLM_BASE_URL)"
    if status == 429:
        return "the provider refuses more requests for now: wait, or raise the limit there"
    if status is not None and status >= 500:
        return "the server failed: try again later"
    return "check llm and llm_base_url (HIPPOMEM_LLM, HIPPOMEM_LLM_BASE_URL)"
