"""Starter problems of two steps."""

from arte.tasks.starter_work import Draws, Problem, Template, Work


def change_from_note(draw: Draws) -> Problem:
    name, count, price, work = draw.name(), draw.number(2, 9), draw.number(2, 5), Work()
    note, thing = draw.one_of((50, 60, 100)), draw.one_of(("ticket", "burger", "comic", "melon", "pillow"))
    cost = work.line(f"The {thing}s cost {{}} dollars.", count, "*", price)
    work.line(f"{name} has {{}} dollars left.", note, "-", cost)
    return work.problem(
        f"{name} has ${note} and buys {count} {thing}s for ${price} each. How many dollars does {name} have left?"
    )


def bus_stops(draw: Draws) -> Problem:
    start, work = draw.number(12, 24), Work()
    left, joined, vehicle = draw.number(3, 8), draw.number(3, 9), draw.one_of(("bus", "tram", "train", "ferry"))
    stayed = work.line("After some get off, {} passengers are left.", start, "-", left)
    work.line("Then there are {} passengers.", stayed, "+", joined)
    return work.problem(
        f"A {vehicle} carries {start} passengers. At the next stop {left} get off and {joined} get on. "
        f"How many passengers are on the {vehicle} now?"
    )


def saved_weekly(draw: Draws) -> Problem:
    name, weeks, saving, had, work = draw.name(), draw.number(3, 10), draw.number(4, 12), draw.number(4, 20), Work()
    saved = work.line(f"In {weeks} weeks {name} saves {{}} dollars.", weeks, "*", saving)
    work.line(f"{name} then has {{}} dollars.", had, "+", saved)
    return work.problem(
        f"{name} has ${had} and saves ${saving} a week. How many dollars does {name} have after {weeks} weeks?"
    )


def times_as_many(draw: Draws) -> Problem:
    (one, two), count, factor, work = draw.two_names(), draw.number(4, 8), draw.number(2, 5), Work()
    thing = draw.one_of(("fish", "photos", "mushrooms", "badges", "feathers"))
    other = work.line(f"{two} has {{}} {thing}.", count, "*", factor)
    work.line(f"Together they have {{}} {thing}.", count, "+", other)
    return work.problem(
        f"{one} has {count} {thing}. {two} has {factor} times as many. How many {thing} do they have together?"
    )


def more_than(draw: Draws) -> Problem:
    (one, two), count, more, work = draw.two_names(), draw.number(3, 18), draw.number(3, 8), Work()
    thing = draw.one_of(("laps", "goals", "pages", "songs", "letters"))
    verb = {"laps": "runs", "goals": "scores", "pages": "reads", "songs": "sings", "letters": "writes"}[thing]
    other = work.line(f"{two} {verb} {{}} {thing}.", count, "+", more)
    work.line(f"Together that is {{}} {thing}.", count, "+", other)
    return work.problem(
        f"{one} {verb} {count} {thing} and {two} {verb} {more} more than {one}. How many {thing} is that together?"
    )


def packed_in_bags(draw: Draws) -> Problem:
    name, size, bags, work = draw.name(), draw.number(3, 9), draw.number(4, 11), Work()
    eaten, thing = draw.number(3, 7), draw.one_of(("apples", "plums", "figs", "walnuts", "mangoes"))
    left = work.line(f"{name} has {{}} {thing} left.", size * bags + eaten, "-", eaten)
    work.line("They fill {} bags.", left, "/", size)
    return work.problem(
        f"{name} picks {size * bags + eaten} {thing}, eats {eaten} and packs the rest into bags of {size}. "
        f"How many bags does {name} fill?"
    )


def crates_and_loose(draw: Draws) -> Problem:
    crates, each, loose, work = draw.number(3, 10), draw.number(5, 12), draw.number(2, 8), Work()
    thing = draw.one_of(("bottles", "pumpkins", "bricks", "loaves", "tins"))
    packed = work.line(f"The crates hold {{}} {thing}.", crates, "*", each)
    work.line(f"In total there are {{}} {thing}.", packed, "+", loose)
    return work.problem(
        f"A lorry carries {crates} crates of {each} {thing} and {loose} loose {thing}. "
        f"How many {thing} does it carry in total?"
    )


def plants_that_died(draw: Draws) -> Problem:
    rows, each, work = draw.number(4, 12), draw.number(5, 12), Work()
    lost, plant = draw.number(3, 7), draw.one_of(("tomato", "cabbage", "maize", "tea", "rose"))
    planted = work.line(f"{{}} {plant} plants are planted.", rows, "*", each)
    work.line("{} plants are left.", planted, "-", lost)
    return work.problem(
        f"A gardener plants {rows} rows of {each} {plant} plants. A storm destroys {lost} of them. "
        "How many plants are left?"
    )


