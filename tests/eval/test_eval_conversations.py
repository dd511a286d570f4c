"""Files of conversations: what is read of them, what is counted, what is refused."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conversation_data import locomo_records, longmemeval_records
from eval_data import write

from hippomem import InvalidInputError, NotFoundError, SourceError
from hippomem_eval.conversation_formats import Conversation, Turn, conversation_of
from hippomem_eval.conversations import haystacks_of, load_conversations, select


def locomo() -> tuple[Conversation, ...]:
    return tuple(conversation_of(record, index) for index, record in enumerate(locomo_records()))


@pytest.mark.parametrize("name", ["c.json", "c.jsonl", "c.json.gz", "c.txt"])
def test_a_file_of_any_form_is_read(tmp_path: Path, name: str) -> None:
    conversations = load_conversations(write(tmp_path / name, locomo_records()))
    assert [conversation.id for conversation in conversations] == ["conv-1", "conv-2"]
    assert conversations == locomo()


@pytest.mark.parametrize(
    ("name", "questions", "notes"),
    [
        ("notes", [50] * 8, 489),
        ("more_notes", [40] * 5, 300),
        ("third_notes", [40] * 3, 180),
        ("chats", [40] * 3, 449),
        ("more_chats", [40] * 3, 479),
        ("assistant_chats", [40] * 3, 480),
        ("more_assistant_chats", [40] * 3, 480),
    ],
)
def test_our_own_memories_have_evidence_for_every_question(name: str, questions: list[int], notes: int) -> None:
    conversations = load_conversations(Path(__file__).parents[2] / "eval" / f"{name}.json")
    haystacks = haystacks_of(conversations, plain=True, one_index=False, adversarial=False)
    assert [len(haystack.questions) for haystack in haystacks] == questions
    assert sum(len(haystack.turns) for haystack in haystacks) == notes
    for haystack in haystacks:
        told = {turn.id for turn in haystack.turns}
        assert all(told >= set(haystack.evidence[question.id]) != set() for question in haystack.questions)


def test_what_no_memory_can_keep_is_read_as_a_replacement_character(tmp_path: Path) -> None:
    records = locomo_records()
    records[0]["conversation"]["session_2"][0]["text"] = "half a face \ud83d, a NUL \0, a whole one \U0001f600"
    records[0]["qa"][0]["question"] = "Whose face \ud83d is it?"
    first, _ = load_conversations(write(tmp_path / "c.json", records))
    assert first.turns[0].text == "half a face \ufffd, a NUL \ufffd, a whole one \U0001f600"
    assert first.questions[0].text == "Whose face \ufffd is it?"


def test_turns_of_locomo() -> None:
    first, _ = locomo()
    assert [turn.id.split("/")[1] for turn in first.turns] == ["D2:1", "D2:2", "D2:3", "D10:1", "D10:2", "D10:3"]
    assert first.turns[1] == Turn(
        "conv-1/D2:2",
        "Look at mine! [image: a photo of a parrot on a bicycle]",
        "conv-1",
        "Pavel",
        "session 2",
        datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
    )
    assert first.turns[3].time == datetime(2024, 3, 1, 0, 5, tzinfo=UTC)
    assert first.turns[5].line == "Runa: My sister opened a bakery in Tromso."
    assert first.turns[5].dated_line == "1 March 2024 Runa: My sister opened a bakery in Tromso."


def test_questions_of_locomo() -> None:
    first, second = locomo()
    categories = [question.category for question in first.questions]
    assert categories == ["single-hop", "multi-hop", "open-domain", "adversarial", "temporal"]
    assert [question.id for question in second.questions] == ["conv-2/q1", "conv-2/q2", "conv-2/q3"]


def test_evidence_is_read_where_it_is_clear_and_counted_where_not() -> None:
    first, second = locomo()
    assert first.questions[1].evidence == ("conv-1/D2:1", "conv-1/D2:2", "conv-1/D10:3")
    # "D" names nothing, "D9:9" is not there; a question without evidence is no malformed one.
    assert (first.malformed_evidence, second.malformed_evidence) == (2, 0)


def test_longmemeval() -> None:
    first, second = (conversation_of(record, index) for index, record in enumerate(longmemeval_records()))
    assert [(turn.id, turn.session) for turn in first.turns] == [
        ("7a1/answer_1_1", "session 1"),
        ("7a1/answer_1_3", "session 1"),
        ("7a1/later_1", "session 2"),
        ("7a1/later_2", "session 2"),
    ]
    assert first.turns[0].time == datetime(2023, 5, 20, 2, 21, tzinfo=UTC)
    assert first.turns[3].line == "assistant: The Tisza."
    (question,) = first.questions
    assert (question.category, question.evidence) == ("single-session-user", ("7a1/answer_1_1",))
    assert second.questions[0].category == "abstention"
    assert second.questions[0].is_adversarial


def test_sessions_of_one_name_are_told_apart() -> None:
    record = longmemeval_records()[0] | {"haystack_session_ids": ["same", "same"]}
    assert len({turn.id for turn in conversation_of(record, 0).turns}) == 4


def test_evidence_without_a_text_is_malformed() -> None:
    record = longmemeval_records()[0]
    record["haystack_sessions"][1][1]["has_answer"] = True
    assert conversation_of(record, 0).malformed_evidence == 1


def test_what_is_not_given_is_made_up_or_left_empty() -> None:
    said = [{"text": "One."}, {"text": "Two.", "speaker": "A"}]
    record = {"conversation": {"session_1": said}, "qa": [{"question": "Q?", "evidence": "D1:2", "category": 9}]}
    found = conversation_of(record, 3)
    assert [turn.id for turn in found.turns] == ["conversation-3/D1:1", "conversation-3/D1:2"]
    assert (found.turns[0].line, found.turns[1].dated_line) == ("One.", "A: Two.")
    assert (found.questions[0].category, found.questions[0].evidence) == ("category 9", ("conversation-3/D1:2",))


def broken_locomo(**sessions: Any) -> dict[str, Any]:
    return {"sample_id": "c", "conversation": sessions, "qa": []}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "holds no conversations"),
        ("text", "is not a list"),
        ([5], "record 0 is not an object"),
        ([{"id": "q", "paragraphs": []}], "neither of LoCoMo"),
        ([{}], "it has no fields"),
        ([{"conversation": [], "qa": []}], "conversation is not an object"),
        ([{"conversation": {}, "qa": {}}], "qa is not a list"),
        ([{"conversation": {}, "qa": [{"question": " "}]}], "question 1 has no text"),
        ([broken_locomo(session_1="hello")], "session_1 is not a list"),
        ([broken_locomo(session_1=[], session_1_date_time="yesterday")], "cannot be read: 'yesterday'"),
        ([broken_locomo(session_1=[], session_1_date_time="9:00 am on 31 June, 2023")], "cannot be read"),
        ([broken_locomo(session_1=[], session_1_date_time="19:00 am on 3 June, 2023")], "cannot be read"),
        ([broken_locomo(session_1=[], session_1_date_time=1683554160)], "cannot be read: '1683554160'"),
        ([broken_locomo(session_1=[{"dia_id": "D1:1", "text": "a"}] * 2)], "second turn 'D1:1'"),
        ([broken_locomo(), broken_locomo()], "2 conversations called 'c'"),
        ([{"question_id": "q", "question": "Q?", "haystack_sessions": {}}], "haystack_sessions is not a list"),
        ([{"question_id": "q", "question": "Q?", "haystack_sessions": [5]}], "session 0 is not a list"),
        ([{"question": "Q?", "haystack_sessions": [[]], "haystack_dates": []}], "haystack_dates is not a list of 1"),
        ([{"question": "Q?", "haystack_sessions": [[]], "haystack_dates": ["soon"]}], "cannot be read: 'soon'"),
        ([{"haystack_sessions": []}], "has no text"),
    ],
)
def test_malformed_files_are_told(tmp_path: Path, data: object, message: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(data))
    with pytest.raises(SourceError, match=r"c\.json") as caught:
        load_conversations(path)
    assert message in str(caught.value)


def test_damaged_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"[" * 100)[:-4])
    with pytest.raises(SourceError, match="is damaged"):
        load_conversations(tmp_path / "cut.gz")
    with pytest.raises(NotFoundError, match="there is no file"):
        load_conversations(tmp_path / "none.json")


def test_conversations_are_chosen_by_place_or_id() -> None:
    both = locomo()
    assert select(both, []) == both
    assert select(both, ["1", "conv-1", "0"]) == both
    assert select(both, ["conv-2"]) == both[1:]
    for unknown in ("2", "-1", "conv-3"):
        with pytest.raises(InvalidInputError, match="places from 0 to 1"):
            select(both, [unknown])


def test_each_conversation_is_a_haystack_with_its_own_questions() -> None:
    first, second = haystacks_of(locomo())
    assert (first.name, second.name) == ("conv-1", "conv-2")
    assert [question.id for question in first.questions] == ["conv-1/q1", "conv-1/q2", "conv-1/q5"]
    assert [question.id for question in second.questions] == ["conv-2/q1", "conv-2/q2", "conv-2/q3"]


def test_adversarial_questions_are_asked_on_demand() -> None:
    first, _ = haystacks_of(locomo(), adversarial=True)
    assert [question.category for question in first.questions][2] == "adversarial"


def test_a_limit_keeps_the_first_questions_and_what_they_are_asked_of() -> None:
    (first,) = haystacks_of(locomo(), limit=2)
    assert (first.name, len(first.questions), len(first.turns)) == ("conv-1", 2, 5)


def test_turns_that_are_remembered_alike_are_one() -> None:
    first, _ = haystacks_of(locomo())
    # "Thanks!" twice in one session: the second cannot be told from the first, and is found by it.
    assert "conv-1/D10:2" not in [turn.id for turn in first.turns]
    assert first.evidence["conv-1/q5"] == ("conv-1/D10:1",)


def test_plain_turns_have_nothing_but_their_text() -> None:
    (both,) = haystacks_of(locomo(), plain=True, one_index=True)
    assert both.turns[0] == Turn("conv-1/D2:1", "I adopted a greyhound called Basil yesterday.")
    assert (both.turns[0].line, both.turns[0].dated_line) == (both.turns[0].text,) * 2
    assert (both.name, len(both.turns), len(both.questions)) == ("default", 8, 6)


def test_no_question_with_evidence_is_told() -> None:
    record = locomo_records()[0] | {"qa": []}
    with pytest.raises(InvalidInputError, match="no question with evidence"):
        haystacks_of([conversation_of(record, 0)])


def test_the_published_conversations(shared_data: Path) -> None:
    conversations = load_conversations(shared_data / "locomo" / "locomo10_conv0-4.json.gz")
    haystacks = haystacks_of(conversations)
    assert sum(len(conversation.turns) for conversation in conversations) == 2760
    assert sum(len(haystack.questions) for haystack in haystacks) == 760
    assert sum(conversation.malformed_evidence for conversation in conversations) == 2
    assert all(turn.time for conversation in conversations for turn in conversation.turns)
