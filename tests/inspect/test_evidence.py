"""The table of hardware rules: complete, pinned by tests that exist, printed, and enforced on devices."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspect_models import chain_picture, chain_program
from rocketnpu.cli import main
from rocketnpu.delegate.options import parse
from rocketnpu.delegate.session import Session
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.evidence import OPTIONAL, PROVEN, Evidence
from rocketnpu.inspect.evidence_page import evidence_page
from rocketnpu.policy import Policy
from rocketnpu.rockchip.evidence import TABLE, Unproven
from rocketnpu.rockchip.risks import RISKS

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = {value for name, value in vars(Unproven).items() if name.isupper()}


class PretendedNpu(SimulatorDevice):
    """The simulator under the name of a device that can break."""

    name = "rocket"


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("rule", TABLE.rules.values(), ids=list(TABLE.rules))
def test_every_rule_is_pinned_by_a_test_that_exists(rule) -> None:
    path, _, name = rule.test.partition("::")
    assert name.startswith("test_")
    assert name in functions(CHECKOUT / path)
    assert rule.statement.endswith(".")
    assert rule.source


def test_every_name_that_a_task_can_carry_is_described() -> None:
    assert {rule.name for rule in TABLE.sections[OPTIONAL]} == NAMES
    assert all(TABLE.rules[name].optional and not TABLE.rules[name].is_proven for name in NAMES)


def test_names_are_unique() -> None:
    assert len(TABLE.rules) == sum(len(rules) for rules in TABLE.sections.values())


def test_assumptions_that_every_program_relies_on_are_only_about_what_it_avoids() -> None:
    """What is merely assumed, and not optional, is about padding, saturation and defects, or the simulator's own."""
    always = {rule.name for rule in TABLE.rules.values() if rule.evidence is Evidence.ASSUMED and not rule.optional}
    assert always == {
        "pointer-bit",
        "written-padding",
        "written-outside",
        "stage-saturation",
        "depthwise-pad-lanes",
        "offset-ties",
        "spoiled-output",
    }


def test_the_page_is_up_to_date() -> None:
    page = CHECKOUT / "docs" / "hardware" / "evidence.md"
    assert page.read_text() == evidence_page(TABLE, RISKS), "print it anew: rocketnpu evidence --page evidence"


def test_proven_rules_pass_and_others_are_named() -> None:
    policy = Policy("mainline", allow_unproven=False)
    TABLE.refuse_unproven(["row-entries", "surfaces"], "rocket", policy)
    known, unknown = r"dilation \(recorded on a relative\)", r"invented \(unknown\)"
    with pytest.raises(DeviceError, match=rf"rocket: .* {known}; {unknown}\. .*--allow-unproven"):
        TABLE.refuse_unproven(["row-entries", "dilation", "invented"], "rocket", policy)


def allowed(rule: str, *policies: Policy) -> list[bool]:
    return [TABLE.allows(rule, policy) for policy in policies]


def test_what_a_policy_allows() -> None:
    """Proven by the chip or by the board: always. Refuted there: never. What may hang a board: only when proven."""
    simulator, mainline, vendor = Policy(), Policy("mainline", False), Policy("vendor", False)
    asked = Policy("mainline", True)
    assert allowed("surfaces", simulator, mainline, vendor) == [True, True, True]
    assert allowed("dilation", simulator, mainline, vendor, asked) == [True, False, False, True]
    assert allowed("invented", mainline, asked) == [False, True]
    assert allowed("elementwise-multiply", simulator, mainline, vendor, asked) == [True, False, True, True]
    assert allowed(Unproven.FLYING_START, simulator, mainline, vendor, asked) == [True, False, True, False]
    for rule in ("dilation", Unproven.FLYING_START):
        proven, refuted = ({"proven": frozenset({rule})}, {"refuted": frozenset({rule})})
        assert allowed(rule, replace(mainline, **proven), replace(asked, **refuted)) == [True, False]
        with pytest.raises(DeviceError, match=f"that this board refuted: {rule}"):
            TABLE.refuse_unproven([rule], "rocket", replace(asked, **refuted))
    with pytest.raises(DeviceError, match=r"prove them on this board .*for flying-start may hang it"):
        TABLE.refuse_unproven([Unproven.FLYING_START], "rocket", asked)


def test_evidence_has_one_order_of_strength() -> None:
    assert [kind for kind in Evidence if kind in PROVEN] == [Evidence.SILICON, Evidence.DRIVER]
    assert not any(kind in PROVEN for kind in (Evidence.RELATIVE, Evidence.REPORTED, Evidence.VENDOR_KERNEL))


def test_a_device_refuses_a_program_that_needs_an_unproven_rule() -> None:
    program = replace(chain_program(), rules=(Unproven.DILATION,))
    with PretendedNpu() as device:
        with pytest.raises(DeviceError, match="dilation"):
            PlacedProgram(device, program)
        assert device._arrays == {}, "refused before anything is allocated"
        (allowed,) = run(device, program, [chain_picture()], allow_unproven=True)
    with SimulatorDevice() as device:
        (simulated,) = run(device, program, [chain_picture()])
    np.testing.assert_array_equal(allowed, simulated)


@pytest.mark.parametrize(("asked", "allowed"), [({}, False), ({"allow_unproven": "yes"}, True)])
def test_the_delegate_compiles_for_an_npu_with_proven_rules_unless_asked(asked: dict, allowed: bool) -> None:
    with PretendedNpu() as device:
        assert Session(parse(asked), device, None)._policy.allow_unproven is allowed
    with SimulatorDevice() as device:
        assert Session(parse(asked), device, None)._policy.allow_unproven is True


def test_programs_say_which_rules_they_need() -> None:
    assert chain_program().rules == (Unproven.CEILING,)  # RELU6 above what the output's scale covers


def test_the_verb_prints_all_or_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["evidence"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in TABLE.rules)
    assert main.run(["evidence", "dilation", "--json"]) == 0
    (rule,) = json.loads(capsys.readouterr().out)
    assert (rule["name"], rule["evidence"], rule["optional"]) == ("dilation", "recorded on a relative", True)
    assert main.run(["evidence", "nothing"]) == 2
    assert main.run(["evidence", "--page", "evidence"]) == 0
    assert capsys.readouterr().out == evidence_page(TABLE, RISKS)


def test_the_readme_counts_the_rules() -> None:
    rules = TABLE.rules.values()
    proven = sum(rule.evidence in PROVEN for rule in rules)
    told = " ".join((CHECKOUT / "README.md").read_text().split())
    assert f"of {len(rules)} rules {proven} were recorded" in told
    assert f"{len(rules) - proven} rest on" in told
