"""300 spoken commands to a smart home, each with the JSON that it means: python make_items.py

Every item is drawn from the wordings below, so its answer is exact. The splits share no command.
"""

import json
import random
from pathlib import Path

ROOMS = {
    "kitchen": ("in the kitchen", "in the kitchen, please"),
    "bedroom": ("in the bedroom", "in our bedroom"),
    "bathroom": ("in the bathroom", "in the bath"),
    "living room": ("in the living room", "in the lounge"),
    "office": ("in the office", "in my study"),
    "all": ("everywhere", "in the whole house", "in all rooms"),
}
WORDINGS = {
    ("light", "on"): ("turn on the light {room}", "light on {room}", "it is too dark {room}", "no light {room}?"),
    ("light", "off"): ("turn off the light {room}", "lights out {room}", "nobody needs the light {room}"),
    ("light", "set"): ("dim the light {room} to {value} percent", "put the lamp {room} at {value} percent"),
    ("light", "up"): ("make the light {room} brighter", "a bit more light {room}"),
    ("light", "down"): ("make the light {room} softer", "the lamp {room} is too bright"),
    ("heating", "on"): ("switch the heating on {room}", "start the radiator {room}"),
    ("heating", "off"): ("switch the heating off {room}", "stop heating {room}"),
    ("heating", "set"): ("set {value} degrees {room}", "I want it {value} degrees warm {room}"),
    ("heating", "up"): ("I am cold {room}", "make it warmer {room}", "it is freezing {room}"),
    ("heating", "down"): ("it is too hot {room}", "make it a little cooler {room}"),
    ("blinds", "up"): ("open the blinds {room}", "let the sun in {room}", "raise the shutters {room}"),
    ("blinds", "down"): ("close the blinds {room}", "lower the shutters {room}", "the sun blinds me {room}"),
    ("blinds", "set"): ("put the blinds {room} at {value} percent", "close the shutters {room} to {value} percent"),
    ("music", "on"): ("play some music {room}", "I want to hear a song {room}"),
    ("music", "off"): ("stop the music {room}", "silence {room}", "no more songs {room}"),
    ("music", "set"): ("volume {value} {room}", "play the music {room} at volume {value}"),
    ("music", "up"): ("make it louder {room}", "turn the music up {room}"),
    ("music", "down"): ("make it quieter {room}", "the song is too loud {room}"),
    ("fan", "on"): ("start the fan {room}", "some fresh air {room}"),
    ("fan", "off"): ("stop the fan {room}", "turn the fan off {room}"),
    ("fan", "set"): ("run the fan {room} at {value} percent", "set the fan speed {room} to {value}"),
}  # fmt: skip
VALUES = {"light": range(5, 100, 5), "heating": range(16, 27), "blinds": range(10, 100, 10), "music": range(1, 31),
          "fan": range(10, 100, 10)}  # fmt: skip
VERBS = [
    "turn",
    "dim",
    "put",
    "make",
    "switch",
    "start",
    "set",
    "open",
    "close",
    "raise",
    "lower",
    "play",
    "stop",
    "run",
]
SPLITS = {"seeds": 60, "validation": 40, "test": 200}


def command(draw: random.Random) -> tuple[str, dict[str, str | int]]:
    """A command and what it means."""
    device, action = draw.choice(list(WORDINGS))
    room = draw.choice(list(ROOMS))
    meant: dict[str, str | int] = {"action": action, "device": device, "room": room}
    words = draw.choice(WORDINGS[device, action])
    if action == "set":
        meant["value"] = draw.choice(VALUES[device])
    text = words.format(room=draw.choice(ROOMS[room]), value=meant.get("value"))
    opening = draw.choice(("", "", "", "hey, ", "could you ", "please "))
    if opening == "could you " and words.split()[0] not in VERBS:
        opening = ""
    return opening + text, meant


def main() -> None:
    """Writes the three files beside this one."""
    draw = random.Random(2026)
    items: dict[str, dict[str, str | int]] = {}
    while len(items) < sum(SPLITS.values()):
        text, meant = command(draw)
        items.setdefault(text, meant)
    rows = [json.dumps({"command": text, "action": meant}) for text, meant in items.items()]
    for split, count in SPLITS.items():
        these, rows = rows[:count], rows[count:]
        (Path(__file__).parent / f"{split}.jsonl").write_text("".join(row + "\n" for row in these), encoding="utf-8")


if __name__ == "__main__":
    main()
