"""From files to passages: what to read, how to read it, how to cut it."""
