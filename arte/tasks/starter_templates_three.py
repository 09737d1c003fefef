"""Starter problems of three steps."""

from arte.tasks.starter_work import Draws, Problem, Template, Work


def two_purchases(draw: Draws) -> Problem:
    name, work = draw.name(), Work()
    first, price, second, cost = draw.number(2, 8), draw.number(2, 9), draw.number(2, 8), draw.number(2, 9)
    one, two = draw.one_of((("pens", "rulers"), ("lemons", "onions"), ("cups", "plates"), ("tickets", "posters")))
    left = work.line(f"The {one} cost {{}} dollars.", first, "*", price)
    right = work.line(f"The {two} cost {{}} dollars.", second, "*", cost)
    work.line(f"{name} pays {{}} dollars.", left, "+", right)
    return work.problem(
        f"{name} buys {first} {one} for ${price} each and {second} {two} for ${cost} each. "
        f"How many dollars does {name} pay in total?"
    )


def profit_of_stall(draw: Draws) -> Problem:
    name, sold, price, cost, work = draw.name(), draw.number(3, 8), draw.number(5, 9), draw.number(1, 4), Work()
    thing = draw.one_of(("bracelets", "candles", "pancakes", "baskets", "smoothies"))
    income = work.line(f"{name} takes in {{}} dollars.", sold, "*", price)
    spent = work.line("Making them costs {} dollars.", sold, "*", cost)
    work.line("The profit is {} dollars.", income, "-", spent)
    return work.problem(
        f"{name} sells {sold} {thing} for ${price} each. Making one costs ${cost}. How many dollars is the profit?"
    )


def reading_plan(draw: Draws) -> Problem:
    name, days, daily, work = draw.name(), draw.number(3, 8), draw.number(6, 10), Work()
    rest_days, rest_daily = draw.number(3, 9), draw.number(5, 12)
    read = work.line(f"In {days} days {name} reads {{}} pages.", days, "*", daily)
    left = work.line("Then {} pages are left.", read + rest_days * rest_daily, "-", read)
    work.line(f"{name} must read {{}} pages a day.", left, "/", rest_days)
    return work.problem(
        f"A book has {read + rest_days * rest_daily} pages. {name} reads {daily} pages a day for {days} days and "
        f"wants to finish the rest in {rest_days} days. How many pages a day must {name} read then?"
    )


def eggs_sold(draw: Draws) -> Problem:
    hens, eggs, price, work = draw.number(4, 8), draw.number(3, 7), draw.number(2, 4), Work()
    used = draw.number(2, 10)
    laid = work.line("The hens lay {} eggs.", hens, "*", eggs)
    left = work.line("{} eggs are left to sell.", laid, "-", used)
    work.line("They bring {} dollars.", left, "*", price)
    return work.problem(
        f"Each of {hens} hens lays {eggs} eggs a week. The farmer uses {used} eggs and sells the others for ${price} "
        "each. How many dollars does the farmer get in a week?"
    )


def three_friends(draw: Draws) -> Problem:
    (one, two), count, factor, work = draw.two_names(), draw.number(6, 10), draw.number(2, 4), Work()
    fewer = draw.number(2, 5)
    thing = draw.one_of(("shells", "medals", "stones", "stickers", "dolls"))
    second = work.line(f"{two} has {{}} {thing}.", count, "*", factor)
    third = work.line(f"The sister of {two} has {{}} {thing}.", second, "-", fewer)
    work.line(f"The sister has {{}} {thing} more than {one}.", third, "-", count)
    return work.problem(
        f"{one} has {count} {thing}. {two} has {factor} times as many, and the sister of {two} has {fewer} fewer than "
        f"{two}. How many more {thing} does the sister have than {one}?"
    )


def journey(draw: Draws) -> Problem:
    name, hours, speed, work = draw.name(), draw.number(2, 5), draw.number(4, 10), Work()
    more_hours, more_speed = draw.number(2, 5), draw.number(3, 6)
    ridden = work.line(f"{name} cycles {{}} kilometres.", hours, "*", speed)
    walked = work.line(f"{name} walks {{}} kilometres.", more_hours, "*", more_speed)
    work.line("The whole way is {} kilometres.", ridden, "+", walked)
    return work.problem(
        f"{name} cycles {hours} hours at {speed} kilometres an hour, then walks {more_hours} hours at {more_speed} "
        "kilometres an hour. How many kilometres long is the whole way?"
    )


def party_tables(draw: Draws) -> Problem:
    seats, tables, work = draw.number(4, 9), draw.number(5, 9), Work()
    guests = seats * tables
    boys, late = draw.number(6, 10), draw.number(2, 5)
    feast = draw.one_of(("party", "wedding", "school feast", "street feast"))
    first = work.line("At first {} guests come.", boys, "+", guests - boys - late)
    present = work.line("Then there are {} guests.", first, "+", late)
    work.line("They need {} tables.", present, "/", seats)
    return work.problem(
        f"{boys} men and {guests - boys - late} women come to a {feast}, and {late} children come later. "
        f"{seats} guests sit at each table. How many tables are needed?"
    )


def shared_harvest(draw: Draws) -> Problem:
    (one, two), each, people, work = draw.two_names(), draw.number(6, 10), draw.number(3, 6), Work()
    total, bad = each * people, draw.number(3, 9)
    first = draw.number(5, total - 5)
    fruit = draw.one_of(("pears", "peaches", "coconuts", "potatoes", "chestnuts"))
    picked = work.line(f"Together they pick {{}} {fruit}.", first, "+", total + bad - first)
    good = work.line(f"{{}} {fruit} are good.", picked, "-", bad)
    work.line(f"Each family gets {{}} {fruit}.", good, "/", people)
    return work.problem(
        f"{one} picks {first} {fruit} and {two} picks {total + bad - first}. {bad} of them are bad and thrown away. "
        f"The rest is shared equally among {people} families. How many {fruit} does each family get?"
    )


