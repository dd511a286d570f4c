"""The neocortex: what understands language (encoders, extraction, the chat model), and in neural_memory what learns."""
