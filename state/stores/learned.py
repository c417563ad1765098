"""What was learned, as a view shows it: absolute posteriors and mixes, and the challenger's losses.

Nothing is added up here. A record replaces the one of its key unless that is newer, by the count
that the stream itself goes by, so the view shows what decisions use and a replay changes nothing.
"""

from __future__ import annotations

from msgspec import Struct, field

from schemas.audit import Shadow
from schemas.control import ChannelMix, Posterior

Lesson = Posterior | ChannelMix


class Learned(Struct):
    """Posteriors and mixes by control key, and how the challenger does; None where not heard."""

    lessons: dict[str, Lesson] = field(default_factory=dict)
    shadow: Shadow | None = None

    def take(self, key: str, lesson: Lesson | None) -> None:
        """Put a record in the place of an older one; None withdraws it."""
        if lesson is None:
            self.lessons.pop(key, None)
            return
        held = self.lessons.get(key)
        if held is None or age(held) <= age(lesson):
            self.lessons[key] = lesson

    def take_shadow(self, shadow: Shadow) -> None:
        """Put what was told of the challenger in the place of what is older."""
        if self.shadow is None or self.shadow.ts <= shadow.ts:
            self.shadow = shadow


def age(lesson: Lesson) -> int:
    """What grows with every change of a record: the count of an arm, the time of a mix."""
    return lesson.version if isinstance(lesson, Posterior) else lesson.at_ms


def place_of(key: str) -> tuple[str, str]:
    """Campaign and the rest of a control key: ``posterior/c/sms`` → ``c``, ``posterior/sms``."""
    kind, _, name = key.partition("/")
    ends = min([place for sign in "/#" if (place := name.find(sign)) >= 0], default=len(name))
    return name[:ends], f"{kind}{name[ends:]}"
