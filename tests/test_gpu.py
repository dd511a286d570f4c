"""The encoder and the neural memory on a GPU. Where there is none, all of this is skipped; the rest runs anywhere."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hippomem import Document, InvalidInputError, Memory, ModelError, Settings
from hippomem.neocortex import bulk_encoder
from hippomem.neocortex.bulk_encoder import BulkEncoder
from hippomem.neocortex.encoder import Precision
from hippomem.neocortex.encoder_choice import choose_encoder
from hippomem.neocortex.neural_memory.slow_map import MapOptions, SlowMap
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder
from hippomem.testing import capitals

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

LONG = "The harbour froze over that winter, and the ferry to Vardø was late. " * 60
TEXTS = [
    "",
    "x",
    "Ada Thorne runs Northlight Labs.",
    "日本語のテキスト 🐚",
    LONG,
    *(f"Note {i} of {'a b ' * i}" for i in range(200)),
]
SPANS = [[(0, len(text) // 2), (len(text) // 2, len(text))] for text in TEXTS]
LEAST: dict[Precision, float] = {"fp32": 0.999999, "fp16": 0.99999, "bf16": 0.9995}


@pytest.fixture(scope="module")
def on_cpu() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(device="cpu")


def cosines(ours: SentenceTransformerEncoder, theirs: SentenceTransformerEncoder) -> list[float]:
    """Between two encoders' vectors of texts, sentences and questions."""
    found = []
    for our, their in zip(ours.encode_passages(TEXTS, SPANS), theirs.encode_passages(TEXTS, SPANS), strict=True):
        found.append(float(our.vector @ their.vector))
        found += (our.sentences * their.sentences).sum(axis=1).tolist()
    return [*found, *(float(ours.encode_query(text) @ theirs.encode_query(text)) for text in TEXTS[:8])]


@gpu
@pytest.mark.parametrize("precision", LEAST)
def test_the_vectors_are_those_of_the_processor(on_cpu: SentenceTransformerEncoder, precision: Precision) -> None:
    ours = SentenceTransformerEncoder(device="cuda", precision=precision)
    assert ours._model.device.type == "cuda"
    assert ours.identity == on_cpu.identity
    assert min(cosines(ours, on_cpu)) > LEAST[precision]


@gpu
def test_a_gpu_is_found_by_itself() -> None:
    assert SentenceTransformerEncoder()._model.device.type == "cuda"


@gpu
def test_many_texts_go_to_it(on_cpu: SentenceTransformerEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="the extra hippomem[fast] is not installed")
    monkeypatch.setattr(bulk_encoder, "WORTH", len(TEXTS))
    ours = choose_encoder("all-MiniLM-L6-v2")
    assert isinstance(ours, BulkEncoder)
    for is_bulk in (False, True):
        for our, their in zip(ours.encode_passages(TEXTS, SPANS), on_cpu.encode_passages(TEXTS, SPANS), strict=True):
            assert float(our.vector @ their.vector) > LEAST["fp32"]
        assert ("_model" in vars(ours._many)) == is_bulk
    assert ours._many._model.device.type == "cuda"


@gpu
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    number = torch.cuda.device_count()
    with (
        Memory.open(tmp_path / "m.db", settings=Settings(encoder_device=f"cuda:{number}")) as memory,
        pytest.raises(InvalidInputError, match="encoder_device"),
    ):
        memory.add("Oslo")


@gpu
@pytest.mark.parametrize("precision", LEAST)
def test_what_was_ingested_on_a_gpu_is_recalled_without(tmp_path: Path, precision: Precision) -> None:
    notes = [
        f"Person {i} of the harbour office keeps the ledger of quay {i} and the year {1900 + i}." for i in range(80)
    ]
    db = tmp_path / "m.db"
    with Memory.open(db, settings=Settings(encoder_device="cuda", encoder_precision=precision)) as memory:
        assert memory.ingest(Document(text=note) for note in notes).passages == len(notes)
        there = [p.text for p in memory.recall("Who keeps the ledger of quay 17?").passages]
    with Memory.open(db, settings=Settings(encoder_device="cpu")) as memory:
        here = [p.text for p in memory.recall("Who keeps the ledger of quay 17?").passages]
        assert memory.doctor().ok
    assert here[0] == there[0] == notes[17]
    assert len(set(here[:5]) & set(there[:5])) >= 4


@gpu
def test_workers_share_a_gpu(tmp_path: Path) -> None:
    notes = [f"Note {i}: the lamp of Gannet Point was lit by keeper {i}." for i in range(300)]
    found = []
    for workers in (None, 2):
        settings = Settings(encoder_device="cuda", batch=64)
        with Memory.open(tmp_path / f"{workers}.db", settings=settings, pipeline=capitals()) as memory:
            assert memory.ingest((Document(text=note) for note in notes), workers=workers).passages == len(notes)
            found.append([(p.text, p.score) for p in memory.recall("Who lit the lamp as keeper 7?").passages])
    assert [text for text, _ in found[0]] == [text for text, _ in found[1]]
    np.testing.assert_allclose([s for _, s in found[0]], [s for _, s in found[1]], atol=1e-3)


