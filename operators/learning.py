"""The bandit's memory of one arm, without an engine: rewards in, a posterior out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from operators.shard import SEPARATOR
from schemas.control import Posterior, control_key
from schemas.learning import LABELS, Reward
from schemas.topics import CONTROL
from schemas.wire import encode

_decode_reward: Final = msgspec.json.Decoder(Reward).decode
_encode_arm: Final = msgspec.msgpack.Encoder().encode


class Arm(Struct, array_like=True):
    """Beta(``alpha``, ``beta``) over an arm's click-through, after ``version`` rewards."""

    alpha: float
    beta: float
    version: int = 0


_decode_arm: Final = msgspec.msgpack.Decoder(Arm).decode


class Learner:
    """Conjugate update of Beta posteriors, one arm at a time.

    An arm starts from the posterior already published for it (so that a job without its state
    forgets nothing), else from the prior. Bernoulli rewards: a click adds 1 to alpha, a window
    that closed without one adds 1 to beta. See Russo et al., "A Tutorial on Thompson Sampling",
    2018, section 3.
    """

    def __init__(
        self, prior: tuple[float, float], published: Mapping[str, Posterior] | None = None
    ) -> None:
        self._prior = prior
        self._published = {} if published is None else published

    def on_rewards(
        self, arm_key: str, state: bytes | None, rewards: Sequence[str]
    ) -> tuple[bytes, list[str]]:
        """Learn from a batch of rewards (JSON text) of the arm ``campaign/channel``.

        Returns the arm's new state and the posterior to publish, as ``topic ␟ key ␟ value``;
        nothing to publish when the batch taught nothing.
        """
        arm = self._arm(arm_key, state)
        before = arm.version
        newest_ms = 0
        for text in rewards:
            reward = _decode_reward(text.encode("latin-1"))
            newest_ms = max(newest_ms, reward.ts)
            if reward.kind not in LABELS:
                continue
            arm.alpha += reward.reward
            arm.beta += 1.0 - reward.reward
            arm.version += 1
        if arm.version == before:
            return _encode_arm(arm), []
        campaign, _, channel = arm_key.partition("/")
        posterior = Posterior(
            campaign,
            channel,  # type: ignore[arg-type]
            arm.alpha,
            arm.beta,
            arm.version,
            newest_ms,
        )
        value = encode(posterior).decode("latin-1")
        return _encode_arm(arm), [f"{CONTROL}{SEPARATOR}{control_key(posterior)}{SEPARATOR}{value}"]

    def _arm(self, arm_key: str, state: bytes | None) -> Arm:
        if state is not None:
            return _decode_arm(state)
        known = self._published.get(arm_key)
        if known is not None:
            return Arm(known.alpha, known.beta, known.version)
        return Arm(*self._prior)
