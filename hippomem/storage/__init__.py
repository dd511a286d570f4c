"""The one truth: an SQL database. Differences between databases live in this package and nowhere else."""
