"""What is taken from a chat model's answers about a question."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hippomem import Passage
from hippomem.neocortex.chat import Chat
from hippomem.neocortex.questions import (
    LINE_CHARS,
    MAX_SUB_QUESTIONS,
    READ_CHARS,
    READ_PASSAGES,
    decompose,
    filled,
    read,
)
from hippomem.testing import ScriptedChatModel

PASSAGE = Passage(id="1", title="Ada", text="Ada runs Northlight Labs.")


def says(answer: str) -> Chat:
    return Chat(ScriptedChatModel(answers=[answer]))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"sub_questions": ["Who leads Labs?", "Where was #1 born?"]}', ["Who leads Labs?", "Where was #1 born?"]),
        ('Sure!\n```json\n{"sub_questions": ["A?", "B?",]}\n```', ["A?", "B?"]),
        ('["A?", "B?"]', ["A?", "B?"]),
        ('[{"sub_questions": ["A?", "B?"]}]', ["A?", "B?"]),
        ('{"questions": [{"question": "A?"}, {"question": "B?"}]}', ["A?", "B?"]),
        ('{"sub_questions": ["A?", 5, null, {"x": 1}, "E #2?"]}', ["A?", "5", "", "", "E #2?"]),
        ('{"sub_questions": ["A?", "B', ["A?"]),
        ('{"sub_questions": [" A\\n\\u0000\\u2028 ? "]}', ["A ?"]),
        (json.dumps({"sub_questions": ["x" * 10**6]}), ["x" * LINE_CHARS]),
        (json.dumps({"sub_questions": [f"Q{n}?" for n in range(500)]}), [f"Q{n}?" for n in range(MAX_SUB_QUESTIONS)]),
    ],
)
def test_sub_questions(answer: str, expected: list[str]) -> None:
    found = decompose(says(answer), "Q?")
    assert (list(found.sub_questions), found.problem) == (expected, "")
    assert found.usage.calls == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot.",
        "{}",
        "[]",
        '{"sub_questions": []}',
        '{"sub_questions": "A?"}',
        '{"sub_questions": [null, {}]}',
        '{"sub_questions": null}',
        '{"error": "no"}',
        '{"sub_questions": [["A?"]]}',
        "null",
        "\x00",
        "[[[[",
        "{'a",
    ],
)
def test_an_answer_without_sub_questions_is_a_problem_and_no_error(answer: str) -> None:
    found = decompose(says(answer), "Q?")
    assert found.sub_questions == ()
    assert found.problem
    assert found.usage.calls == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"answer": "Northlight Labs"}', ("Northlight Labs", None)),
        ('{"answer": 1961}', ("1961", None)),
        ('[{"answer": "Oslo"}]', ("Oslo", None)),
        ('{"answer": "Oslo", "look_up": "Where is Oslo?"}', ("Oslo", None)),
        ('{"look_up": "Who is Ada\'s sister?"}', (None, "Who is Ada's sister?")),
        ('{"answer": null, "look_up": "Who?"}', (None, "Who?")),
        ('{"answer": null}', (None, None)),
        ('{"answer": null, "look_up": "N/A"}', (None, None)),
        ('{"answer": "Unknown."}', (None, None)),
        ('{"answer": ["a", "b"]}', (None, None)),
        ('{"answer": true}', (None, None)),
        (json.dumps({"answer": "y" * 10**5}), ("y" * LINE_CHARS, None)),
    ],
)
def test_readings(answer: str, expected: tuple[str | None, str | None]) -> None:
    found = read(says(answer), "Q?", [], "S?", [PASSAGE])
    assert ((found.answer, found.look_up), found.problem) == (expected, "")


@pytest.mark.parametrize("answer", ["", "Northlight Labs", "[]", '["a"]', '{"text": "a"}', '{"answer": "cut o'])
def test_a_malformed_reading_is_a_problem_and_no_error(answer: str) -> None:
    found = read(says(answer), "Q?", [], "S?", [PASSAGE])
    assert (found.answer, found.look_up, found.usage.calls) == (None, None, 1)
    assert found.problem


def test_the_model_sees_a_few_passages_of_limited_length() -> None:
    model = ScriptedChatModel(answers=['{"answer": "x"}'])
    passages = [Passage(id=str(n), title=f"T{n}", text="z" * 10**5) for n in range(50)]
    read(Chat(model), "Q?", [("S0?", "A0")], "S1?", passages)
    sent: dict[str, Any] = json.loads(model.calls[0][-1].text)
    assert sent["known"] == [{"question": "S0?", "answer": "A0"}]
    assert (sent["question"], sent["sub_question"]) == ("Q?", "S1?")
    assert [len(passage["text"]) for passage in sent["passages"]] == [READ_CHARS] * READ_PASSAGES


@pytest.mark.parametrize(
    ("planned", "number", "answers", "expected"),
    [
        ("Who leads #1?", 2, {1: "Labs"}, ("Who leads Labs?", {"#1": "Labs"}, [])),
        ("Who leads #1 ?", 2, {}, ("Who leads ?", {}, [1])),
        ("#1 >> performer", 2, {1: "Green"}, ("Green >> performer", {"#1": "Green"}, [])),
        ("Green >> performer", 1, {}, ("Green >> performer", {}, [])),
        ("#1 and #2 and #1", 3, {1: "a", 2: "b"}, ("a and b and a", {"#1": "a", "#2": "b"}, [])),
        ("#1 and #2", 3, {2: "b"}, ("and b", {"#2": "b"}, [1])),
        ("#2 of #1 and #2", 3, {}, ("of and", {}, [2, 1])),
        ("the #1 song of 1984", 1, {}, ("the #1 song of 1984", {}, [])),
        ("#3 of #1", 2, {1: "x"}, ("#3 of x", {"#1": "x"}, [])),
        ("#1", 2, {1: "see #2 and \\1 \\g<0>"}, ("see #2 and \\1 \\g<0>", {"#1": "see #2 and \\1 \\g<0>"}, [])),
        ("#12 #0 #1st", 2, {1: "x"}, ("#12 #0 #1st", {}, [])),
        ("#1的作者是谁？", 2, {1: "盐路"}, ("盐路的作者是谁？", {"#1": "盐路"}, [])),
        ("#1의 고용주는?", 2, {}, ("의 고용주는?", {}, [1])),
    ],
)
def test_references(
    planned: str, number: int, answers: dict[int, str], expected: tuple[str, dict[str, str], list[int]]
) -> None:
    assert filled(planned, number, answers) == expected
