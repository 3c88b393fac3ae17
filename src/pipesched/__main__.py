"""`python -m pipesched`, which the daemon uses to start its children."""

from pipesched.cli.main import main

if __name__ == "__main__":
    main()
