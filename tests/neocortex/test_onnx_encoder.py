"""The encoder on onnxruntime: equal to sentence-transformers, chosen where it fits, never mixed, light to load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hippomem import EncoderMismatchError, InvalidInputError, Memory, MissingDependencyError, ModelError, Settings
from hippomem.neocortex import bulk_encoder, encoder_choice, model_folder, onnx_encoder, shared
from hippomem.neocortex.bulk_encoder import BulkEncoder
from hippomem.neocortex.encoder import Encoded
from hippomem.neocortex.encoder_choice import choose_encoder
from hippomem.neocortex.onnx_encoder import OnnxEncoder
from hippomem.neocortex.torch_encoder import SentenceTransformerEncoder
from hippomem.testing import HashEncoder, capitals

pytest.importorskip("onnxruntime", reason="the extra hippomem[fast] is not installed")

TEXTS = [
    "Oslo\nOslo is the capital of Norway. Its harbour freezes rarely.",
    "Ada Thorne moved to Tromsø in 2021 to study the northern lights, and stayed for the winter fishing.",
    "x", " ", "", "\n\t", "\u200b", "...", "👩‍👩‍👧 naïve CAFÉ e\u0301", "日本語のテキストです。東京は首都。",
    "Привет, мир! Как дела?",    "مرحبا بالعالم",
    "हिन्दी में एक वाक्य", "[SEP] [CLS] [MASK] [PAD] ##ing", "<script>\x1b[31m\x07</script>", "a" * 5000,
    "The harbour froze over that winter. " * 120, "\ufffd\ufeff\u2028",
]  # fmt: skip
SPANS = [[(0, len(text) // 2), (len(text) // 2, len(text)), (0, 0)] for text in TEXTS]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice is tested as without one, also where there is one."""
    monkeypatch.setattr(encoder_choice, "DRIVERS", ())


@pytest.fixture(scope="module")
def torch_encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder()


@pytest.fixture(scope="module")
def fp32() -> OnnxEncoder:
    return OnnxEncoder()


