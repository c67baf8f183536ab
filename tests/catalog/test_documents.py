"""A catalogue as TypeScript and as AsyncAPI: what pydantic says, in their words."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, computed_field, model_serializer
from typing_extensions import TypedDict

from realtime_kit import Catalog, RealtimeEvent
from realtime_kit.catalog.asyncapi import asyncapi
from realtime_kit.catalog.schema import document
from realtime_kit.catalog.typescript import typescript


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Card(BaseModel):
    kind: Literal["card"]
    digits: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Node(BaseModel):
    """A tree; never a */ too early."""

    name: str
    children: list[Node] = []
    parent: Node | None = None


class Sizes(TypedDict):
    width: int
    height: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Box:
    label: str = "none"


class Open(BaseModel, extra="allow"):
    known: int


class Record(BaseModel):
    """Named like a type of TypeScript's own."""

    number: int


class string(BaseModel):
    text: str


class Everything(RealtimeEvent, channel="private-all-{id}"):
    id: int = Field(exclude=True)
    text: str
    whole: int
    real: float
    yes: bool
    nothing: None
    anything: Any
    colour: Colour
    level: Level
    literal: Literal["a", 1, None, 'quo"te']
    when: datetime
    day: date | None
    who: UUID
    price: Decimal
    many: list[int | None]
    pair: tuple[int, str]
    empty: tuple[()]
    any_length: tuple[int, ...]
    unique: set[str]
    named: dict[str, list[Colour]]
    loose: dict
    payment: Annotated[Card | Cash, Field(discriminator="kind")]
    tree: Node
    sizes: Sizes
    point: Point
    box: Box
    open: Open
    record: Record
    lower: string
    optional: int | None = None
    alias: int = Field(alias="a-li.as", description="one\ntwo */")

    @computed_field
    def twice(self) -> int:
        return 2 * self.whole


EVERYTHING = """\
export interface Everything {
  text: string;
  whole: number;
  real: number;
  yes: boolean;
  nothing: null;
  anything: unknown;
  colour: Colour;
  level: Level;
  literal: "a" | 1 | null | "quo\\"te";
  /** date-time */
  when: string;
  /** date */
  day: string | null;
  /** uuid */
  who: string;
  price: string;
  many: (number | null)[];
  pair: [number, string];
  empty: [];
  any_length: number[];
  unique: string[];
  named: { [key: string]: Colour[] };
  loose: { [key: string]: unknown };
  payment: Card | Cash;
  tree: Node;
  sizes: Sizes;
  point: Point;
  box: Box;
  open: Open;
  record: Record;
  lower: string_;
  optional: number | null;
  /**
   * one
   * two *\\/
   */
  "a-li.as": number;
  twice: number;
}
"""


def test_types_of_everything():
    text = typescript(Catalog(Everything))
    assert EVERYTHING in text
    assert 'export type Colour = "red" | "blue";' in text
    assert "export type Level = 1 | 2;" in text
    assert "export type Point = [number, number];" in text
    assert "/** A tree; never a *\\/ too early. */\nexport interface Node {" in text
    assert "  children: Node[];\n  parent: Node | null;\n" in text
    assert "  width: number;\n  height?: number;\n" in text
    assert "export interface Box {\n  label: string;\n}" in text, "a default is sent like others"
    assert "export type Open = {\n  known: number;\n} & { [key: string]: unknown };" in text
    assert "[channel: `private-all-${number}`]: {\n    everything: Everything;\n  };" in text


def test_what_a_serializer_makes_of_it_is_its_data():
    class Bare(RealtimeEvent, channel="news"):
        text: str

        @model_serializer
        def bare(self) -> list[str]:
            return [self.text]

    assert Bare(text="x").realtime_data() == ["x"]
    assert "export type Bare = string[];" in typescript(Catalog(Bare))


