import gzip
from pathlib import Path

import pyarrow
import pytest
import typer
from pyarrow.parquet import write_table

from jobs.mapping import read_mapping
from jobs.replay.command import replay
from jobs.replay.publish import Pace, Report, parse_speed, replay_files
from schemas.errors import UserMistake
from schemas.wire import decode_event

REPO = Path(__file__).resolve().parents[2]
TAOBAO = REPO / "infra" / "mappings" / "taobao.yaml"
DATA = REPO.parent / "shared" / "data"
MAP = "event: {user_id: user, action: what, ts: {from: at, time: epoch_s}, price: price}\n"
ROWS = [("a", "view", "1511658000", "12.5"), ("b", "cart", "1511658060", "3")]


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP)
    return path


def written(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def csv_text(rows=ROWS):
    return "user,what,at,price\n" + "".join(",".join(row) + "\n" for row in rows)


def run(mapping, *paths, limit=None):
    report, sent = Report(), []
    replay_files(paths, read_mapping(mapping), lambda e, v: sent.append(v), report, limit=limit)
    return report, [decode_event(value) for value in sent]


def test_csv_jsonl_and_parquet_of_the_same_rows_give_the_same_events(tmp_path, mapping):
    lines = '{"user":"a","what":"view","at":1511658000,"price":12.5}\n\n' + (
        '{"user":"b","what":"cart","at":"1511658060","price":"3"}\n'
    )
    table = pyarrow.table(
        {"user": ["a", "b"], "what": ["view", "cart"], "at": [1511658000, 1511658060],
         "price": [12.5, 3.0], "more": [1, 2]}
    )  # fmt: skip
    write_table(table, tmp_path / "x.parquet")
    events = [
        run(mapping, written(tmp_path / "x.csv", csv_text()))[1],
        run(mapping, written(tmp_path / "x.csv.gz", csv_text()))[1],
        run(mapping, written(tmp_path / "x.jsonl", lines))[1],
        run(mapping, tmp_path / "x.parquet")[1],
    ]
    stripped = [[(e.user_id, e.action, e.ts, e.price) for e in found] for found in events]
    assert stripped == [stripped[0]] * 4
    assert stripped[0][0] == ("a", "view", 1_511_658_000_000, 12.5)


def test_ids_are_the_same_in_a_second_replay_and_differ_between_files(tmp_path, mapping):
    first = written(tmp_path / "x.csv", csv_text())
    packed = written(tmp_path / "x.csv.gz", csv_text())
    other = written(tmp_path / "y.csv", csv_text())
    ids = [[event.event_id for event in run(mapping, path)[1]] for path in (first, packed, other)]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4


def test_a_refused_row_does_not_change_the_ids_of_the_others(tmp_path, mapping):
    whole = run(mapping, written(tmp_path / "x.csv", csv_text()))[1]
    holed = csv_text([("", *ROWS[0][1:]), ROWS[1]])
    assert run(mapping, written(tmp_path / "x.csv", holed))[1] == whole[1:]


def test_refused_rows_are_counted_by_reason_with_the_first_numbers(tmp_path, mapping):
    bad = csv_text([*ROWS, ("", "view", "1", "1"), ("c", "view", "noon", "1")])
    report, events = run(mapping, written(tmp_path / "x.csv", bad + "too,short\n"))
    assert len(events) == 2
    assert report.refused == {
        "user_id is empty": 1,
        "ts cannot be read": 1,
        "a row has not as many columns as the header": 1,
    }
    assert report.examples["user_id is empty"] == ["x.csv row 3"]
    assert report.rows == report.published + sum(report.refused.values()) == 5
    assert not report.lost_all


def test_broken_lines_of_jsonl_are_refused_and_the_rest_goes_on(tmp_path, mapping):
    good = b'{"user":"a","what":"view","at":1511658000}\n'
    path = written(tmp_path / "x.jsonl", b"{broken\n[1]\n\xff\n" + good)
    report, events = run(mapping, path)
    assert len(events) == 1
    assert report.refused == {"a row is no JSON object": 3}


def test_bytes_that_are_not_utf_8_are_refused(tmp_path, mapping):
    path = written(tmp_path / "x.csv", csv_text().encode() + b"c,view,1511658000,1\xff\n")
    assert sum(run(mapping, path)[0].refused.values()) == 1
    path = written(tmp_path / "x.csv", csv_text().encode().replace(b"cart", b"c\xffrt"))
    assert sum(run(mapping, path)[0].refused.values()) == 1


def test_nested_fields_of_jsonl_are_named_by_a_dotted_path(tmp_path, mapping):
    mapping.write_text(MAP.replace("price: price", "price: properties.price"))
    line = '{"user":"a","what":"view","at":1511658000,"properties":{"price":9}}\n'
    assert run(mapping, written(tmp_path / "x.jsonl", line))[1][0].price == 9


def test_the_limit_counts_rows_over_all_files(tmp_path, mapping):
    paths = [written(tmp_path / name, csv_text()) for name in ("x.csv", "y.csv")]
    assert run(mapping, *paths, limit=3)[0].rows == 3


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            "x.csv",
            "user,what\na,view\n",
            "has no column 'at', which the mapping names; it has",
        ),
        ("x.csv", "", "it has: none"),
        ("x.txt", "a", "say `format:` in the mapping"),
        ("x.parquet", "PAR0", "is no Parquet file"),
    ],
)
def test_a_file_that_does_not_fit_is_a_mistake(tmp_path, mapping, name, content, complaint):
    with pytest.raises(UserMistake) as refused:
        run(mapping, written(tmp_path / name, content))
    assert complaint in str(refused.value)


