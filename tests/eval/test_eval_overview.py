"""Several runs in one table: the same figures as theirs, from files that anybody can check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records
from eval_data import write, write_pair
from typer.testing import CliRunner, Result

from hippomem_eval.cli import app
from hippomem_eval.overview import interval

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(folder for folder in (ROOT / "eval/results").iterdir() if folder.is_dir())


def run(*args: object) -> Result:
    return CliRunner().invoke(app, list(map(str, args)))


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run over passages and one over conversations."""
    folder = tmp_path_factory.mktemp("runs")
    questions, corpus = write_pair(folder)
    asked = ("--questions", questions, "--corpus", corpus, "--out", folder / "passages", "--system", "dense,bm25")
    assert run("multihop", *asked).exit_code == 0
    data = write(folder / "talk.json", locomo_records())
    assert run("conversation", "--data", data, "--out", folder / "turns", "--system", "bm25,grep").exit_code == 0
    return [folder / "passages", folder / "turns"]


def test_the_figures_are_those_of_the_runs(folders: list[Path]) -> None:
    result = printed(run("overview", *folders, "--json"))
    assert [entry["name"] for entry in result["runs"]] == ["passages", "turns"]
    assert [entry["searched"] for entry in result["runs"]] == [8, 8]  # equal turns of a session count as one
    for entry, folder in zip(result["runs"], folders, strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        assert entry["n_questions"] == summary["n_questions"] > 3
        assert list(entry["systems"]) == list(summary["systems"])
        for system, values in entry["systems"].items():
            assert values == {name: summary["intervals"][system][name] for name in values}
        apart = [one for one in summary["differences"] if one["measure"] == "recall@5"]
        assert entry["differences"] == [{key: one[key] for key in entry["differences"][0]} for one in apart]


def test_what_is_written_can_be_read_instead_and_tells_no_text(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "published"
    result = run("overview", *folders, "--out", out)
    assert result.exit_code == 0, result.output
    files = [out / "passages.jsonl", out / "turns.jsonl"]
    assert printed(run("overview", *files, "--json")) == printed(run("overview", *folders, "--json"))
    assert run("overview", *files).stdout == result.stdout == (out / "overview.md").read_text()
    told = "".join(file.read_text() for file in files)
    assert "Odile" not in told
    assert "Basil" not in told
    pictures = [(out / f"overview-{name}.png").read_bytes() for name in ("light", "dark")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1]
    assert run("overview", *files, "--out", out).exit_code == 0  # over itself
    assert "".join(file.read_text() for file in files) == told


def test_what_is_no_run_is_told(folders: list[Path], tmp_path: Path) -> None:
    whole = (folders[0] / "summary.json").read_text()
    part = tmp_path / "part"
    part.mkdir()
    for file in folders[0].glob("*.json*"):
        (part / file.name).write_bytes(file.read_bytes())
    (part / "bm25.jsonl").write_text("".join((part / "bm25.jsonl").read_text().splitlines(True)[:-1]))
    few = tmp_path / "few"
    few.mkdir()
    for file in folders[0].glob("*.json*"):
        (few / file.name).write_bytes(file.read_bytes())
    (few / "summary.json").write_text(json.dumps(json.loads(whole) | {"k": 5}))
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"searched": 3, "systems": ["a"]}\n{"id": "q", "a": "no ranks"}\n')
    (tmp_path / "twice.jsonl").write_text(
        '{"searched": 3, "systems": ["a"]}\n{"id": "q", "a": [1]}\n{"id": "q", "a": [2]}\n'
    )
    (tmp_path / "noise.jsonl").write_bytes(b"\xff\xfe\x00")
    for path, message in (
        (tmp_path / "none", "there is no"),
        (tmp_path, "there is no"),
        (part, "does not hold the same questions"),
        (few, "--k 10"),
        (tmp_path / "empty.jsonl", "no run"),
        (tmp_path / "rows.jsonl", "no run"),
        (tmp_path / "twice.jsonl", "one twice"),
        (tmp_path / "noise.jsonl", "cannot be read"),
    ):
        result = run("overview", path)
        assert (result.exit_code, result.stdout) == (1, ""), path
        assert message in result.stderr
    result = run("overview", folders[0], folders[0])
    assert (result.exit_code, "two runs are called passages" in result.stderr) == (1, True)


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """Figures of the runs in eval/results, by name."""
    files = [file for folder in PUBLISHED for file in sorted(folder.glob("*.jsonl"))]
    return {entry["name"]: entry for entry in printed(run("overview", *files, "--json"))["runs"]}


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_published_table_is_that_of_the_published_ranks(folder: Path) -> None:
    files = sorted(folder.glob("*.jsonl"))
    assert run("overview", *files).stdout == (folder / "overview.md").read_text(encoding="utf-8")


DOCUMENTS = {
    "HotpotQA (train, HippoRAG's 100)": "hotpotqa_train",
    "MuSiQue (train, HippoRAG's 100)": "musique_train",
    "2WikiMultihopQA (1,000)": "2wiki",
    "MuSiQue (dev, 189)": "musique_dev",
    "PopQA (1,000)": "popqa",
    "MuSiQue (train, the first 200, two hops)": "musique_first200",
}
TALK = {
    "LoCoMo, conversations 0 to 4 (760)": "locomo",
    "three chats of friends, colleagues, a family (120)": "third_chats",
    "users with an assistant (120)": "more_assistant_chats",
    "everyday notes (400)": "notes",
    "more notes (200)": "more_notes",
    "third notes (120)": "third_notes",
}


def _rows(first: str) -> dict[str, list[str]]:
    """The table of the README that begins with this head, by the first cells; what is "the same" by the one before."""
    lines = (
        (ROOT / "README.md").read_text(encoding="utf-8").split(f"\n| {first} |")[1].split("\n\n")[0].splitlines()[2:]
    )
    rows: dict[str, list[str]] = {}
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[f"{list(rows)[-1]} plain" if name.startswith("the same") else name] = cells
    return rows


def _recalls(entry: dict[str, Any], system: str, *cutoffs: int) -> str:
    if system not in entry["systems"]:
        return ""
    return " / ".join(f"{100 * entry['systems'][system][f'recall@{k}']['mean']:.1f}" for k in cutoffs)


def _apart(entry: dict[str, Any]) -> str:
    return interval(next(one for one in entry["differences"] if one["b"] == "dense"))


def test_documents_in_the_readme_are_as_they_were_measured(published: dict[str, Any]) -> None:
    expected = {}
    for title, name in DOCUMENTS.items():
        entry = published[name]
        recalls = [_recalls(entry, system, 2, 5, 10) for system in ("hippomem", "dense")]
        expected[f"{title} / {entry['searched']:,}"] = [*recalls, _apart(entry)]
    assert _rows("questions / passages") == expected


def test_conversations_and_notes_in_the_readme_are_as_they_were_measured(published: dict[str, Any]) -> None:
    expected = {}
    for title, name in TALK.items():
        for suffix in ("", "_plain"):
            if entry := published.get(f"{name}{suffix}"):
                recalls = [_recalls(entry, system, 1, 5, 10) for system in ("hippomem", "strong", "dense", "bm25")]
                row = f"{title} / {published[name]['searched']:,}{suffix.replace('_', ' ')}"
                expected[row] = [*recalls, _apart(entry)]
    assert _rows("questions / turns or notes") == expected
