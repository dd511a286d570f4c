"""Ingest a folder and ask it a question whose answer lies in two files, beside plain similarity search."""

from pathlib import Path

from hippomem import Memory

NOTES = Path(__file__).parent / "brackwater" / "notes"
QUESTION = "For what feat is the first librarian of Whitlock Library celebrated?"

with Memory.open("brackwater.db") as memory:
    report = memory.ingest(NOTES, progress=True)
    print(f"{report.passages} new passages, {report.skipped} files unchanged, {len(report.failed)} failed")
    recall = memory.recall(QUESTION, k=3)
    print("with the graph:", ", ".join(p.title for p in recall.passages))
    print("by similarity: ", ", ".join(p.title for p in memory.recall(QUESTION, k=3, method="dense").passages))
    print(recall.paths[-1])
