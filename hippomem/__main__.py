"""`python -m hippomem`: the command line."""

from hippomem.cli import main

if __name__ == "__main__":
    main()
