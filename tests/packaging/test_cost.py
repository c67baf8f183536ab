"""What a month costs: against sums made by hand, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from realtime_kit.cli import main
from realtime_kit.deployment import cost
from realtime_kit.deployment.cost import Load, estimates, prices, verdict


def by_name(load: Load):
    return {one.name: one for one in estimates(load)}


def test_ten_thousand_users_all_month():
    # 10,000 x 43,200 minutes = 432M; 100M deliveries; a ping and a pong each 540 s: 96M.
    found = by_name(Load(10_000, 1_000_000, 100, channels=1_000))
    aws = found["aws"]
    assert aws.items["connection minutes"] == pytest.approx(108)
    assert aws.items["deliveries"] == pytest.approx(100)
    assert aws.items["pings"] == pytest.approx(96)
    assert aws.items["HTTP requests"] == pytest.approx(1)
    # 432M / 107.5 = 4.02M connections begin: five messages each, 41 write units and 26 read units.
    # 43.2M looks at 1.3 read units; the list of 76 bytes each, every minute: 8.0M; the events: 3M.
    assert aws.items["greetings, subscriptions"] == pytest.approx(20.1, rel=0.01)
    written, read = 4.0186 * 41, 4.0186 * 26 + 43.2 * 1.3 + 432 * 76 / 4096 + 3
    assert aws.items["DynamoDB"] == pytest.approx(0.625 * written + 0.125 * read, rel=0.01)
    assert aws.items["Lambda"] == pytest.approx(7.5, rel=0.02)
    assert aws.total == pytest.approx(457.4, rel=0.001)
    assert aws.dominates == "DynamoDB"
    assert found["pusher"].items == {"plan Premium": 499}
    assert found["ably"].total == pytest.approx(29 + 252.5 + 432 + 43.2)
    assert found["appsync"].total == pytest.approx(101 + 34.56)
    assert "aws is the cheapest of the providers at $457" in verdict(list(found.values()))


def test_pings_decide_where_clients_are_not_told_otherwise():
    aws = by_name(Load(10_000, 1_000_000, 100, ping=120))["aws"]
    assert aws.items["pings"] == pytest.approx(432)
    assert aws.dominates == "pings"


def test_the_second_tier_of_messages():
    # 2,000M deliveries, no connections: 1,000 at $1.00 and 1,000 at $0.80.
    assert by_name(Load(0, 2_000_000, 1_000))["aws"].items["deliveries"] == pytest.approx(1_800)


def test_a_large_message_counts_for_several():
    small, large = (by_name(Load(0, 1_000, 1_000, size=size))["aws"] for size in (32_768, 32_769))
    assert large.items["deliveries"] == pytest.approx(2 * small.items["deliveries"])


@pytest.mark.parametrize(
    ("load", "plan"),
    [
        (Load(100, 0, 0), "plan Sandbox"),
        (Load(101, 0, 0), "plan Startup"),
        (Load(50, 0, 0, peak=600), "plan Pro"),
        (Load(10, 1_000_000, 5), "plan Sandbox"),
        (Load(10, 1_000_000, 29), "plan Startup"),
    ],
)
def test_the_smallest_plan_that_holds_it(load, plan):
    assert list(by_name(load)["pusher"].items) == [plan]


def test_what_nobody_lists_is_said():
    found = by_name(Load(20_000, 0, 0))
    assert found["pusher"].total is None
    assert found["ably"].total is None
    assert "no plan of others is as large" in verdict(list(found.values()))


def test_another_is_named_where_it_is_better():
    busy = list(by_name(Load(1_500, 3_000_000, 38)).values())
    assert verdict(busy).startswith("pusher is the better choice: $99 a month against $")
    assert "deliveries is the largest part" in verdict(busy)
    idle = verdict(list(by_name(Load(10_000, 100, 1)).values()))
    assert "AppSync Events would be $35: better yet, if you need neither presence" in idle


def test_nothing_costs_next_to_nothing_on_aws():
    """A sweep looks every minute whether somebody is there."""
    aws = by_name(Load(0, 0, 0))["aws"]
    sweeps = 30 * 24 * 60 / 1e6
    database = sweeps * (17 * 0.125 + 0.625)
    assert aws.items["DynamoDB"] == pytest.approx(database)
    assert aws.total == pytest.approx(database + aws.items["Lambda"])
    assert aws.total < 0.2


def test_short_visits_are_dear_on_aws():
    """A connection costs the same however long it lasts."""
    whole, short = (by_name(Load(10_000, 0, 0, session=minutes)) for minutes in (107.5, 10.75))
    for item in ("greetings, subscriptions", "DynamoDB"):
        once = by_name(Load(0, 0, 0))["aws"].items[item]
        looks = 43.2 * 1.3 * 0.125 + 432 * 76 / 4096 * 0.125 if item == "DynamoDB" else 0.0
        begun, begun_short = (each["aws"].items[item] - once - looks for each in (whole, short))
        assert begun_short == pytest.approx(10 * begun, rel=0.001)
    assert short["aws"].dominates == "DynamoDB"
    assert verdict(list(short.values())).startswith("ably is the better choice: $465 a month")
    assert short["pusher"] == whole["pusher"]


def test_no_connection_lasts_longer_than_the_sweep_lets_it():
    assert by_name(Load(10, 0, 0, session=600)) == by_name(Load(10, 0, 0))


def test_the_command_prints_tables_or_json():
    arguments = ["cost", "--connections", "10000", "--messages", "1000000", "--fanout", "100"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "plan Premium" in shown.stdout
    assert f"List prices of {prices()['as_of']}" in shown.stderr
    answer = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert answer["prices_as_of"] == prices()["as_of"]
    assert [one["name"] for one in answer["estimates"]] == ["aws", "pusher", "ably", "appsync"]
    assert answer["estimates"][0]["dominates"] == "DynamoDB"
    assert "cheapest" in answer["verdict"]


def test_the_documentation_shows_what_it_prints():
    arguments = ["cost", "--connections", "10000", "--messages", "1000000", "--fanout", "100"]
    shown = CliRunner().invoke(main, arguments).stdout
    page = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()
    lines = [line for line in shown.partition("pusher ")[0].splitlines() if line]
    assert len(lines) == 9
    for line in [*lines, shown.splitlines()[-1]]:
        assert " ".join(line.split()) in " ".join(page.split())


@pytest.mark.parametrize(
    ("load", "amounts"),
    [
        (Load(0, 0, 0), {"aws": "$0.16"}),
        (Load(200, 100_000, 10), {"aws": "$8", "ably": "$45"}),
        (Load(2_000, 1_000_000, 10), {"aws": "$83", "pusher": "$99"}),
        (Load(5_000, 1_000_000, 10), {"aws": "$189", "ably": "$277"}),
        (Load(10_000, 1_000_000, 100, session=30), {"aws": "$826", "pusher": "$499"}),
        (Load(10_000, 1_000_000, 100, session=10), {"aws": "$1,850"}),
        (Load(1_500, 3_000_000, 38), {"aws": "$174", "pusher": "$99"}),
    ],
)
def test_the_figures_of_the_documentation(load, amounts):
    page = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()
    found = by_name(load)
    for name, amount in amounts.items():
        digits = 2 if "." in amount else 0
        assert amount == f"${found[name].total:,.{digits}f}"
        assert re.search(rf"{re.escape(amount)}(?![.,]?\d)", page)


def test_what_dominates_is_as_the_documentation_has_it():
    page = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()
    connection = cost.WRITES_PER_CONNECTION * 0.625 + cost.READS_PER_CONNECTION * 0.125
    database = {
        minutes: by_name(Load(10_000, 1_000_000, 100, session=minutes))["aws"].items["DynamoDB"]
        for minutes in (10, cost.SESSION_MINUTES)
    }
    assert f"${connection:.0f} a million, however short it is" in page
    assert f"cost ${database[10]:,.0f} for DynamoDB alone" in page
    assert f"who stay all day ${database[cost.SESSION_MINUTES]:.0f}." in page


def test_what_makes_no_sense_is_refused():
    done = CliRunner().invoke(main, ["cost", "--connections", "-1", "--messages", "1"])
    assert done.exit_code == 2
