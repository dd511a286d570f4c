"""Reading text in other processes, of this machine or of a cluster: encoding and extraction, which an ingest is made
of. What they read is written by the process that ingests.
"""
