"""Conversations of our own writing, in the shapes of LoCoMo and of LongMemEval; and an encoder without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hippomem.neocortex.encoder import Encoded, Span, Vectors


def locomo_records() -> list[dict[str, Any]]:
    """Two conversations, nine turns, six questions with evidence that are not adversarial."""
    return [
        {
            "sample_id": "conv-1",
            "conversation": {
                "speaker_a": "Runa",
                "speaker_b": "Pavel",
                # Ten comes behind two: sessions are numbered, not spelled.
                "session_10_date_time": "12:05 am on 1 March, 2024",
                "session_10": [
                    {"speaker": "Pavel", "dia_id": "D10:1", "text": "Thanks!"},
                    {"speaker": "Pavel", "dia_id": "D10:2", "text": "Thanks!"},
                    {"speaker": "Runa", "dia_id": "D10:3", "text": "My sister opened a bakery in Tromso."},
                ],
                "session_2_date_time": "1:56 pm on 8 May, 2023",
                "session_2": [
                    {"speaker": "Runa", "dia_id": "D2:1", "text": "I adopted a greyhound called Basil yesterday."},
                    {
                        "speaker": "Pavel",
                        "dia_id": "D2:2",
                        "text": "Look at mine!",
                        "blip_caption": "a photo of a parrot on a bicycle",
                    },
                    {"speaker": "Pavel", "dia_id": "D2:3", "text": "I am learning the accordion."},
                ],
            },
            "qa": [
                {"question": "What is Runa's dog called?", "answer": "Basil", "evidence": ["D2:1"], "category": 4},
                {
                    "question": "Which pets were shown?",
                    "answer": "a dog, a parrot",
                    "evidence": ["D2:1; D2:2", "D:10:3", "D", "D9:9"],
                    "category": 1,
                },
                {"question": "Does Pavel like jazz?", "answer": "perhaps", "evidence": [], "category": 3},
                {
                    "question": "What is Pavel's dog called?",
                    "adversarial_answer": "x",
                    "evidence": ["D2:1"],
                    "category": 5,
                },
                {"question": "When did Pavel say thanks?", "answer": "March", "evidence": ["D10:2"], "category": 2},
            ],
        },
        {
            "sample_id": "conv-2",
            "conversation": {
                "session_1_date_time": "9:00 am on 2 January, 2022",
                "session_1": [
                    {"speaker": "Ilse", "dia_id": "D1:1", "text": "I play the harp in an orchestra."},
                    {"speaker": "Omar", "dia_id": "D1:2", "text": "I moved from Fez to Lisbon in May."},
                    {"speaker": "Ilse", "dia_id": "D1:3", "text": "Wow."},
                ],
            },
            "qa": [
                {"question": "Where does Omar live now?", "answer": "Lisbon", "evidence": ["D1:2"], "category": 4},
                {"question": "What does Ilse play?", "answer": "harp", "evidence": ["D1:1"], "category": 4},
                {"question": "When did Omar move?", "answer": "May", "evidence": ["D1:2"], "category": 2},
            ],
        },
    ]


def longmemeval_records() -> list[dict[str, Any]]:
    """Two questions with a history each; the sessions of the first are out of order."""
    return [
        {
            "question_id": "7a1",
            "question_type": "single-session-user",
            "question": "Which instrument did I buy?",
            "answer": "a viola",
            "question_date": "2023/06/01 (Thu) 10:00",
            "haystack_session_ids": ["later", "answer_1"],
            "haystack_dates": ["2023/05/30 (Tue) 23:40", "2023/05/20 (Sat) 02:21"],
            "haystack_sessions": [
                [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Tisza."}],
                [
                    {"role": "user", "content": "My new instrument is a viola.", "has_answer": True},
                    {"role": "assistant", "content": "", "has_answer": False},
                    {"role": "assistant", "content": "Enjoy it!", "has_answer": False},
                ],
            ],
            "answer_session_ids": ["answer_1"],
        },
        {
            "question_id": "7a2_abs",
            "question_type": "multi-session",
            "question": "Which drum did I buy?",
            "answer": "You did not mention a drum.",
            "question_date": "2023/06/01 (Thu) 10:00",
            "haystack_session_ids": ["answer_1"],
            "haystack_dates": ["2023/05/20 (Sat) 02:21"],
            "haystack_sessions": [[{"role": "user", "content": "I bought a viola today.", "has_answer": True}]],
            "answer_session_ids": ["answer_1"],
        },
    ]


class TableEncoder:
    """An encoder that knows its few texts by heart: the vectors are given, and L2-normalised here."""

    identity = "table"

    def __init__(self, table: Mapping[str, Sequence[float]]) -> None:
        self.table = {text: np.array(v, np.float32) / np.float32(np.linalg.norm(v)) for text, v in table.items()}
        self.questions = 0

    def encode_passages(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Encoded]:
        return [Encoded(self.table[text], np.empty((0, 2), np.float32)) for text in texts]

    def encode_query(self, text: str) -> Vectors:
        self.questions += 1
        return self.table[text]
