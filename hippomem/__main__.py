"""`hippomem` and `python -m hippomem`: the command line."""

import sys


def main() -> None:
    """The entry point `hippomem`."""
    try:
        from hippomem.cli import main as run  # takes a moment, in which one may think better of it

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
