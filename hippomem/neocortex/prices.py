"""What models cost, in dollars for a million tokens in and out: examples of 2025, not kept up with.

Prices change: `llm_prices` (HIPPOMEM_LLM_PRICES) takes precedence, and is the only way to a cost for servers of one's
own. The cost of a model that is in neither is not known, which is not the same as 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hippomem.types import Usage

Price = tuple[float, float]
MILLION = 1_000_000
PRICES: Mapping[str, Price] = {
    "claude-3-5-haiku": (0.8, 4.0),
    "claude-haiku-4-5": (1.0, 5.0),
    "claude-sonnet-4": (3.0, 15.0),
    "claude-sonnet-4-5": (3.0, 15.0),
    "gemini-2.5-flash": (0.3, 2.5),
    "gemini-2.5-flash-lite": (0.1, 0.4),
    "gemini-2.5-pro": (1.25, 10.0),
    "gpt-3.5-turbo": (0.5, 1.5),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-5": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
}
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2}|\d{4}|latest)$")
BYTES_PER_TOKEN = 4.0  # of UTF-8, for models that nobody asked to count; English text has a little more


def price_of(identity: str, own: Mapping[str, Price], is_own_server: bool) -> Price | None:
    """The price of "provider:model", as `own` names it (with or without the provider), else as the table does."""
    model = identity.partition(":")[2] or identity
    for name in (identity, model):
        if name in own:
            return own[name]
    return None if is_own_server else PRICES.get(_DATE.sub("", model))


def cost_of(usage: Usage, price: Price | None) -> float | None:
    """Dollars; None without a price."""
    if price is None:
        return None
    return (usage.input_tokens * price[0] + usage.output_tokens * price[1]) / MILLION


def charged(usage: Usage, price: Price | None) -> float | None:
    """Dollars for a call that was made; None without a price, or where its server told no tokens."""
    return cost_of(usage, price) if usage.input_tokens or usage.output_tokens else None


def count_tokens(text: str) -> int:
    """How many tokens a text has, roughly."""
    return round(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) + 1