def paint_bought(draw: Draws) -> Problem:
    rooms, tins, price, work = draw.number(3, 9), draw.number(2, 5), draw.number(4, 12), Work()
    had = draw.number(2, 5)
    need = work.line("The rooms need {} tins of paint.", rooms, "*", tins)
    buy = work.line("{} tins must be bought.", need, "-", had)
    work.line("They cost {} dollars.", buy, "*", price)
    return work.problem(
        f"Each of {rooms} rooms needs {tins} tins of paint. {had} tins are already there, and a new tin costs "
        f"${price}. How many dollars must be spent on paint?"
    )


def overtime(draw: Draws) -> Problem:
    name, hours, wage, extra, work = draw.name(), draw.number(4, 9), draw.number(3, 7), draw.number(2, 5), Work()
    more = draw.number(3, 8)
    paid = work.line(f"For the usual hours {name} gets {{}} dollars.", hours, "*", wage)
    over = work.line(f"For the extra hours {name} gets {{}} dollars.", extra, "*", wage + more)
    work.line("Together that is {} dollars.", paid, "+", over)
    return work.problem(
        f"{name} works {hours} hours for ${wage} an hour and {extra} extra hours for ${wage + more} an hour. "
        f"How many dollars does {name} earn?"
    )


def library_week(draw: Draws) -> Problem:
    start, lent, back, work = draw.number(24, 48), draw.number(4, 12), draw.number(5, 9), Work()
    new = draw.number(4, 8)
    thing = draw.one_of(("books", "films", "games", "maps"))
    after = work.line(f"After lending, {{}} {thing} are left.", start, "-", lent)
    returned = work.line(f"With those brought back there are {{}} {thing}.", after, "+", back)
    work.line(f"With the new ones there are {{}} {thing}.", returned, "+", new)
    return work.problem(
        f"A library has {start} {thing} on its shelves. It lends {lent}, gets {back} back and buys {new} new ones. "
        f"How many {thing} are on the shelves now?"
    )


def average_catch(draw: Draws) -> Problem:
    mean, work = draw.number(6, 12), Work()
    first, second = draw.number(3, mean + 3), draw.number(3, mean + 2)
    third = 3 * mean - first - second
    thing = draw.one_of(("fish", "crabs", "parcels", "visitors", "calls"))
    two = work.line(f"In the first two days there were {{}} {thing}.", first, "+", second)
    three = work.line(f"In three days there were {{}} {thing}.", two, "+", third)
    work.line(f"On average there were {{}} {thing} a day.", three, "/", 3)
    return work.problem(
        f"There were {first} {thing} on the first day, {second} on the second and {third} on the third. "
        f"How many {thing} were there a day on average?"
    )


def school_kits(draw: Draws) -> Problem:
    pupils, each, pack, work = draw.number(3, 9), draw.number(2, 6), draw.number(4, 10), Work()
    thing = draw.one_of(("crayons", "clips", "sheets", "pins"))
    packs = pupils * each
    total = work.line(f"The packs hold {{}} {thing}.", packs, "*", pack)
    share = work.line(f"Each class gets {{}} {thing}.", total, "/", pupils)
    work.line(f"With the 5 it had, a class has {{}} {thing}.", share, "+", 5)
    return work.problem(
        f"A school buys {packs} packs of {pack} {thing} and shares them equally among {pupils} classes. Each class "
        f"already had 5 {thing}. How many {thing} does a class have now?"
    )


def water_tank(draw: Draws) -> Problem:
    minutes, rate, leak, work = draw.number(4, 12), draw.number(6, 12), draw.number(2, 4), Work()
    start = draw.number(4, 16)
    gain = work.line("Each minute the tank gains {} litres.", rate, "-", leak)
    gained = work.line(f"In {minutes} minutes it gains {{}} litres.", gain, "*", minutes)
    work.line("Then it holds {} litres.", start, "+", gained)
    return work.problem(
        f"A tank holds {start} litres. Each minute {rate} litres flow in and {leak} litres leak out. "
        f"How many litres does it hold after {minutes} minutes?"
    )


def bicycle_hire(draw: Draws) -> Problem:
    name, hours, price, friends, work = draw.name(), draw.number(2, 6), draw.number(3, 9), draw.number(2, 5), Work()
    fee = draw.number(2, 9)
    vehicle = draw.one_of(("bicycle", "canoe", "sledge", "scooter"))
    hire = work.line("The hours cost {} dollars.", hours, "*", price)
    one = work.line(f"With the fee one {vehicle} costs {{}} dollars.", hire, "+", fee)
    work.line("All of them cost {} dollars.", one, "*", friends)
    return work.problem(
        f"Hiring a {vehicle} costs ${price} an hour and a fee of ${fee}. {name} hires {friends} of them for {hours} "
        "hours. How many dollars does that cost?"
    )


THREE_STEPS: tuple[Template, ...] = (
    two_purchases,
    profit_of_stall,
    reading_plan,
    eggs_sold,
    three_friends,
    journey,
    party_tables,
    shared_harvest,
    paint_bought,
    overtime,
    library_week,
    average_catch,
)
THREE_STEPS_UNSEEN: tuple[Template, ...] = (school_kits, water_tank, bicycle_hire)
