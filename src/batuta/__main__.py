"""`python -m batuta` is the command line."""

from __future__ import annotations

from batuta.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