@pytest.fixture
def small_gpu() -> Iterator[None]:
    """Of which this process gets little more than it has."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 48 * 2**20) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@gpu
def test_a_gpu_whose_memory_is_short(
    on_cpu: SentenceTransformerEncoder, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = SentenceTransformerEncoder(device="cuda")
    model, sizes = ours._model, []
    monkeypatch.setattr(
        ours, "_run", lambda windows: (sizes.append(len(windows)), SentenceTransformerEncoder._run(ours, windows))[1]
    )
    texts = [LONG[:900]] * 1 + [f"{i} {LONG[:900]}" for i in range(63)]
    expected = on_cpu.encode_passages(texts, [()] * len(texts))
    request.getfixturevalue("small_gpu")
    for our, their in zip(ours.encode_passages(texts, [()] * len(texts)), expected, strict=True):
        assert float(our.vector @ their.vector) > LEAST["fp32"]
    assert len(sizes) > 1  # else nothing was short
    assert model is ours._model


def _encode_in_child(result: multiprocessing.SimpleQueue[str]) -> None:
    try:
        SentenceTransformerEncoder(device="cuda").encode_query("Oslo")
    except ModelError as error:
        result.put(str(error))
    else:
        result.put("")


@gpu
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_fork_is_told_that_it_has_no_gpu() -> None:
    SentenceTransformerEncoder(device="cuda").encode_query("Oslo")
    context = multiprocessing.get_context("fork")
    result = context.SimpleQueue()
    child = context.Process(target=_encode_in_child, args=(result,))
    child.start()
    assert "fork" in result.get()
    child.join()


@gpu
@pytest.mark.parametrize("kind", ["linear", "mlp", "chain"])
def test_what_is_learned_on_a_gpu_helps_without(tmp_path: Path, kind: str) -> None:
    db, question = tmp_path / "m.db", "nothing comes out when I print"
    options = {"neural_map": kind, "encoder_device": "cpu"}
    with Memory.open(db, settings=Settings(neural_device="cuda", **options)) as memory:  # type: ignore[arg-type]
        note = memory.add("The grey machine on floor 2 wakes up when tray 3 is opened and closed.")
        memory.add("Tickets above 300 euros are booked by Ms. Okafor.")
        memory.feedback(memory.recall(question), useful=[note.id])
        assert not [step.error for step in memory.consolidate().steps if step.error]
        there = memory.recall(question).passages[0]
    with Memory.open(db, settings=Settings(**options)) as memory:  # type: ignore[arg-type]
        here = memory.recall(question).passages[0]
        assert memory.doctor().ok
    assert here.id == there.id == note.id
    assert here.score == pytest.approx(there.score, abs=1e-3)


class _Short:
    """A model on a GPU that others use: it has memory for so many windows at a time."""

    def __init__(self, model: Any, room: int) -> None:
        self.model, self.room, self.tried = model, room, list[int]()
        self.device, self.tokenizer, self.max_seq_length = model.device, model.tokenizer, model.max_seq_length

    def __call__(self, features: dict[str, torch.Tensor]) -> Any:
        count = len(features["input_ids"])
        self.tried.append(count)
        if count > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.model(features)


def test_where_memory_is_short_batches_are_halved(on_cpu: SentenceTransformerEncoder) -> None:
    texts = [f"Note {i}: the lamp was lit." for i in range(10)]
    expected = on_cpu.encode_passages(texts, [()] * 10)
    ours = SentenceTransformerEncoder(device="cpu")
    ours.__dict__["_model"] = short = _Short(on_cpu._model, 3)
    for our, their in zip(ours.encode_passages(texts, [()] * 10), expected, strict=True):
        assert float(our.vector @ their.vector) > LEAST["fp32"]
    assert short.tried == [10, 5, 2, 3, 5, 2, 3]
    short.room = 0
    with pytest.raises(ModelError, match=r"not enough memory on cpu .*HIPPOMEM_ENCODER_DEVICE"):
        ours.encode_query("Oslo")


@pytest.mark.parametrize("device", ["gpu", "meta", f"cuda:{torch.cuda.device_count()}"])
def test_a_device_that_is_none_here(tmp_path: Path, device: str) -> None:
    with Memory.open(tmp_path / "m.db", settings=Settings(encoder_device=device), pipeline=capitals()) as memory:
        with pytest.raises(InvalidInputError, match=f"encoder_device='{device}': torch cannot compute there"):
            memory.add("Oslo")
        assert memory.stats()["passages"] == 0
    pairs = np.eye(8, dtype=np.float32)
    with pytest.raises(InvalidInputError, match=f"neural_device='{device}': torch cannot compute there"):
        SlowMap(8, MapOptions(device=device)).update(pairs, pairs, np.ones(8, np.float32))
