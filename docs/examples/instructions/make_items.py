"""124 short everyday instructions in Alpaca's form, each with a reply in our own words: python make_items.py

Replies that can be worked out (sorting, the odd one out) are worked out; the others are written by hand below. The
splits share no instruction.
"""

import json
import random
from pathlib import Path

WHAT = {
    "a compass": "A compass is a small tool whose needle points north, so that you can find your way.",
    "a library": "A library is a house full of books that everybody may borrow.",
    "a receipt": "A receipt is a slip of paper that shows what you bought and what you paid for it.",
    "yeast": "Yeast is a tiny living thing that eats sugar and makes dough rise.",
    "a bridge": "A bridge carries a road or a path over water, a valley or another road.",
    "a thermos": "A thermos is a bottle that keeps hot drinks hot and cold drinks cold.",
    "a deposit": "A deposit is money that you leave with somebody and get back when all is in order.",
    "dew": "Dew is water from the air that settles on cool grass at night.",
    "a rehearsal": "A rehearsal is a practice run of a play or a concert before people come to see it.",
    "an umbrella": "An umbrella is a small roof on a stick that keeps the rain off you.",
    "a recipe": "A recipe says what you need for a dish and how to cook it, step by step.",
    "a harbour": "A harbour is a place at the coast where ships are safe from wind and waves.",
    "a deadline": "A deadline is the last moment at which a piece of work may be handed in.",
    "rust": "Rust is the brown crust that grows on iron when it stays wet.",
    "a lighthouse": "A lighthouse is a tower whose light shows ships where the coast is.",
    "a neighbour": "A neighbour is somebody who lives next to you.",
}
HOW = {
    "boil an egg": "Bring water to the boil, put the egg in for eight minutes, and cool it under the tap.",
    "water a house plant": "Feel the soil, pour water slowly if it is dry, and tip away what stays in the saucer.",
    "clean a window": "Wipe off the dust, wash the glass with soapy water, and dry it with a soft cloth.",
    "pack a parcel": "Wrap the thing well, fill the gaps with paper, and tape the box on every edge.",
    "make a cup of tea": "Boil fresh water, pour it over the tea, and take the tea out after three minutes.",
    "sew on a button": "Thread a needle, pass it through cloth and button six times, and knot the thread behind.",
    "plant a tulip": "Dig a hole a hand deep, set the bulb in with its tip up, and cover it with soil.",
    "wash a wool jumper": "Use cool water and mild soap, press it gently without wringing, and dry it lying flat.",
    "light a camp fire": "Lay dry twigs over paper, light the paper, and add thicker wood once the twigs burn.",
    "change a light bulb": "Switch the lamp off, let the old bulb cool, and screw the new one in until it is firm.",
    "keep bread fresh": "Store it in a box or a cloth bag, cut side down, and freeze what you cannot eat soon.",
    "choose a ripe melon": "Pick one that is heavy, smells sweet at its end, and sounds dull when you knock on it.",
}
THREE = {
    "to take on a walk in the mountains": "a rain jacket, a bottle of water and a map",
    "to put into a first aid kit": "plasters, a bandage and a pair of scissors",
    "that one finds in a kitchen drawer": "a wooden spoon, a peeler and a corkscrew",
    "that help against the cold": "a scarf, a hot drink and a brisk walk",
    "to ask before renting a flat": "what heating costs, how long the lease runs and who repairs what",
    "that make a long train ride shorter": "a good book, a pack of cards and a window seat",
    "that a cat needs": "fresh water, a quiet place to sleep and a clean tray",
    "to do on a rainy Sunday": "bake a cake, visit a museum and write a letter",
    "that a bicycle must have": "two brakes, a bell and a light",
    "to check before a journey": "the passport, the stove and the windows",
    "that children build with": "wooden blocks, sand and old boxes",
    "that grow in a vegetable garden": "carrots, beans and lettuce",
}
OPPOSITES = {
    "early": "late", "deep": "shallow", "noisy": "quiet", "narrow": "wide", "to borrow": "to lend", "rough": "smooth",
    "generous": "mean", "to arrive": "to leave", "rare": "common", "ripe": "unripe", "sharp": "blunt", "brave": "timid",
    "empty": "full", "to forget": "to remember", "guilty": "innocent", "to shrink": "to grow",
}  # fmt: skip
PAST = {
    "I walk to work along the river.": "I walked to work along the river.",
    "She writes a letter to her aunt.": "She wrote a letter to her aunt.",
    "They sell fish at the market.": "They sold fish at the market.",
    "We swim in the lake before breakfast.": "We swam in the lake before breakfast.",
    "The dog brings the ball back.": "The dog brought the ball back.",
    "He thinks of his sister.": "He thought of his sister.",
    "You know the way home.": "You knew the way home.",
    "The bell rings at noon.": "The bell rang at noon.",
    "My brother teaches music.": "My brother taught music.",
    "It begins to snow.": "It began to snow.",
    "The boys hide behind the shed.": "The boys hid behind the shed.",
    "I keep the key in a jar.": "I kept the key in a jar.",
}
MESSAGES = {
    "tell Ada that the meeting is an hour later": "Hello Ada, our meeting begins an hour later today. See you then!",
    "thank Bela for the flowers": "Dear Bela, thank you so much for the flowers, they brighten the whole room.",
    "ask a neighbour to take in a parcel": "Hello, a parcel comes for me tomorrow. Could you take it in? Thank you!",
    "say sorry for coming too late": "I am sorry that I came too late yesterday; next time I take an earlier bus.",
    "invite Chidi to dinner on Friday": "Hi Chidi, would you like to come to dinner on Friday at seven? I will cook.",
    "tell the landlord that the heating is cold": "Hello, the heating is cold since last night. Please send help.",
    "wish Dora luck for her exam": "Dear Dora, all the best for your exam tomorrow. You are well prepared!",
    "cancel a visit to the dentist": "Hello, I cannot come on Tuesday at nine. Could I have another day, please?",
    "ask Emil to return a book": "Hi Emil, could you bring my book back when you are done? I need it for class.",
    "tell Femi that you have arrived": "Hi Femi, I have arrived safely and the room is lovely. More tomorrow!",
    "ask a colleague to read a draft": "Hello, could you read my draft by Thursday? Two pages, and any remark helps.",
    "congratulate Gita on the new job": "Dear Gita, congratulations on the new job! They are lucky to have you.",
}
KINDS = {
    "fruit": ("apple", "pear", "plum", "cherry", "fig", "grape"),
    "furniture": ("chair", "table", "shelf", "bed", "desk", "stool"),
    "birds": ("owl", "robin", "swan", "heron", "crow", "finch"),
    "tools": ("hammer", "saw", "pliers", "drill", "wrench", "file"),
    "clothes": ("shirt", "sock", "glove", "scarf", "coat", "hat"),
    "weather": ("rain", "fog", "snow", "hail", "wind", "frost"),
}
SPLITS = {"seeds": 44, "validation": 24, "test": 56}


