"""Consolidation: spaced replay of what was remembered."""