def joint_gift(draw: Draws) -> Problem:
    friends, share, card, work = draw.number(3, 9), draw.number(5, 9), draw.number(2, 9), Work()
    gift = draw.one_of(("a football", "a lamp", "a cake", "a drum", "a backpack"))
    total = work.line("Together it costs {} dollars.", friends * share - card, "+", card)
    work.line("Each friend pays {} dollars.", total, "/", friends)
    return work.problem(
        f"{friends} friends buy {gift} for ${friends * share - card} and a card for ${card}, and share the cost "
        "equally. How many dollars does each friend pay?"
    )


def practice_minutes(draw: Draws) -> Problem:
    name, days, first, second, work = draw.name(), draw.number(3, 7), draw.number(4, 10), draw.number(5, 9), Work()
    skill = draw.one_of(("the violin", "the drums", "spelling", "chess", "juggling"))
    daily = work.line(f"A day {name} practises {{}} minutes.", first, "+", second)
    work.line(f"In {days} days that is {{}} minutes.", daily, "*", days)
    return work.problem(
        f"Every day {name} practises {skill} for {first} minutes in the morning and {second} minutes in the evening. "
        f"How many minutes does {name} practise in {days} days?"
    )


def twice_given(draw: Draws) -> Problem:
    name, had, work = draw.name(), draw.number(20, 40), Work()
    first, second, thing = draw.number(4, 8), draw.number(4, 8), draw.one_of(("sweets", "flyers", "tokens", "seeds"))
    given = work.line(f"{name} gives away {{}} {thing}.", first, "+", second)
    work.line(f"{name} has {{}} {thing} left.", had, "-", given)
    return work.problem(
        f"{name} has {had} {thing}. {name} gives {first} to a neighbour and {second} to a cousin. "
        f"How many {thing} does {name} have left?"
    )


def machine_rate(draw: Draws) -> Problem:
    minutes, rate, longer, work = draw.number(3, 9), draw.number(4, 12), draw.number(3, 12), Work()
    thing = draw.one_of(("cups", "caps", "nails", "buttons", "pages"))
    each = work.line(f"In a minute the machine makes {{}} {thing}.", minutes * rate, "/", minutes)
    work.line(f"In {longer} minutes it makes {{}} {thing}.", each, "*", longer)
    return work.problem(
        f"A machine makes {minutes * rate} {thing} in {minutes} minutes. How many {thing} does it make in "
        f"{longer} minutes?"
    )


def ribbon_cut(draw: Draws) -> Problem:
    name, pieces, length, work = draw.name(), draw.number(3, 9), draw.number(4, 8), Work()
    left, cloth = draw.number(3, 10), draw.one_of(("ribbon", "rope", "wire", "string"))
    used = work.line(f"The pieces take {{}} centimetres of {cloth}.", pieces, "*", length)
    work.line(f"At first there were {{}} centimetres of {cloth}.", used, "+", left)
    return work.problem(
        f"{name} cuts {pieces} pieces of {length} centimetres from a {cloth} and has {left} centimetres left over. "
        f"How many centimetres long was the {cloth} at first?"
    )


def scores_apart(draw: Draws) -> Problem:
    (one, two), low, gap, work = draw.two_names(), draw.number(4, 16), draw.number(4, 10), Work()
    bonus = draw.number(2, gap - 1)
    first = work.line(f"With the bonus {one} has {{}} points.", low, "+", bonus)
    work.line(f"{two} leads by {{}} points.", low + gap, "-", first)
    return work.problem(
        f"In a quiz {one} has {low} points and {two} has {low + gap} points. {one} then gets a bonus of {bonus} "
        f"points. By how many points does {two} still lead?"
    )


def goats_and_hens(draw: Draws) -> Problem:
    goats, hens, work = draw.number(2, 12), draw.number(3, 10), Work()
    animal = draw.one_of(("goats", "cows", "sheep", "donkeys"))
    bells = work.line(f"The {animal} need {{}} bells.", goats, "*", 4)
    work.line("The farmer needs {} bells.", bells, "+", hens)
    return work.problem(
        f"A farmer ties a bell to each of the 4 legs of {goats} {animal} and one bell to each of {hens} hens. "
        "How many bells does the farmer need?"
    )


TWO_STEPS: tuple[Template, ...] = (
    change_from_note,
    bus_stops,
    saved_weekly,
    times_as_many,
    more_than,
    packed_in_bags,
    crates_and_loose,
    plants_that_died,
    joint_gift,
    practice_minutes,
    twice_given,
    machine_rate,
)
TWO_STEPS_UNSEEN: tuple[Template, ...] = (ribbon_cut, scores_apart, goats_and_hens)