@pytest.fixture(scope="module")
def int8() -> OnnxEncoder:
    return OnnxEncoder(precision="int8")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folders of a small BERT with random weights, as sentence-transformers saves them."""
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizer

    try:
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    except ImportError:  # before 6
        from sentence_transformers.models import Normalize, Pooling, Transformer

    packaged = model_folder.packaged_model()

    def made(pooling: str = "mean", *, normalised: bool = False, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp("bert")
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        BertModel(BertConfig(**shape, max_position_embeddings=40, **config)).save_pretrained(folder / "bert")
        BertTokenizer.from_pretrained(str(packaged), model_max_length=24).save_pretrained(folder / "bert")
        parts = [Transformer(str(folder / "bert")), Pooling(32, pooling)] + [Normalize()] * normalised
        model = SentenceTransformer(modules=parts, prompts={"query": "ask: ", "document": "read: "})
        model.save(str(folder / "model"))
        return folder / "model"

    return made


def assert_equal(ours: list[Encoded], theirs: list[Encoded]) -> None:
    for text, our, their in zip(TEXTS, ours, theirs, strict=True):
        assert float(our.vector @ their.vector) > 0.999999, text[:30]
        np.testing.assert_allclose(our.vector, their.vector, atol=2e-6, err_msg=text[:30])
        np.testing.assert_allclose(our.sentences, their.sentences, atol=5e-6, err_msg=text[:30])


def test_the_vectors_are_those_of_sentence_transformers(
    fp32: OnnxEncoder, torch_encoder: SentenceTransformerEncoder
) -> None:
    assert fp32.identity == torch_encoder.identity
    assert_equal(fp32.encode_passages(TEXTS, SPANS), torch_encoder.encode_passages(TEXTS, SPANS))
    for text in TEXTS:
        np.testing.assert_allclose(fp32.encode_query(text), torch_encoder.encode_query(text), atol=2e-6)


@pytest.mark.parametrize(("pooling", "normalised"), [("mean", False), ("mean", True), ("cls", False), ("cls", True)])
def test_a_folder_of_another_bert(tiny: Callable[..., Path], pooling: str, normalised: bool) -> None:
    folder = str(tiny(pooling, normalised=normalised))
    ours, theirs = choose_encoder(folder), choose_encoder(folder, "torch")
    assert isinstance(ours, OnnxEncoder)
    assert isinstance(theirs, SentenceTransformerEncoder)
    assert ours.identity == theirs.identity == "sentence-transformers:model"
    assert_equal(ours.encode_passages(TEXTS, SPANS), theirs.encode_passages(TEXTS, SPANS))
    np.testing.assert_allclose(ours.encode_query(TEXTS[0]), theirs.encode_query(TEXTS[0]), atol=2e-6)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("modules.json", [], "modules are"),
        ("modules.json", {"type": 1}, "modules are"),
        ("config.json", {"model_type": "roberta"}, "model_type is 'roberta'"),
        ("config.json", {}, "model_type is None"),
        ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("config.json", {"num_attention_heads": "4"}, "num_attention_heads is '4'"),
        ("config.json", {"num_hidden_layers": 3}, "its weights lack"),
        ("config.json", {"hidden_size": 64}, "sizes"),
        ("config.json", {"max_position_embeddings": 16}, "16 positions for 24 tokens"),
        ("config.json", b"\xff{", "cannot be read"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pooling"),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "leaves out the prompt"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "lower case"),
        ("model.safetensors", b"", "safetensors cannot be read"),
        ("model.safetensors", b"\xff" * 64, "safetensors cannot be read"),
        ("model.safetensors", None, "safetensors cannot be read"),
        ("tokenizer.json", None, r"no tokenizer\.json"),
    ],
)
def test_what_is_no_bert(tiny: Callable[..., Path], tiny_folder: Path, file: str, content: Any, reason: str) -> None:
    path = tiny_folder / file
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        old = json.loads(path.read_text())
        path.write_text(json.dumps(old | content if content and isinstance(old, dict) else content))
    assert isinstance(choose_encoder(str(tiny_folder)), SentenceTransformerEncoder)
    with pytest.raises(InvalidInputError, match=reason):
        choose_encoder(str(tiny_folder), "onnx")
    with pytest.raises(InvalidInputError, match="onnxruntime cannot run"):
        choose_encoder(str(tiny_folder), "auto", "int8")
    with pytest.raises(ModelError, match="onnxruntime cannot run"):
        OnnxEncoder(str(tiny_folder)).encode_query("x")


@pytest.fixture(scope="module")
def _kept(tiny: Callable[..., Path]) -> Path:
    return tiny()


@pytest.fixture
def tiny_folder(_kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_kept, tmp_path / "model"))


def test_encoders_of_a_folder_share_the_model_while_its_files_stay(tiny_folder: Path) -> None:
    for kind in (OnnxEncoder, SentenceTransformerEncoder):
        one, other = kind(str(tiny_folder)), kind(str(tiny_folder))
        assert one._model is other._model
        (tiny_folder / "README.md").write_text(kind.__name__)
        assert kind(str(tiny_folder))._model is not one._model
        assert one.encode_query("x") == pytest.approx(kind(str(tiny_folder)).encode_query("x"))


def test_files_in_half_precision_are_computed_in_full(tiny_folder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(tiny_folder), device="cpu").half().save(str(tmp_path / "half"))
    encoder = choose_encoder(str(tmp_path / "half"), device="cpu")
    assert isinstance(encoder, SentenceTransformerEncoder)
    assert next(encoder._model.parameters()).dtype.itemsize == 4
    (ours,), (theirs,) = (each.encode_passages([TEXTS[0]], [()]) for each in (encoder, OnnxEncoder(str(tiny_folder))))
    np.testing.assert_allclose(ours.vector, theirs.vector, atol=2e-3)


def test_files_that_are_damaged_inside(tiny_folder: Path) -> None:
    (tiny_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot load the encoder"):
        OnnxEncoder(str(tiny_folder)).encode_query("x")


def test_the_choice(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    assert isinstance(choose_encoder("all-MiniLM-L6-v2"), OnnxEncoder)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2", "onnx"), OnnxEncoder)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2", "torch"), SentenceTransformerEncoder)
    assert isinstance(choose_encoder("some/model-of-a-hub"), SentenceTransformerEncoder)
    with pytest.raises(InvalidInputError, match="no folder 'some/model-of-a-hub'"):
        choose_encoder("some/model-of-a-hub", "onnx")
    wrong: list[tuple[Any, ...]] = [("torch", "int8", "auto"), ("onnx", "fp16", "auto"), ("auto", "int8", "cuda")]
    for wish in [*wrong, ("onnx", "fp32", "mps")]:
        with pytest.raises(InvalidInputError, match=r"needs onnxruntime and encoder_\w+='\w+' torch: leave out one"):
            choose_encoder("all-MiniLM-L6-v2", *wish)
    for wish in [("auto", "fp32", "cuda:1"), ("auto", "bf16", "auto"), ("torch", "fp16", "cpu")]:
        chosen = choose_encoder("all-MiniLM-L6-v2", *wish)
        assert isinstance(chosen, SentenceTransformerEncoder)
        assert (chosen.precision, chosen.device) == wish[1:]
    own = HashEncoder()
    assert choose_encoder(own, "onnx", "int8") is own  # settings for what is given by name
    monkeypatch.setattr(encoder_choice, "gpu_is_likely", lambda: True)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2"), BulkEncoder)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2", "onnx"), OnnxEncoder)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2", "auto", "int8"), OnnxEncoder)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2", device="cpu"), OnnxEncoder)
    assert isinstance(choose_encoder(str(tiny_folder)), BulkEncoder)
    monkeypatch.setattr(encoder_choice, "SMALL", 1000)
    assert isinstance(choose_encoder(str(tiny_folder)), SentenceTransformerEncoder)


def test_a_gpu_is_for_many_texts(
    fp32: OnnxEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The processor stands for the GPU here; tests/test_gpu.py has a real one."""
    ours, asked = BulkEncoder("all-MiniLM-L6-v2"), list[int]()
    ours._many.encode_query("Oslo")  # loads it, where it is not yet: the GPU that is told of below is none
    monkeypatch.setattr("sentence_transformers.util.get_device_name", lambda: "cuda")
    monkeypatch.setattr(bulk_encoder, "WORTH", 150)
    texts = [f"Note {n}: the lamp was lit." for n in range(100)]
    encode = ours._many.encode_passages
    monkeypatch.setattr(ours._many, "encode_passages", lambda t, s: (asked.append(len(t)), encode(t, s))[1])
    assert ours.identity == fp32.identity
    expected = np.stack([e.vector for e in fp32.encode_passages(texts, [()] * 100)])
    for some, on_gpu in ((100, 0), (100, 1), (20, 1), (100, 2)):
        found = np.stack([e.vector for e in ours.encode_passages(texts[:some], [()] * some)])
        np.testing.assert_allclose(found, expected[:some], atol=2e-6)
        assert len(asked) == on_gpu
    np.testing.assert_array_equal(ours.encode_query("Oslo"), fp32.encode_query("Oslo"))
    with monkeypatch.context() as failing:
        failing.setattr(ours._many, "encode_passages", _out_of_memory)
        assert len(ours.encode_passages(texts, [()] * 100)) == 100
    assert "onnxruntime encodes: the memory is short" in caplog.text
    ours.encode_passages(texts, [()] * 100)
    assert len(asked) == 2  # it is not tried again


