"""What teacher and student are told about each subtask of BIG-Bench Hard, in our own words.

`steps` is a procedure for this very subtask, `brief` the rule to recall, `equations` a notation to work in; the fourth
style, `child`, is the same for all (arte.tasks.defined). The paper has four hand-written prompts a subtask, too
(section 3.1, appendix I).
"""

from typing import NamedTuple


class Told(NamedTuple):
    """Of one subtask."""

    things: str
    """What items are, in the plural."""
    instruction: str
    steps: str
    brief: str
    equations: str


_DEDUCTION = Told(
    "puzzles about objects in a fixed order, each with clues and lettered options",
    "Find the order of the objects from the clues and choose the option that is true.",
    "Write the places down in a row. Take the clues one after another, the firmest first, and put each object where "
    "it must be. Then test every option against the row.",
    "Recall that each clue removes places, and that the order left over decides; then name the true option.",
    "Write the order as a > b > c, one line for each clue, until one order is left; then the option.",
)
_TRACKING = Told(
    "stories in which people swap things one pair at a time, each with a question about one of them and lettered "
    "options",
    "Follow the swaps and choose what the person has in the end.",
    "Write down who has what at the start. After each swap write the whole list again with the two changed. Read the"
    " asked person off the last list.",
    "Recall that a swap changes two holders and nothing else; then name the option.",
    "Write the state as (a: x, b: y, c: z), one line a swap; then the option.",
)
TOLD: dict[str, Told] = {
    "boolean_expressions": Told(
        "expressions of True, False, and, or, not and brackets",
        "Work out the truth value of the expression: True or False.",
        "Replace the innermost bracket by its value, then each `not`, then each `and`, then each `or`, and write the"
        " whole expression again after every replacement.",
        "Recall that `not` comes before `and`, and `and` before `or`; then say the value.",
        "Write T and F, and one shorter expression a line, each equal to the one before.",
    ),
    "causal_judgement": Told(
        "short stories with a question whether someone or something caused what happened, or meant it, with the "
        "options Yes and No",
        "Say how a typical person would answer the question about causes or intentions: Yes or No.",
        "Say who did what, and what would have happened without it. Ask whether it was usual or against a rule, and "
        "whether the outcome was wanted. Then say what most people would call the cause.",
        "Recall that people call the unusual or forbidden act the cause; then answer.",
        "Note act -> outcome, what would follow without the act, and whether it was normal; then answer.",
    ),
    "date_understanding": Told(
        "questions about a date that follows from a few facts, with lettered options in the form MM/DD/YYYY",
        "Infer the date that is asked for and choose its option.",
        "Find the date that is given for certain. Say which day is today. Count on or back from there as asked, "
        "minding the length of the month, and write the result as MM/DD/YYYY.",
        "Recall how many days the month has; then name the option.",
        "Write each date as MM/DD/YYYY and each step as date + n days = date.",
    ),
    "disambiguation_qa": Told(
        "sentences with a pronoun, a question whom it stands for, and lettered options, one of which is Ambiguous",
        "Say whom the pronoun stands for, or that it is ambiguous, and choose the option.",
        "Put each person in the place of the pronoun and read the sentence. Say which readings make sense. If both "
        "do, it is ambiguous.",
        "Recall that only sense, not order, decides; then name the option.",
        "Write pronoun = person for each reading, with yes or no behind it; then the option.",
    ),
    "dyck_languages": Told(
        "unfinished sequences of brackets of the kinds (), [], {} and <>",
        "Give the brackets that close the sequence, in order, with spaces between them.",
        "Read from the left and keep a stack: put each opening bracket on it and take the last one off at each "
        "closing bracket. At the end close what is on the stack, last one first.",
        "Recall that the last bracket opened is the first to close; then give the rest.",
        "Write the stack after every bracket, one line each; then the closing brackets.",
    ),
    "formal_fallacies": Told(
        "arguments with premises and a conclusion, and the options valid and invalid",
        "Say whether the conclusion follows from the premises alone: valid or invalid.",
        "Write each premise as an if-then or as a fact. Try to reach the conclusion from them. If you cannot, look "
        "for a case in which all premises are true and the conclusion is not.",
        "Recall that one counterexample makes an argument invalid; then answer.",
        "Use letters, ->, not, and, or for premises and conclusion; then derive it or give a counterexample.",
    ),
    "geometric_shapes": Told(
        "SVG paths with lettered options that name shapes",
        "Name the shape that the SVG path draws and choose its option.",
        "List the points of the path. Count the lines between different points, and note arcs. Say whether it "
        "closes. Four equal sides or right angles tell shapes of four sides apart.",
        "Recall that the number of sides names a shape, and that A draws an arc; then name the option.",
        "Write the points as P1, P2, … and sides = n; then the option.",
    ),
    "hyperbaton": Told(
        "pairs of phrases that differ in the order of their adjectives, as options (A) and (B)",
        "Choose the phrase whose adjectives stand in the right order.",
        "Name the kind of each adjective: opinion, size, age, shape, colour, origin, material, purpose. Compare each"
        " phrase with that order.",
        "Recall the order opinion, size, age, shape, colour, origin, material, purpose; then choose.",
        "Number the kinds 1 to 8 and write each phrase as numbers; the rising one is right.",
    ),
    "logical_deduction_three_objects": _DEDUCTION,
    "logical_deduction_five_objects": _DEDUCTION,
    "logical_deduction_seven_objects": _DEDUCTION,
    "movie_recommendation": Told(
        "lists of films with the question which other film is like them, and lettered options",
        "Choose the film that is most like those in the list.",
        "Say the kind, the time and the public of the films in the list. Say the same of each option, and choose the"
        " one that shares most.",
        "Recall what people who like these films like too; then name the option.",
        "Note kind/decade/public for the list and for each option; then the option.",
    ),
    "multistep_arithmetic_two": Told(
        "sums of small whole numbers with brackets, +, - and *",
        "Work out the value of the expression.",
        "Work out each inner bracket first, products before sums, and write down what is left after every step.",
        "Recall that brackets come first, then products, then sums; then give the value.",
        "One equation a line, each shorter than the one before.",
    ),
    "navigate": Told(
        "lists of steps and turns with the question whether one comes back to the start, with the options Yes and No",
        "Say whether the instructions lead back to the starting point: Yes or No.",
        "Start at (0, 0), facing north. After each instruction write place and direction. At the end compare the "
        "place with (0, 0).",
        "Recall that steps forth and back and left and right must cancel out; then answer.",
        "Write (x, y, direction) after every instruction.",
    ),
    "object_counting": Told(
        "lists of things that someone has, with the question how many of one kind there are",
        "Count the things of the kind that is asked for and give the number.",
        "Go through the list. Write each thing of the asked kind with its number, leave the others out, and add up.",
        "Recall that `a` counts one, and that only the asked kind counts; then give the number.",
        "Write n1 + n2 + … = total, for the asked kind only.",
    ),
    "penguins_in_a_table": Told(
        "questions about a small table of penguins with name, age, height and weight, and lettered options",
        "Answer the question about the table and choose its option.",
        "Write the rows that count, with any that were added or taken away. Pick the column that is asked for, "
        "compare or count, and find the option.",
        "Recall to change the table first where the text says so; then name the option.",
        "Write rows as name(age, height, weight); then the comparison; then the option.",
    ),
    "reasoning_about_colored_objects": Told(
        "descriptions of coloured objects on a surface, with a question and lettered options",
        "Answer the question about the coloured objects and choose its option.",
        "List the objects in order with their colours and numbers. Take away or move what the question says. Then "
        "count or look up what is asked.",
        "Recall that order and colour are as listed; then name the option.",
        "Write the list as colour-object, in order; then the count or the place; then the option.",
    ),
    "ruin_names": Told(
        "names of artists, bands or films with lettered edits of them, one of which is a joke",
        "Choose the edit of the name that makes it funny.",
        "Say what each edit changes and what word comes of it. A joke is a small change that gives a real word with "
        "another sense. Choose that one.",
        "Recall that a good joke changes a letter or two and gives a new sense; then name the option.",
        "Note old word -> new word: sense or nonsense, for each option.",
    ),
    "salient_translation_error_detection": Told(
        "German sentences with a faulty English translation and lettered kinds of error",
        "Find the error in the translation and choose its kind.",
        "Translate the sentence yourself. Compare word by word: names, numbers, modifiers, negations, facts, and "
        "what was left out. Name the one difference.",
        "Recall the kinds: named entities, numerical values, modifiers or adjectives, negation or antonyms, facts, "
        "dropped content; then name the option.",
        "Write source word = translated word where they differ; then the option.",
    ),
    "snarks": Told(
        "pairs of nearly the same statements as options (A) and (B), one of which is sarcastic",
        "Choose the statement that is sarcastic.",
        "Say what each statement claims. Ask which claim nobody would mean: praise for what is bad, or a reason that"
        " is none. That one is sarcastic.",
        "Recall that sarcasm says the opposite of what is meant; then choose.",
        "Note claim: meant or not meant, for each.",
    ),
    "sports_understanding": Told(
        "sentences about a famous athlete who does something, and the question whether that is plausible",
        "Say whether the sentence about sports is plausible: yes or no.",
        "Say which sport the athlete plays. Say in which sport one does what the sentence says. Compare the two.",
        "Recall the athlete's sport and the action's; then answer.",
        "Note athlete: sport, action: sport, same or not.",
    ),
    "temporal_sequences": Told(
        "accounts of what someone did when during a day, with the question when they could have gone to a place, and"
        " lettered options",
        "Find the time in which the person can have gone to the place and choose its option.",
        "List the day in spans of time with what the person did. Cross out those in which they were seen, and those "
        "in which the place is closed. Choose the span that is left.",
        "Recall that the one span without a witness is the answer; then name the option.",
        "Write from-to: what, one line a span; then the free one.",
    ),
    "tracking_shuffled_objects_three_objects": _TRACKING,
    "tracking_shuffled_objects_five_objects": _TRACKING,
    "tracking_shuffled_objects_seven_objects": _TRACKING,
    "web_of_lies": Told(
        "chains of people who say of one another that they tell the truth or lie, with a question about the last one",
        "Say whether the last person tells the truth: Yes or No.",
        "Begin with the person of whom it is said outright. Go on from one to the next: who says something true "
        "tells the truth, who says something false lies.",
        "Recall that a liar's words are false; then answer.",
        "Write name = T or L, one a line, in the order of the chain.",
    ),
    "word_sorting": Told(
        "lists of words that are to be sorted",
        "Sort the words by the alphabet and give them with spaces between them.",
        "Group the words by their first letter, then within a group by the second, and so on. Then write all of them"
        " in order and count them.",
        "Recall that words are compared letter by letter from the left; then give them.",
        "Write a < b for neighbours until all are in order; then the list.",
    ),
}