def test_a_packed_file_that_breaks_off_is_a_mistake(tmp_path, mapping):
    whole = gzip.compress(csv_text(ROWS * 500).encode())
    (tmp_path / "x.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserMistake, match="cannot be read to its end"):
        run(mapping, tmp_path / "x.csv.gz")


def test_speed_keeps_the_pace_of_what_happened():
    now = [100.0]
    pace = Pace(60, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    times = []
    for ts in (0, 60_000, 30_000, 180_000):
        pace.wait_for(ts)
        times.append(now[0] - 100)
    assert times == pytest.approx([0, 1, 1, 3])


def test_speeds_are_multiples_or_max():
    assert [parse_speed(text) for text in ("60x", "0.5x", "max")] == [60, 0.5, 0]
    for text in ("fast", "-1x", "nanx", "0x", "infx"):
        with pytest.raises(UserMistake, match="write a multiple such as 60x, or max"):
            parse_speed(text)


def test_the_command_fails_only_when_every_row_is_refused(tmp_path, mapping, capsys):
    replay([written(tmp_path / "x.csv", csv_text([*ROWS, ("", *ROWS[0][1:])]))], mapping,
           "max", None, dry_run=True)  # fmt: skip
    assert "2 published, 1 refused" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as stopped:
        replay([written(tmp_path / "x.csv", csv_text([("", "", "", "")]))], mapping,
               "max", None, dry_run=True)  # fmt: skip
    assert stopped.value.exit_code == 1
    assert "refused 1: user_id is empty; first: x.csv row 1" in capsys.readouterr().out


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of real data at {DATA}")


@needs_data
def test_the_taobao_extract_maps_whole():
    report, events = run(TAOBAO, DATA / "taobao_110300.csv.gz")
    assert (report.rows, report.refused) == (110_300, {})
    actions = [event.action for event in events]
    assert {name: actions.count(name) for name in set(actions)} == {
        "view": 98_361,
        "cart": 6_063,
        "favourite": 3_383,
        "purchase": 2_493,
    }
    assert len({event.event_id for event in events}) == 110_300
    assert len({event.user_id for event in events}) == 66_454
    assert len({event.item_id for event in events}) == 84_793
    assert len({event.item_category for event in events}) == 3_913
    assert (events[0].ts, events[0].source) == (1_511_658_000_000, "taobao")


@needs_data
def test_json_lines_of_strings_give_the_same_events_as_the_csv(tmp_path):
    mapping = tmp_path / "map.yaml"
    text = TAOBAO.read_text()
    renamed = {"user_id: user": "user_id: user_id", "item_id: item": "item_id: item_id",
               "category: category": "category: category_id", "epoch_s": "iso"}  # fmt: skip
    for old, new in renamed.items():
        assert old in text
        text = text.replace(old, new)
    mapping.write_text(text)
    _, of_json = run(mapping, DATA / "taobao_1000.jsonl")
    _, of_csv = run(TAOBAO, DATA / "taobao_110300.csv.gz", limit=1_000)
    plain = [[(e.user_id, e.action, e.ts, e.item_id, e.item_category) for e in events]
             for events in (of_json, of_csv)]  # fmt: skip
    assert plain[0] == plain[1]
    assert len(plain[0]) == 1_000
