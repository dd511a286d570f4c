"""hippomem: long-term memory that an agent plugs in.

    from hippomem import Memory

    with Memory.open("agent.db") as memory:
        memory.add("Ada moved to Oslo in 2021.")
        print(memory.recall("Where does Ada live?").passages[0].text)

Names are loaded when first used: importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hippomem.aio import AsyncMemory
    from hippomem.answering import AnswerStream
    from hippomem.clock import Clock, SimulatedClock, SystemClock
    from hippomem.errors import (
        ClosedError,
        EncoderMismatchError,
        ForeignStoreError,
        HippomemError,
        InputTooLargeError,
        InvalidInputError,
        InvalidTextError,
        MalformedAnswerError,
        MissingDependencyError,
        ModelError,
        NewerStoreError,
        NotFoundError,
        SourceError,
        StoreAccessError,
        StoreBusyError,
        StoreError,
        StoreFullError,
    )
    from hippomem.hippocampus.recipe import Recipe
    from hippomem.memory import Memory
    from hippomem.neocortex.encoder import Encoder
    from hippomem.settings import Settings
    from hippomem.types import (
        Answer,
        Budget,
        Change,
        Check,
        Citation,
        Diagnosis,
        Document,
        Entity,
        Estimate,
        Event,
        Explanation,
        Failure,
        File,
        Forgotten,
        IngestReport,
        Job,
        LearningEvent,
        Passage,
        Path,
        Recall,
        RecalledPassage,
        Report,
        Step,
        StepReport,
        SubQuestion,
        Triple,
        Usage,
    )

__version__ = "0.1.0"

_HOME = {
    "hippomem.aio": ("AsyncMemory",),
    "hippomem.answering": ("AnswerStream",),
    "hippomem.clock": ("Clock", "SimulatedClock", "SystemClock"),
    "hippomem.errors": (
        "ClosedError", "EncoderMismatchError", "ForeignStoreError", "HippomemError", "InputTooLargeError",
        "InvalidInputError", "InvalidTextError", "MalformedAnswerError",
        "MissingDependencyError", "ModelError", "NewerStoreError", "NotFoundError", "SourceError",
        "StoreAccessError", "StoreBusyError", "StoreError", "StoreFullError",
    ),
    "hippomem.hippocampus.recipe": ("Recipe",),
    "hippomem.memory": ("Memory",),
    "hippomem.neocortex.encoder": ("Encoder",),
    "hippomem.settings": ("Settings",),
    "hippomem.types": (
        "Answer", "Budget", "Change", "Check", "Citation", "Diagnosis", "Document", "Entity", "Estimate", "Event",
        "Explanation", "Failure", "File", "Forgotten", "IngestReport", "Job", "LearningEvent", "Passage", "Path",
        "Recall", "RecalledPassage", "Report", "Step", "StepReport", "SubQuestion", "Triple", "Usage",
    ),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Answer",
    "AnswerStream",
    "AsyncMemory",
    "Budget",
    "Change",
    "Check",
    "Citation",
    "Clock",
    "ClosedError",
    "Diagnosis",
    "Document",
    "Encoder",
    "EncoderMismatchError",
    "Entity",
    "Estimate",
    "Event",
    "Explanation",
    "Failure",
    "File",
    "ForeignStoreError",
    "Forgotten",
    "HippomemError",
    "IngestReport",
    "InputTooLargeError",
    "InvalidInputError",
    "InvalidTextError",
    "Job",
    "LearningEvent",
    "MalformedAnswerError",
    "Memory",
    "MissingDependencyError",
    "ModelError",
    "NewerStoreError",
    "NotFoundError",
    "Passage",
    "Path",
    "Recall",
    "RecalledPassage",
    "Recipe",
    "Report",
    "Settings",
    "SimulatedClock",
    "SourceError",
    "Step",
    "StepReport",
    "StoreAccessError",
    "StoreBusyError",
    "StoreError",
    "StoreFullError",
    "SubQuestion",
    "SystemClock",
    "Triple",
    "Usage",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'hippomem' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
