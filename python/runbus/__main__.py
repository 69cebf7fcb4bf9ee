"""`python -m runbus`: what `runbus` is, where its program is not in `PATH`."""

from __future__ import annotations

from runbus.cli.__main__ import main

if __name__ == "__main__":
    main()
