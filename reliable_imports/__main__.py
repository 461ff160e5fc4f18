"""`python -m reliable_imports` is `reliable-imports`."""

from reliable_imports.cli.main import main

if __name__ == "__main__":
    main()
