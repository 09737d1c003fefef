"""Starter problems of one step."""

from arte.tasks.starter_work import Draws, Problem, Template, Work


def coins_joined(draw: Draws) -> Problem:
    name, work = draw.name(), Work()
    old, new, thing = draw.number(6, 24), draw.number(5, 16), draw.one_of(("coins", "stamps", "shells", "marbles"))
    work.line(f"{name} now has {{}} {thing}.", old, "+", new)
    return work.problem(f"{name} has {old} {thing} and finds {new} more. How many {thing} does {name} have now?")


def two_classes(draw: Draws) -> Problem:
    first, second, work = draw.number(6, 14), draw.number(6, 14), Work()
    place = draw.one_of(("museum", "zoo", "harbour", "planetarium", "castle"))
    work.line("Together {} pupils go.", first, "+", second)
    return work.problem(
        f"A class of {first} pupils and a class of {second} pupils visit the {place}. How many pupils go in total?"
    )


def rain_of_two_days(draw: Draws) -> Problem:
    first, second, work = draw.number(3, 19), draw.number(3, 19), Work()
    one, two = draw.one_of((("Monday", "Tuesday"), ("Friday", "Saturday"), ("Sunday", "Wednesday")))
    work.line("In the two days {} millimetres of rain fell.", first, "+", second)
    return work.problem(
        f"On {one}, {first} millimetres of rain fell. On {two}, {second} millimetres fell. "
        "How many millimetres of rain fell in the two days?"
    )


def given_away(draw: Draws) -> Problem:
    (giver, taker), work = draw.two_names(), Work()
    had, thing = draw.number(8, 32), draw.one_of(("stickers", "cards", "beads", "balloons", "pencils"))
    given = draw.number(3, had - 5)
    work.line(f"{giver} keeps {{}} {thing}.", had, "-", given)
    return work.problem(
        f"{giver} has {had} {thing} and gives {given} of them to {taker}. How many {thing} does {giver} keep?"
    )


def pages_left(draw: Draws) -> Problem:
    name, pages, work = draw.name(), draw.number(24, 72), Work()
    read = draw.number(5, pages - 5)
    work.line(f"{name} has {{}} pages left.", pages, "-", read)
    return work.problem(
        f"{name} reads a book of {pages} pages. So far {name} has read {read} pages. How many pages are left?"
    )


def older_by(draw: Draws) -> Problem:
    (young, old), work = draw.two_names(), Work()
    small, large = draw.number(4, 10), draw.number(12, 30)
    work.line(f"{old} is {{}} years older.", large, "-", small)
    return work.problem(f"{young} is {small} years old and {old} is {large} years old. How many years older is {old}?")


def boxes_of_things(draw: Draws) -> Problem:
    boxes, each, work = draw.number(3, 12), draw.number(4, 8), Work()
    thing, box = draw.one_of((("eggs", "trays"), ("candles", "boxes"), ("oranges", "crates"), ("batteries", "packs")))
    work.line(f"There are {{}} {thing}.", boxes, "*", each)
    return work.problem(f"A shop has {boxes} {box} with {each} {thing} in each. How many {thing} are there in total?")


def wage_for_hours(draw: Draws) -> Problem:
    name, hours, wage, work = draw.name(), draw.number(3, 9), draw.number(3, 8), Work()
    job = draw.one_of(("painting fences", "walking dogs", "washing cars", "teaching chess", "picking olives"))
    work.line(f"{name} earns {{}} dollars.", hours, "*", wage)
    return work.problem(f"{name} earns ${wage} an hour for {job}. How many dollars does {name} earn in {hours} hours?")


def rows_of_seats(draw: Draws) -> Problem:
    rows, seats, work = draw.number(5, 12), draw.number(6, 10), Work()
    place = draw.one_of(("cinema", "theatre", "bus station", "tent", "lecture hall"))
    work.line(f"The {place} has {{}} seats.", rows, "*", seats)
    return work.problem(f"A {place} has {rows} rows of {seats} seats. How many seats does it have?")


def shared_equally(draw: Draws) -> Problem:
    name, friends, each, work = draw.name(), draw.number(3, 9), draw.number(3, 12), Work()
    thing = draw.one_of(("dates", "cherries", "biscuits", "grapes", "peanuts"))
    work.line(f"Each friend gets {{}} {thing}.", friends * each, "/", friends)
    return work.problem(
        f"{name} shares {friends * each} {thing} equally among {friends} friends. "
        f"How many {thing} does each friend get?"
    )


def shelves_filled(draw: Draws) -> Problem:
    shelf, shelves, work = draw.number(4, 12), draw.number(3, 12), Work()
    thing = draw.one_of(("books", "jars", "vases", "lamps", "shoes"))
    work.line("{} shelves are needed.", shelf * shelves, "/", shelf)
    return work.problem(f"A shelf holds {shelf} {thing}. How many shelves are needed for {shelf * shelves} {thing}?")


def price_of_one(draw: Draws) -> Problem:
    name, count, price, work = draw.name(), draw.number(3, 9), draw.number(2, 6), Work()
    thing = draw.one_of(("notebook", "mug", "scarf", "kite", "plant"))
    work.line(f"One {thing} costs {{}} dollars.", count * price, "/", count)
    return work.problem(
        f"{name} pays ${count * price} for {count} {thing}s of the same price. How many dollars does one {thing} cost?"
    )


def stairs_climbed(draw: Draws) -> Problem:
    name, first, second, work = draw.name(), draw.number(5, 24), draw.number(5, 24), Work()
    tower = draw.one_of(("lighthouse", "bell tower", "minaret", "windmill"))
    work.line(f"{name} climbs {{}} stairs.", first, "+", second)
    return work.problem(
        f"{name} climbs {first} stairs of a {tower}, rests, and climbs the last {second} stairs. "
        f"How many stairs does {name} climb?"
    )


def seats_free(draw: Draws) -> Problem:
    seats, vehicle, work = draw.number(16, 36), draw.one_of(("bus", "ferry", "tram", "plane")), Work()
    taken = draw.number(6, seats - 4)
    work.line("{} seats are free.", seats, "-", taken)
    return work.problem(f"A {vehicle} has {seats} seats and {taken} are taken. How many seats are free?")


def teams_formed(draw: Draws) -> Problem:
    size, teams, work = draw.number(3, 11), draw.number(3, 12), Work()
    game = draw.one_of(("football", "relay", "handball", "quiz", "rowing"))
    work.line("They form {} teams.", size * teams, "/", size)
    return work.problem(
        f"{size * teams} children form {game} teams of {size} children each. How many teams do they form?"
    )


ONE_STEP: tuple[Template, ...] = (
    coins_joined,
    two_classes,
    rain_of_two_days,
    given_away,
    pages_left,
    older_by,
    boxes_of_things,
    wage_for_hours,
    rows_of_seats,
    shared_equally,
    shelves_filled,
    price_of_one,
)
ONE_STEP_UNSEEN: tuple[Template, ...] = (stairs_climbed, seats_free, teams_formed)
