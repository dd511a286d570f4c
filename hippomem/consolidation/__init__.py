"""Consolidation: what a memory does with what it holds after it was added, in rounds of steps."""
