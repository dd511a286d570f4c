"""Measures hippomem: retrieval on multi-hop questions, and what indexing and recall cost.

Uses the public API of `hippomem` only, as a user would. Nothing is imported here, so that the command line stays quick.
"""
