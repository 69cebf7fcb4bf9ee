"""The framed, checksummed file that facts are kept in (docs/reference/journal-format.md)."""

from __future__ import annotations

from runbus._core import Journal as Journal
from runbus._core import JournalReader as JournalReader

__all__ = ["Journal", "JournalReader"]