def test_output_does_not_depend_on_the_order(shop):
    forth, back = Catalog(*shop.kinds), Catalog(*reversed(shop.kinds))
    for write in (typescript, document, asyncapi):
        assert json.dumps(write(forth)) == json.dumps(write(back))


def test_two_models_of_one_name_are_two_types():
    def sent(name, field):
        model = type("Line", (BaseModel,), {"__annotations__": {field: int}, "__module__": name})
        return type(
            name.title(), (RealtimeEvent,), {"__annotations__": {"line": model}}, channel="n"
        )

    text = typescript(Catalog(sent("shop", "count"), sent("mail", "stamp")))
    found = re.findall(r"^export interface (\w*Line\w*) \{\n  (\w+): number;", text, re.MULTILINE)
    assert sorted(field for _, field in found) == ["count", "stamp"]
    assert len({name for name, _ in found}) == 2


# --- the event map --------------------------------------------------------------------------


def declared(name, channel, **fields):
    body = {"__annotations__": dict.fromkeys(("room", "number", *fields), Any) | fields}
    body |= {"room": Field(exclude=True), "number": Field(0, exclude=True)}
    return type(name, (RealtimeEvent,), body, name="said", channel=channel)


def test_a_narrower_channel_has_what_the_wider_says_too():
    wide = declared("Wide", "private-{room}", a=int)
    narrow = declared("Narrow", "private-{room}-{number:int}", b=int)
    lobby = type("Lobby", (RealtimeEvent,), {}, name="opened", channel="private-lobby")
    text = typescript(Catalog(wide, narrow, lobby))
    assert "[channel: `private-${string}`]: {\n    said: Wide | Narrow;\n  };" in text
    assert "[channel: `private-${string}-${number}`]: {\n    said: Wide | Narrow;\n  };" in text
    assert '"private-lobby": {\n    opened: Lobby;\n    said: Wide | Narrow;\n  };' in text


USAGE = """
import { connect } from "CLIENT/realtime.js";
import type { RealtimeEvents } from "./events.js";

const client = connect<RealtimeEvents>();
declare const id: number;
client.subscribe(`private-all-${id}`).on("everything", (data, meta) => {
  const exact: (string | null)[] = [data.day, data.colour, meta.id ?? null];
  const [first, second] = data.pair;
  const paid = data.payment.kind === "card" ? data.payment.digits.trim() : data.payment.kind;
  const roots: string[] = [data.tree, ...data.tree.children].map(({ name }) => name);
  const size: number | undefined = data.sizes.height;
  return [exact, first.toFixed(), second.trim(), paid, roots, size, data.open.whatever];
});
client.subscribe("private-orders-7").on("shipped", ({ order_id }) => order_id.toFixed());
client.subscribe("staff").on("team_changed", ({ size }) => size.toFixed());
client.subscribe("presence-room-1").whisper("typing", { on: true });
client.user.on("notice", ({ text }) => text.trim());
// @ts-expect-error it is a number
client.subscribe("private-orders-7").on("shipped", ({ order_id }) => order_id.trim());
// @ts-expect-error the field is only in the channel's name
client.subscribe("private-team-a").on("team_changed", ({ team }) => team);
// @ts-expect-error no whole number
client.subscribe("private-orders-x");
// @ts-expect-error no such event
client.subscribe("staff").on("shipped", () => {});
// @ts-expect-error one of two
client.subscribe("private-all-1").on("everything", ({ colour }) => colour === "green");
// @ts-expect-error not what it says
client.subscribe("presence-room-1").whisper("typing", { on: "yes" });
"""


@pytest.mark.node
def test_typescript_takes_it_and_the_client_uses_it(shop, checkout, tmp_path):
    wide = declared("Wide", "private-{room}", a=int)
    narrow = declared("Narrow", "private-{room}-{number:int}", b=int)
    text = typescript(Catalog(*shop.kinds, Everything, wide, narrow))
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide" / "events.ts").write_text(text)
    (tmp_path / "events.ts").write_text(typescript(Catalog(*shop.kinds, Everything)))
    client = checkout / "realtime_kit" / "client"
    (tmp_path / "usage.ts").write_text(USAGE.replace("CLIENT", str(client)))
    assert compiled(tmp_path, checkout) == ""


