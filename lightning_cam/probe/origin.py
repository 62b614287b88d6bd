"""`ProbeOrigin`: how a probe was made, for the start message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class ProbeOrigin:
    """What was taken for what when a probe was sampled; empty where it was given.

    Attributes:
        facts: by the name of the part, such as `labels`.
        notes: what should be known beside that, one sentence each.
        label_path: where in the batch the label is, such as `"[1]"`; empty where it has none.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    label_path: str = ""

    def with_note(self, note: str) -> ProbeOrigin:
        """Return the same with one more note, unless that is empty."""
        return replace(self, notes=[*self.notes, note]) if note else self

    def with_facts(self, facts: Mapping[str, str]) -> ProbeOrigin:
        """Return the same with more facts, or other ones of the same names."""
        return replace(self, facts={**self.facts, **facts})
