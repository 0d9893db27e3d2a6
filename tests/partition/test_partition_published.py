"""The published page is what the code decides by."""

from __future__ import annotations

from pathlib import Path

from rocketnpu.family import chips, family_of
from rocketnpu.inspect.stated import chips_page, stated_bounds
from rocketnpu.partition.published import page
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.family import RK3588_FAMILY
from rocketnpu.rockchip.lowering.lowering import LAYERS
from rocketnpu.rockchip.rules.means import MEANS
from rocketnpu.rockchip.rules.table import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "supported-operators.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(RK3588_FAMILY.published(), stated_bounds(RK3588_FAMILY)), (
        "run: rocketnpu operators --markdown > docs/supported-operators.md"
    )


def test_every_kind_with_rules_is_described_and_can_be_done() -> None:
    assert set(MEANS) == set(RULES)
    # Kinds with a plus are made by graph passes out of published ones.
    assert {kind for kind in LAYERS if "+" not in kind} <= set(RULES)


def test_unproven_rules_are_known_names() -> None:
    names = {value for key, value in vars(Unproven).items() if not key.startswith("_")}
    assert {name for means in MEANS.values() for name in means.unproven} <= names


def test_the_page_of_all_chips_is_up_to_date() -> None:
    families = [family_of(chip) for chip in chips()]
    text = PAGE.with_name("operators-by-chip.md").read_text()
    assert text == chips_page(families), "run: rocketnpu operators --by-chip > docs/operators-by-chip.md"
    assert "| MAX_POOL_2D | 0 | - | - |" in text
