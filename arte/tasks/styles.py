"""How the teacher is asked for a solution, in each style.

A style is an instruction and three worked examples as earlier chat turns: small teachers follow examples far more often
than descriptions, and an engine computes the turns that all prompts of a style share only once.
"""

from typing import NamedTuple

from arte.recipe import Style


class Problem(NamedTuple):
    """A problem of the examples; none of a task's items is like it."""

    question: str
    answer: str


class Manner(NamedTuple):
    """What is asked, and how EXAMPLES are solved when it is done."""

    instruction: str
    solutions: tuple[str, ...]
    """Of the last so many of EXAMPLES."""


EXAMPLES = (
    Problem("A train has 9 coaches with 8 doors each. How many doors is that?", "72"),
    Problem("Bela packs 4 boxes with 6 cups each and sells 9 of the cups. How many cups does Bela keep?", "15"),
    Problem(
        "Sami picks 14 pears and 22 plums, eats 6 of the fruit and puts the rest into 5 equal bowls. "
        "How much fruit is in a bowl?",
        "6",
    ),
)
NAIVE = Manner(
    "Solve the problem step by step.",
    (
        "There are 4 * 6 = 24 cups.\nBela keeps 24 - 9 = 15 cups.",
        "There are 14 + 22 = 36 pieces of fruit.\nSami leaves 36 - 6 = 30 of them.\nA bowl holds 30 / 5 = 6.",
    ),
)
"""No style. It has examples too: without them a small teacher lectures until it is cut off (45 of 63 replies), and two
keep the alignment's pairs, which repeat this prompt, short."""
STYLES: dict[Style, Manner] = {
    "steps": Manner(
        "Solve the problem in numbered steps, each with its reason and one calculation.",
        (
            "1. There are 9 coaches and each has 8 doors: 9 * 8 = 72 doors.",
            "1. There are 4 boxes and each holds 6 cups: 4 * 6 = 24 cups.\n"
            "2. Bela sells 9 of them, so take them away: 24 - 9 = 15 cups.",
            "1. Pears and plums count together: 14 + 22 = 36 fruit.\n"
            "2. Sami eats 6, so take them away: 36 - 6 = 30 fruit.\n"
            "3. The rest is shared among 5 bowls: 30 / 5 = 6 fruit.",
        ),
    ),
    "brief": Manner(
        "Solve the problem in one short sentence.",
        (
            "The train has 9 * 8 = 72 doors.",
            "Bela packs 4 * 6 = 24 cups and keeps 24 - 9 = 15.",
            "Of 14 + 22 = 36 fruit Sami leaves 36 - 6 = 30, which makes 30 / 5 = 6 a bowl.",
        ),
    ),
    "equations": Manner(
        "Solve the problem with equations only, one on each line, without words.",
        ("9 * 8 = 72", "4 * 6 = 24\n24 - 9 = 15", "14 + 22 = 36\n36 - 6 = 30\n30 / 5 = 6"),
    ),
    "child": Manner(
        "Tell a small child, in a friendly way, how the problem is solved.",
        (
            "Look, each coach has 8 doors, and there are 9 coaches! So we count 8 doors 9 times. "
            "That makes 9 * 8 = 72 doors. Well done!",
            "Each box has 6 cups inside, and Bela has 4 boxes. That makes 4 * 6 = 24 cups! "
            "Then 9 cups go to new homes. Now Bela has 24 - 9 = 15 cups.",
            "Let's put all the fruit on the table: 14 + 22 = 36. Yum, Sami eats 6, and 36 - 6 = 30 are left. "
            "Now 5 bowls get the same: 30 / 5 = 6 in each. Hooray!",
        ),
    ),
}
