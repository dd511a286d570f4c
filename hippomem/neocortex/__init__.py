"""The neocortex: what understands language. Sentence encoders and extraction of entities and facts."""