def _out_of_memory(*_: Any) -> None:
    raise ModelError("the memory is short")


def test_where_torch_finds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentence_transformers.util.get_device_name", lambda: "cpu")
    monkeypatch.setattr(bulk_encoder, "WORTH", 50)
    ours = BulkEncoder("all-MiniLM-L6-v2")
    monkeypatch.setattr(ours._many, "encode_passages", lambda *_: pytest.fail("torch was asked"))
    assert len(ours.encode_passages([f"Note {n}" for n in range(80)], [()] * 80)) == 80


def test_a_gpu_is_told_by_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    versions = {"torch": "2.13.0+cu130"}
    monkeypatch.setattr(encoder_choice.importlib.metadata, "version", versions.__getitem__)
    monkeypatch.setattr(encoder_choice.sys, "platform", "linux")
    monkeypatch.setattr(encoder_choice, "DRIVERS", [str(tmp_path / "driver")])
    assert not encoder_choice.gpu_is_likely()
    (tmp_path / "driver").touch()
    assert encoder_choice.gpu_is_likely()
    versions["torch"] = "2.13.0+cpu"
    assert not encoder_choice.gpu_is_likely()


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_without_the_extra(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shared, "_LOADED", {})
    monkeypatch.setitem(sys.modules, package, None)
    assert isinstance(choose_encoder("all-MiniLM-L6-v2"), SentenceTransformerEncoder)
    for wish in ({"encoder_backend": "onnx"}, {"encoder_precision": "int8"}):
        with pytest.raises(MissingDependencyError, match=rf"{package} is not installed.*hippomem\[fast\]"):
            Memory.open(tmp_path / "m.db", settings=Settings(**wish))
    with pytest.raises(MissingDependencyError, match=rf"{package} is not installed.*hippomem\[fast\]"):
        OnnxEncoder().encode_query("x")  # gone since it was chosen


