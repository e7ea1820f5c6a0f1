"""`python -m llm_timecycle` and the console script."""

from llm_timecycle.cli.main import main

if __name__ == "__main__":
    main()
