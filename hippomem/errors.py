"""Every error hippomem raises on purpose.

HippomemError
├── InvalidInputError (ValueError)     an argument or a text that cannot be used; nothing was changed
│   ├── InvalidTextError               text that no store can hold: empty, lone surrogates, NUL characters
│   └── InputTooLargeError             longer than a limit; the message names the setting that raises it
├── NotFoundError (LookupError)        no memory, source or file with this name
├── SourceError                        a file or record that could not be read (ingest reports it and goes on)
├── StoreError                         the database
│   ├── ForeignStoreError              a database or file of another program
│   ├── NewerStoreError                written by a newer hippomem
│   ├── StoreAccessError               cannot be opened, read or written: permissions, missing folder, no server
│   ├── StoreFullError                 the disk is full; the transaction was rolled back
│   ├── StoreBusyError                 another process held the write lock for too long
│   ├── ClosedError                    used after close()
│   └── EncoderMismatchError           the store's vectors were made by another encoder
├── ModelError                         a model that is not set, cannot be loaded, does not answer, or is another one
│   └── MalformedAnswerError           a chat model's answer that holds nothing of what was asked for
└── MissingDependencyError (ImportError)   an optional package is not installed; the message names the extra

Each message says what was wrong and what to do about it.
"""

from __future__ import annotations


class HippomemError(Exception):
    """Base of all errors that hippomem raises on purpose."""


class InvalidInputError(HippomemError, ValueError):
    """An argument cannot be used as it is; nothing was changed."""


class InvalidTextError(InvalidInputError):
    """A text that no store can hold: empty, with lone surrogates or NUL characters."""


class InputTooLargeError(InvalidInputError):
    """Input longer than a limit; the message names the setting that raises it."""


class NotFoundError(HippomemError, LookupError):
    """No memory, source or file goes by this name."""


class SourceError(HippomemError):
    """A file or record that cannot be read as text; the rest of an ingest is not affected."""


class StoreError(HippomemError):
    """The database refused or failed."""


class ForeignStoreError(StoreError):
    """The file is not a database, or a database of another program."""


class NewerStoreError(StoreError):
    """The database was written by a newer version of hippomem."""


class StoreAccessError(StoreError):
    """The database cannot be opened, read or written where it is."""


class StoreFullError(StoreError):
    """No space left for the database; the transaction was rolled back."""


class StoreBusyError(StoreError):
    """Another process held the write lock for longer than the time-out."""


class ClosedError(StoreError):
    """The memory was used after close()."""


class EncoderMismatchError(StoreError):
    """The vectors in the store were made by another encoder than the configured one."""


class ModelError(HippomemError):
    """An encoder, a language pipeline or a chat model that is not set, cannot be loaded, does not answer, or is not the
    expected one."""


class MalformedAnswerError(ModelError):
    """A chat model answered, and nothing in its answer could be read."""


class MissingDependencyError(HippomemError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'hippomem[{extra}]'")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str]]:
        # An exception is copied by its `args`, which are the message alone.
        return type(self), (self.package, self.extra)
