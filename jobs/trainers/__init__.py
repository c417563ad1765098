"""The trainers. A new one is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from typing import Final

from jobs.trainers import contact, ctr_study, forecast, gender, purchase, region
from jobs.trainers.base import Trainer

TRAINERS: Final[dict[str, Trainer]] = {
    "ctr": ctr_study.TRAINER,
    "purchase": purchase.TRAINER,
    "gender": gender.TRAINER,
    "region": region.TRAINER,
    "contact": contact.TRAINER,
    "visitors": forecast.VISITORS,
    "sales": forecast.SALES,
}
"""Name, which is also the model's id → trainer."""
