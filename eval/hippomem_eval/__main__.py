"""`python -m hippomem_eval`: the same as `hippomem eval`."""

from hippomem_eval.cli import app

if __name__ == "__main__":
    app(prog_name="hippomem eval")
