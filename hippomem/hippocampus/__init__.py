"""The hippocampus: a knowledge graph of passages and entities, and recall by personalized PageRank."""
