"""``python -m rocketnpu``: the command ``rocketnpu``, where it is not on the path."""

from rocketnpu.cli.main import main

if __name__ == "__main__":
    main()