def rows(draw: random.Random) -> list[dict[str, str]]:
    """All of them, in an order of their own."""
    found = []

    def add(instruction: str, output: str, about: str = "") -> None:
        found.append({"instruction": instruction, "input": about, "output": output})

    for thing, said in WHAT.items():
        add(draw.choice([f"What is {thing}?", f"Explain to a child in one sentence what {thing} is."]), said)
    for job, said in HOW.items():
        add(draw.choice([f"How do I {job}?", f"Tell me in one sentence how to {job}."]), said)
    for things, said in THREE.items():
        add(f"Name three things {things}.", f"{said[0].upper()}{said[1:]}.")
    for word, other in OPPOSITES.items():
        add(f"What is the opposite of “{word}”?", f"The opposite of “{word}” is “{other}”.")
    for now, then in PAST.items():
        add(draw.choice(["Put this sentence into the past.", "Say the same of yesterday."]), then, now)
    for matter, said in MESSAGES.items():
        add(f"Write a short message to {matter}.", said)
    names = list(KINDS)
    for number in range(22):
        kind = names[number % 6]
        other = names[(number + 1 + number // 6) % 6]
        odd = draw.choice(KINDS[other])
        shown = draw.sample([*draw.sample(KINDS[kind], 3), odd], 4)
        add(
            "Which of these does not belong with the others?",
            f"{odd.capitalize()} does not belong: the others are {kind}.",
            ", ".join(shown),
        )
    everything = [word for words in KINDS.values() for word in words]
    for _ in range(22):
        words = draw.sample(everything, 4)
        add("Sort these words by the alphabet.", ", ".join(sorted(words)), ", ".join(words))
    return draw.sample(found, len(found))


def main() -> None:
    """Writes seeds.json, validation.json and test.json beside this file."""
    items = rows(random.Random(7))
    assert len(items) == sum(SPLITS.values()), len(items)
    assert len({(item["instruction"], item["input"]) for item in items}) == len(items)
    start = 0
    for split, count in SPLITS.items():
        text = json.dumps(items[start : start + count], indent=1, ensure_ascii=False)
        Path(__file__).with_name(f"{split}.json").write_text(text + "\n", encoding="utf-8")
        start += count


if __name__ == "__main__":
    main()
