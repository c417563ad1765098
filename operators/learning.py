"""What is learned of one campaign, without an engine: messages in, posteriors and mixes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from operators import names
from operators.records import SEPARATOR, Output
from schemas.control import ChannelMix, ControlRecord, Posterior, ShareSpan, control_key
from schemas.errors import InvalidRecord
from schemas.learning import Example, Reward
from schemas.learning_rules import CampaignRules
from schemas.topics import AUDIT, CONTROL, REWARDS
from schemas.wire import decode_control, encode
from scoring.learning import Lesson
from scoring.policies.base import arm_of
from state.learned import Learned, arm_key, mix_key, of_mix
from state.mix import Mix, Span

_read_reward: Final = msgspec.json.Decoder(Reward).decode
_read_example: Final = msgspec.json.Decoder(Example).decode
_read_rules: Final = msgspec.json.Decoder(CampaignRules).decode
_HEARD: Final = frozenset((REWARDS, names.EXPOSED, names.RULES))

Published = Mapping[str, Sequence[Posterior | ChannelMix]]
"""What was published of each campaign before this submission."""


class Learner:
    """Keeps the arms and mixes of campaigns, one campaign at a time.

    A campaign starts from what was already published of it, so that a job without its state forgets
    nothing; ``prior`` is what posteriors are stated with until the campaign's rules are heard.
    """

    def __init__(
        self, prior: tuple[float, float] = (1.0, 19.0), published: Published | None = None
    ) -> None:
        self._prior = prior
        self._published = {} if published is None else published

    def on_messages(
        self, campaign: str, state: bytes | None, messages: Iterable[str]
    ) -> tuple[bytes, list[Output]]:
        """Learn from a batch of one campaign: exposures, rewards and rules.

        A message is ``kind ␟ key ␟ value``: of `names.EXPOSED`, `names.RULES`, or a reward as it
        leaves for its topic. Returns the new state and what to publish: absolute posteriors
        of the arms that changed, mixes, what became of a plan in the last hour.
        """
        memory = self._start(campaign) if state is None else Learned.decode(state)
        lesson = Lesson(memory)
        for message in messages:
            kind, _, text = message.split(SEPARATOR, 2)
            raw = text.encode("latin-1")
            if kind == names.RULES:
                lesson.rule(_read_rules(raw))
            elif kind == names.EXPOSED:
                lesson.expose(_read_example(raw))
            else:
                lesson.reward(_read_reward(raw))
        outputs = [_gone(campaign, key) for key in lesson.gone]
        outputs += [_control(self._posterior(campaign, memory, key)) for key in sorted(lesson.arms)]
        for key, mix, update in lesson.plan():
            outputs.append(_control(_published_mix(campaign, key, mix, memory)))
            if update is not None:
                outputs.append(Output(AUDIT, campaign, encode(update)))
        return memory.encode(), outputs

    def _posterior(self, campaign: str, memory: Learned, key: str) -> Posterior:
        channel, _, variant = key.partition("|")
        arm, rules = memory.arms[key], memory.rules
        prior = self._prior if rules is None else (rules.prior_alpha, rules.prior_beta)
        return Posterior(
            campaign,
            channel,  # type: ignore[arg-type]
            prior[0] + arm.rewards,
            prior[1] + arm.exposures - arm.rewards,
            arm.changes,
            arm.newest_ms,
            variant=variant,
            newest_ms=arm.newest_ms,
            met=tuple(arm.met),
            won=tuple(arm.won),
        )

    def _start(self, campaign: str) -> Learned:
        memory = Learned()
        for record in self._published.get(campaign, ()):
            if isinstance(record, Posterior):
                arm = arm_of(record, self._prior)
                memory.arms[arm_key(record.channel, record.variant)] = arm
            else:
                past = tuple(Span(each.start_ms, each.least, each.most) for each in record.past)
                memory.mixes[mix_key(record.variant, record.case)] = Mix(
                    record.channels, record.shares, record.at_ms, past
                )
        return memory


def heard(outputs: Iterable[Output]) -> dict[str, list[str]]:
    """What `learn` hears of a batch's outputs, by campaign."""
    found: dict[str, list[str]] = {}
    for output in outputs:
        if output.topic in _HEARD:
            campaign = output.key.partition("/")[0]
            found.setdefault(campaign, []).append(output.message())
    return found


def published_in(control: Iterable[tuple[str, bytes]]) -> dict[str, list[Posterior | ChannelMix]]:
    """Posteriors and mixes among control records, by campaign."""
    found: dict[str, list[Posterior | ChannelMix]] = {}
    for key, value in control:
        if not key.startswith(("posterior/", "mix/")):
            continue
        try:
            record = decode_control(value)
        except InvalidRecord:
            continue  # `decide` refuses it too, and says so
        if isinstance(record, Posterior | ChannelMix):
            found.setdefault(record.campaign_id, []).append(record)
    return found


def _published_mix(campaign: str, key: str, mix: Mix, memory: Learned) -> ChannelMix:
    variant, case = of_mix(key)
    changes = sum(memory.arm(channel, variant).changes for channel in mix.arms)
    past = tuple([ShareSpan(each.start_ms, each.least, each.most) for each in mix.past])
    return ChannelMix(
        campaign,
        mix.arms,  # type: ignore[arg-type]
        mix.shares,
        changes,
        mix.at_ms,
        variant,
        case,
        past,
    )


def _gone(campaign: str, key: str) -> Output:
    """Withdraws the posterior of an arm that is no more."""
    channel, _, variant = key.partition("|")
    nothing = Posterior(campaign, channel, 1.0, 1.0, 0, variant=variant)  # type: ignore[arg-type]
    return Output(CONTROL, control_key(nothing))


def _control(record: ControlRecord) -> Output:
    return Output(CONTROL, control_key(record), encode(record))
