"""What was learned, in Redis: absolute values, never increments.

* ``arms:{campaign}``, a hash: ``posterior/{channel}`` for each arm and ``mix`` for the shares in
  force, in an experiment followed by ``/{experiment}/{variant}``, and a mix for a case by
  ``#{case}``. The values are the records of the control topic, as JSON.
* ``challenger``, a hash: ``shadow``, what the audit topic last told of the challenger, without its
  rows.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.audit import Shadow
from schemas.control import ChannelMix, Posterior, control_key
from schemas.wire import encode
from state.stores.base import Batch
from state.stores.learned import Learned, Lesson, age, place_of

ARMS: Final = "arms:"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"

# Equal ones are written again: of two batches with one count the later is right.
PUT_UNLESS_OLDER: Final = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local age = cjson.decode(held)[ARGV[2]]
  if age and age > tonumber(ARGV[3]) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 1
"""

_posterior: Final = msgspec.json.Decoder(Posterior).decode
_mix: Final = msgspec.json.Decoder(ChannelMix).decode
_shadow: Final = msgspec.json.Decoder(Shadow).decode


def commands(batch: Batch) -> list[tuple[Any, ...]]:
    """What brings the view up to date: first what was withdrawn, then the rest."""
    found: list[tuple[Any, ...]] = []
    for key in sorted(batch.withdrawn):
        campaign, field = place_of(key)
        found.append((b"HDEL", f"{ARMS}{campaign}", field))
    for key, lesson in batch.lessons.items():
        campaign, field = place_of(key)
        name = "version" if isinstance(lesson, Posterior) else "at_ms"
        found.append(_put(f"{ARMS}{campaign}", field, name, age(lesson), lesson))
    if batch.shadow is not None:
        told = replace(batch.shadow, rows=[])
        found.append(_put(CHALLENGER, SHADOW, "ts", told.ts, told))
    return found


def read(redis: Any) -> Learned:
    """All of it, as Redis has it."""
    found = Learned()
    for name in sorted(redis.scan_iter(f"{ARMS}*")):
        for field, value in redis.hgetall(name).items():
            lesson: Lesson = (_posterior if field.startswith(b"posterior") else _mix)(value)
            found.lessons[control_key(lesson)] = lesson
    told = redis.hget(CHALLENGER, SHADOW)
    found.shadow = None if told is None else _shadow(told)
    return found


def _put(key: str, field: str, name: str, at: int, record: Lesson | Shadow) -> tuple[Any, ...]:
    return b"EVALSHA", PUT_UNLESS_OLDER, b"1", key, field, name, at, encode(record)
