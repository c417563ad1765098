"""Redis: the hot view, for a look-up within a millisecond.

Two keys for each customer, always written together:

* ``user:{id}:behavior_tags``, a hash with a field for each behaviour tag, and ``event_ms`` and
  ``revision``, which tell how old they are;
* ``user:{id}:profile``, every known dimension as one JSON object.

``{id}`` is the customer's id as it is. No two customers share a key whatever their ids contain,
because what stands before and after the id is fixed and neither ending is an ending of the other.
The two keys of a customer lie in different slots of a Redis Cluster: use one primary.

What was learned has keys of its own: `state.stores.redis_learned`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from schemas.errors import StoreUnavailable
from schemas.wire import encode
from state.profile import catalogue
from state.stores import redis_learned
from state.stores.base import Batch, Entry, Shown, Update
from state.stores.behavior_tags import behavior_tags
from state.stores.learned import Learned
from state.tagging.base import Value

PIPELINE: Final = 500
TIMEOUT_S: Final = 2.0

# Equal versions are written again: it does no harm, and a release with new dimensions can refill
# the view by reading the topic from its start.
_PUT_UNLESS_OLDER: Final = """
local held = redis.call('HMGET', KEYS[1], 'event_ms', 'revision')
if held[1] then
  local ahead = tonumber(held[1]) - tonumber(ARGV[1])
  if ahead > 0 or (ahead == 0 and tonumber(held[2]) > tonumber(ARGV[2])) then return 0 end
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'event_ms', ARGV[1], 'revision', ARGV[2], unpack(ARGV, 4))
redis.call('SET', KEYS[2], ARGV[3])
return 1
"""


class _Document(msgspec.Struct):
    user_id: str
    event_ms: int
    revision: int
    dimensions: dict[str, Value]


class RedisView:
    """See the module; ``url`` is ``redis://host:port/db``."""

    UNFOLDS: ClassVar[bool] = True
    KEEPS_HISTORY: ClassVar[bool] = False
    SHOWS_LEARNED: ClassVar[bool] = True

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
        places = self._redis.connection_pool.connection_kwargs
        self._where = f"{places.get('host')}:{places.get('port')}"
        self._shas: dict[str, str] = {}

    def write(self, batch: Batch) -> None:
        """Take a batch in, in pipelines."""
        commands = [_erasure(user) for user in batch.erased]
        commands += [self._put(update) for update in batch.updates.values()]
        commands += redis_learned.commands(batch)
        for start in range(0, len(commands), PIPELINE):
            self._send(commands[start : start + PIPELINE])

    def read(self, user: str) -> Shown | None:
        """A customer, None for one who is not known."""
        try:
            found = self._redis.get(_profile_key(user))
        except RedisError as error:
            raise self._away(error) from error
        if found is None:
            return None
        document = _decode(found)
        known = document.dimensions
        dimensions = {each.name: known.get(each.name) for each in _CATALOGUE}
        return Shown(document.user_id, document.event_ms, document.revision, dimensions)

    def history(self, user: str, limit: int) -> list[Entry]:
        """Nothing: history is kept elsewhere."""
        return []

    def learned(self) -> Learned:
        """What was learned of every campaign."""
        try:
            return redis_learned.read(self._redis)
        except RedisError as error:
            raise self._away(error) from error

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()

    def _put(self, update: Update) -> tuple[Any, ...]:
        user = update.user_id
        known: dict[str, Value] = {
            name: value for name, value in update.dimensions.items() if value is not None
        }
        document = _Document(user, update.event_ms, update.revision, known)
        return (
            b"EVALSHA",
            _PUT_UNLESS_OLDER,  # its hash, once Redis has the script
            b"2",
            _tags_key(user),
            _profile_key(user),
            update.event_ms,
            update.revision,
            encode(document),
            *behavior_tags(update.dimensions),
        )

    def _send(self, commands: list[tuple[Any, ...]]) -> None:
        try:
            if not self._shas:
                self._load()
            refused = self._refused(commands)
            if isinstance(refused, NoScriptError):  # Redis was restarted or its scripts flushed
                self._load()
                refused = self._refused(commands)
        except RedisError as error:
            raise self._away(error) from error
        if refused is not None:
            raise self._away(refused)

    def _load(self) -> None:
        for script in (_PUT_UNLESS_OLDER, redis_learned.PUT_UNLESS_OLDER):
            self._shas[script] = self._redis.script_load(script)

    def _refused(self, commands: list[tuple[Any, ...]]) -> RedisError | None:
        """Send commands; the first error that Redis answered one of them with."""
        pipeline = self._redis.pipeline(transaction=False)
        for name, *rest in commands:
            if name == b"EVALSHA":
                rest[0] = self._shas[rest[0]]
            pipeline.execute_command(name, *rest)
        # Raised by the client, an error would quote the command, and with it a customer's data.
        answers = pipeline.execute(raise_on_error=False)
        return next((answer for answer in answers if isinstance(answer, RedisError)), None)

    def _away(self, error: RedisError) -> StoreUnavailable:
        said = str(error).rstrip(".")
        return StoreUnavailable(f"Redis at {self._where}: {type(error).__name__}: {said}")


def _tags_key(user: str) -> str:
    return f"user:{user}:behavior_tags"


def _profile_key(user: str) -> str:
    return f"user:{user}:profile"


def _erasure(user: str) -> tuple[Any, ...]:
    return b"DEL", _tags_key(user), _profile_key(user)


_CATALOGUE: Final = catalogue()
_decode: Final = msgspec.json.Decoder(_Document).decode