# --- AsyncAPI -------------------------------------------------------------------------------


@pytest.mark.node
def test_asyncapi_s_own_schema_takes_it(shop, checkout):
    made = asyncapi(Catalog(*shop.kinds, Everything, title="Shop", version="2.1.0"))
    assert made["info"] == {"title": "Shop", "version": "2.1.0"}
    assert valid(made, checkout) == ""
    made["components"]["schemas"]["Node"]["type"] = "tree"
    assert "/components/schemas/Node/type" in valid(made, checkout)


def valid(made, checkout) -> str:
    validate = ["node", "tests/catalog/validate.mjs"]
    done = subprocess.run(
        validate, cwd=checkout, input=json.dumps(made), capture_output=True, text=True, timeout=60
    )
    assert bool(done.stderr) == bool(done.returncode)
    return done.stderr


def test_asyncapi_says_who_sends_what_where(shop):
    made = asyncapi(shop.catalog)
    orders = made["channels"]["private-orders-order_id"]
    assert orders["address"] == "private-orders-{order_id}"
    assert orders["parameters"] == {"order_id": {"description": "A whole number."}}
    assert made["components"]["messages"]["OrderShipped"] == {
        "name": "shipped",
        "title": "OrderShipped",
        "payload": {"$ref": "#/components/schemas/OrderShipped"},
    }
    assert made["channels"]["server-to-user-user_id"]["address"] is None
    assert made["channels"]["presence-room-room"]["address"] == "presence-room-{room}"
    assert set(made["operations"]) == {
        "send-private-orders-order_id", "send-private-team-team", "send-server-to-user-user_id",
        "send-staff",
    }, "the application sends no whispers"  # fmt: skip
    assert made["components"]["schemas"]["OrderShipped"] == {
        "title": "OrderShipped",
        "description": "An order is on its way.",
        "type": "object",
        "properties": {
            "order_id": {"type": "integer", "exclusiveMinimum": 0},
            "carrier": {"type": "string"},
        },
        "required": ["order_id", "carrier"],
    }


def test_tuples_are_those_of_draft_7():
    schemas = asyncapi(Catalog(Everything))["components"]["schemas"]
    pair = schemas["Everything"]["properties"]["pair"]
    assert pair["items"] == [{"type": "integer"}, {"type": "string"}]
    assert "prefixItems" not in json.dumps(schemas)


# --- the manual -----------------------------------------------------------------------------


@pytest.mark.node
def test_the_manual_shows_what_is_written_and_how_it_is_used(checkout, tmp_path):
    page = (checkout / "docs" / "typed-events.md").read_text()
    python = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    written, usage = re.findall(r"^```ts\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "manual"}
    exec(python[1], namespace)  # noqa: S102 - the page's own example
    assert written == typescript(namespace["catalog"])
    client = str(checkout / "realtime_kit" / "client" / "realtime.js")
    (tmp_path / "events.ts").write_text(written)
    (tmp_path / "usage.ts").write_text(usage.replace("/realtime/client/realtime.js", client))
    assert compiled(tmp_path, checkout) == ""


def compiled(folder, checkout) -> str:
    """What tsc has to say of the files there, with the options of the client's own types."""
    options = json.loads((checkout / "tests/client/types/tsconfig.json").read_text())
    config = {"compilerOptions": options["compilerOptions"], "include": ["**/*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    tsc = ["node", "node_modules/typescript/bin/tsc", "-p", str(folder)]
    done = subprocess.run(tsc, cwd=checkout, capture_output=True, text=True, timeout=100)
    assert bool(done.stdout) == bool(done.returncode)
    return done.stdout