@pytest.mark.parametrize(
    ("name", "value"),
    [("encoder_backend", "tpu"), ("encoder_precision", "int4"), ("encoder_device", ""), ("neural_device", "")],
)
def test_settings_that_cannot_be(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HIPPOMEM_{name.upper()}", value)
    with pytest.raises(InvalidInputError, match=name):
        Memory.open(":memory:")


def test_int8_is_near_and_another_encoder(int8: OnnxEncoder, fp32: OnnxEncoder) -> None:
    assert int8.identity == f"{fp32.identity}+int8"
    texts = [*TEXTS[:2], TEXTS[-2]]
    for ours, exact in zip(int8.encode_passages(texts, SPANS[:3]), fp32.encode_passages(texts, SPANS[:3]), strict=True):
        assert 0.99 < float(ours.vector @ exact.vector) < 0.99999
        assert np.linalg.norm(ours.vector) == pytest.approx(1.0, abs=1e-5)


def test_the_batch_does_not_change_the_vectors(int8: OnnxEncoder, fp32: OnnxEncoder) -> None:
    """In int8 that is no matter of course: the usual dynamic quantisation has one scale for a whole batch."""
    for encoder in (int8, fp32):
        for text, together in zip(TEXTS, encoder.encode_passages(TEXTS, SPANS), strict=True):
            assert float(encoder.encode_query(text) @ together.vector) > 0.999995, text[:30]


def test_a_store_of_one_precision_is_not_opened_with_the_other(tmp_path: Path) -> None:
    db = tmp_path / "m.db"
    with Memory.open(db, settings=Settings(encoder_precision="int8"), pipeline=capitals()) as memory:
        memory.add("Ada met Bea in Oslo.")
        assert memory.doctor().ok
        memory.export(tmp_path / "dump.jsonl")
    for backend in ("auto", "torch"):
        with pytest.raises(EncoderMismatchError, match=r"\+int8'.*HIPPOMEM_ENCODER_PRECISION"):
            Memory.open(db, settings=Settings(encoder_backend=backend))
    with pytest.raises(EncoderMismatchError, match=r"\+int8'.*HIPPOMEM_ENCODER_PRECISION"):
        Memory.load(tmp_path / "dump.jsonl", tmp_path / "new.db")
    assert Memory.reencode(db) == 1
    for backend in ("auto", "torch"):  # in fp32 both have the same vectors
        with Memory.open(db, settings=Settings(encoder_backend=backend), pipeline=capitals()) as memory:
            assert memory.recall("Whom did Ada meet?").passages[0].text == "Ada met Bea in Oslo."
    with pytest.raises(EncoderMismatchError, match=r"made by 'all-MiniLM-L6-v2@53aa51172d14', and .*\+int8'"):
        Memory.open(db, settings=Settings(encoder_precision="int8"))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_the_same_text_is_encoded_once(
    backend: str, fp32: OnnxEncoder, torch_encoder: SentenceTransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Any = fp32 if backend == "onnx" else torch_encoder
    forward, seen = encoder._forward, []

    def counted(windows: list[list[int]]) -> Any:
        seen.extend(windows)
        return forward(windows)

    monkeypatch.setattr(encoder, "_forward", counted)
    whole = encoder.encode_passages(
        ["Ada sings. Bea dances.", "Else.", "Ada sings. Bea dances."], [[(0, 10)], [], [(11, 22)]]
    )
    assert len(seen) == 2
    np.testing.assert_array_equal(whole[0].vector, whole[2].vector)
    assert whole[0].sentences.shape == whole[2].sentences.shape == (1, 384)
    assert float(whole[0].sentences[0] @ whole[2].sentences[0]) < 0.99
    assert whole[1].sentences.shape == (0, 384)
    assert encoder.encode_passages([], []) == []


def test_batches_are_bounded(fp32: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    run, sizes = OnnxEncoder._run, []

    def watched(self: OnnxEncoder, windows: list[list[int]]) -> Any:
        sizes.append(len(windows) * max(map(len, windows)))
        return run(self, windows)

    monkeypatch.setattr(OnnxEncoder, "_run", watched)
    fp32.encode_passages(["one word " * (n % 40 + 1) for n in range(60)], [()] * 60)
    assert 1 < len(sizes) < 10
    assert max(sizes) <= onnx_encoder.BATCH_TOKENS


def test_threads_that_come_at_once_load_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    load, loaded = onnx_encoder._load, []

    def counted(*args: Any) -> Any:
        loaded.append(args)
        return load(*args)

    monkeypatch.setattr(shared, "_LOADED", {})
    monkeypatch.setattr(onnx_encoder, "_load", counted)
    encoder = OnnxEncoder()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(encoder.encode_query, ["a", "b", "c", "d"]))
    OnnxEncoder().encode_query("of another memory")
    assert loaded == [("all-MiniLM-L6-v2", "fp32")]


def test_threads_share_one_encoder(fp32: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = fp32.encode_passages(TEXTS, SPANS)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # batches beside each other, too
    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(lambda _: fp32.encode_passages(TEXTS, SPANS), range(4)):
            for one, other in zip(alone, together, strict=True):
                np.testing.assert_array_equal(one.vector, other.vector)
                np.testing.assert_array_equal(one.sentences, other.sentences)


def test_a_packaged_file_that_is_not_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_LOADED", {})
    monkeypatch.setitem(model_folder.PACKAGED_FILES, "model.safetensors", "0" * 64)
    with pytest.raises(ModelError, match="not the published file"):
        OnnxEncoder().encode_query("x")


def test_a_failure_of_the_runtime_is_ours(fp32: OnnxEncoder) -> None:
    with pytest.raises(ModelError, match="the encoder 'all-MiniLM-L6-v2' failed"):
        fp32._run([[10**6]])  # no such token


@pytest.mark.sqlite
def test_a_recall_loads_neither_torch_nor_spacy(tmp_path: Path, fp32: OnnxEncoder) -> None:
    with Memory.open(tmp_path / "m.db", encoder=fp32, pipeline=capitals()) as memory:
        memory.add("Ada met Bea in Oslo.")
    code = (
        "import sys; from hippomem import Memory\n"
        "with Memory.open('m.db') as memory: print(memory.recall('Whom did Ada meet?').passages[0].text)\n"
        "print(sorted({'torch', 'sentence_transformers', 'transformers', 'spacy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Ada met Bea in Oslo.\n[]\n"
    assert done.stderr == ""


def test_the_runtime_tells_nobody(tmp_path: Path) -> None:
    """It would ask for its maker's server some seconds later, and puts down beforehand, among the user's files, what it
    is to send there."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    code = "from hippomem.neocortex.onnx_encoder import OnnxEncoder; OnnxEncoder().encode_query('Ada')"
    subprocess.run([sys.executable, "-c", code], env=kept | {"HOME": str(home)}, check=True)
    assert list(home.rglob("*")) == []
