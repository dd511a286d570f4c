"""A data set of eight passages, of our own writing, in the shape of HippoRAG's pairs of files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

PASSAGES = [
    ("Odile Varga", "Odile Varga is a Hungarian cellist. She was born in Szeged and studied with Tamas Biro."),
    ("Szeged", "Szeged is a city on the river Tisza in southern Hungary, known for its paprika."),
    ("Tamas Biro", "Tamas Biro was a cello teacher who founded the Lantos Quartet in 1961."),
    ("Lantos Quartet", "The Lantos Quartet was a string quartet. Its first home was the Feher Hall in Debrecen."),
    ("Feher Hall", "Feher Hall is a concert hall designed by the architect Klara Nemeth."),
    ("Klara Nemeth", "Klara Nemeth was an architect from Pecs. She also designed the Mill Bridge."),
    ("Mill Bridge", "The Mill Bridge crosses the Drava and was opened in 1934."),
    ("Paprika", "Paprika is a spice made from dried red peppers."),
]
QUESTIONS = [
    ("q1", "On which river is the city where Odile Varga was born?", "Tisza", (0, 1)),
    ("q2", "When was the quartet of Odile Varga's teacher Tamas Biro founded?", "1961", (0, 2)),
    ("q3", "Who designed the first home of the Lantos Quartet?", "Klara Nemeth", (3, 4)),
    ("q4", "Which river does the bridge by the architect of Feher Hall cross?", "Drava", (4, 5, 6)),
]


def corpus_records() -> list[dict[str, Any]]:
    return [{"title": title, "text": text} for title, text in PASSAGES]


def question_records() -> list[dict[str, Any]]:
    """MuSiQue's shape: paragraphs, some of them supporting."""
    return [
        {
            "id": id_,
            "question": question,
            "answer": answer,
            "answer_aliases": [],
            "paragraphs": [
                {"idx": place, "title": title, "paragraph_text": text, "is_supporting": place in gold}
                for place, (title, text) in enumerate(PASSAGES)
            ],
        }
        for id_, question, answer, gold in QUESTIONS
    ]


def hotpot_records() -> list[dict[str, Any]]:
    """HotpotQA's shape: a context of sentences, and the titles and sentences that support."""
    context = [[title, [part + "." for part in text.rstrip(".").split(".")]] for title, text in PASSAGES]
    return [
        {
            "_id": id_,
            "question": question,
            "answer": answer,
            "supporting_facts": [fact for place in gold for fact in ([PASSAGES[place][0], 0], [PASSAGES[place][0], 1])],
            "context": context,
        }
        for id_, question, answer, gold in QUESTIONS
    ]


def write(path: Path, data: object) -> Path:
    """JSON, JSON lines or gzip of either, by the name."""
    lines = ".jsonl" in path.name
    text = "\n".join(json.dumps(item) for item in data) if lines and isinstance(data, list) else json.dumps(data)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Question and corpus file."""
    return write(folder / "q.json", question_records()), write(folder / "c.json", corpus_records())
