"""Wrong rules, objectives and budgets stop the start with line, value and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kernel.test_settings import GOOD, load
from tidemill.errors import SettingsError
from tidemill.settings import Settings

RULE = "    rules:\n      - {name: a, metric: error_rate, above: 0.2,\n         "
OBJECTIVE = "    objectives:\n      - {name: b, metric: error_rate, target: 0.99,\n         "
SLICES = "    slices: [tenant, attributes.language]\n"
BUDGET = "    budgets:\n      - {name: day, max_usd_per_day: 10,\n         "


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (RULE + "leave: 0.3}\n", 9, "rules.0.leave: rule 'a': leave (0.3) must be at most above (0.2); lower it"),
        (RULE + "no_data: alarm}\n", 9, "no_data: must be 'keep', 'ok' or 'alert' (got 'alarm')"),
        (RULE + "keep_firing_windows: 0}\n", 9, "greater than or equal to 1 (got 0)"),
        (RULE + "keep_firing: 3}\n", 9, "there is no such setting; did you mean 'keep_firing_windows'?"),
        (RULE + "statistic: p95}\n", 9, "'error_rate' has no p95, so the rule could never fire; leave statistic out"),
        (OBJECTIVE.replace("0.99", "99") + "}\n", 8, "target: 99.0 is no share between 0 and 1; for 99 % write 0.99"),
        (OBJECTIVE.replace("0.99", "0.9") + "}\n", 8, "begins at 14.4; set at least 0.931, or use a rule instead"),
        (OBJECTIVE.replace("error_rate", "e2e_ms") + "}\n", 8, "metric: 'e2e_ms' needs slower_than_ms"),
        (OBJECTIVE.replace("error_rate", "quality") + "}\n", 8, "no good and bad answers; choose one of error_rate"),
        (OBJECTIVE + "window_days: 1}\n", 9, "greater than or equal to 7 (got 1)"),
        (OBJECTIVE + "slower_than_ms: 5}\n", 9, "'error_rate' is no duration; leave it out, or set metric to one of"),
        (OBJECTIVE + "}\n" + RULE.replace("name: a", "name: b_page") + "}\n", 8, "'b' makes an alarm 'b_page', and"),
        (BUDGET.replace("10", "0") + "}\n", 8, "max_usd_per_day: must be greater than 0 (got 0)"),
        (BUDGET + "shares: [1, 0.8]}\n", 9, "shares: [1.0, 0.8]: give shares above 0, each larger than the one before"),
        (BUDGET + "shares: []}\n", 9, "shares: []: give shares above 0"),
        (
            RULE + "slice: tenant}\n",
            9,
            "slice: 'tenant' names no slice; write <dimension>=<value>, such as tenant=acme",
        ),
        (RULE + "slice: tenant=acme}\n", 9, "slice: 'tenant' is not in the pipeline's slices; add it there"),
        (BUDGET + "each: tenant}\n", 9, "each: 'tenant' is not in the pipeline's slices; add it there"),
        (SLICES + BUDGET + "each: tenant, slice: tenant=a}\n", 10, "each: 'tenant' gives each slice this budget, and"),
        (
            SLICES + RULE.replace("error_rate", "input_unseen_share") + "slice: tenant=a}\n",
            9,
            "'input_unseen_share' is not measured by slice",
        ),
        (
            SLICES + RULE.replace("error_rate", "e2e_ms") + "statistic: p95, slice: tenant=a}\n",
            10,
            "slices have no p95; leave statistic out, or leave slice out",
        ),
        ("    slices: [tennant]\n", 7, "'tennant' parts no traffic; did you mean 'tenant'?"),
        ("    slices: [attributes.]\n", 7, "'attributes.' parts no traffic"),
        ("    slices: [tenant, tenant]\n", 7, "'tenant' is there twice; leave one out"),
        (
            SLICES
            + "    max_slices: 1\n"
            + RULE
            + "slice: tenant=a}\n      - {name: b, metric: cost, above: 1, slice: tenant=b}\n",
            8,
            "max_slices: 1 is less than the 2 values of tenant that rules and budgets name; set at least 2",
        ),
        (
            BUDGET + "}\n      - {name: day, max_usd_per_day: 5}\n",
            10,
            "'day' makes an alarm 'day_80', and there is one",
        ),
    ],
)
def test_a_wrong_level_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, GOOD + text)
    message = str(caught.value)
    assert words in message
    assert f"tidemill.yaml:{line}: pipelines.support." in message


def test_too_many_objectives_are_refused(tmp_path: Path) -> None:
    many = "".join(f"      - {{name: o{n}, metric: error_rate, target: 0.99}}\n" for n in range(17))
    with pytest.raises(SettingsError, match=r"tidemill\.yaml:7: pipelines\.support\.objectives: .* at most 16 items"):
        load(tmp_path, GOOD + "    objectives:\n" + many)


def test_what_was_right_before_is_right(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + RULE + "leave: 0.2, for_windows: 3}\n")
    assert isinstance(settings, Settings)
    (rule,) = settings.pipelines["support"].rules
    assert (rule.keep_firing_windows, rule.no_data) == (None, "keep")
