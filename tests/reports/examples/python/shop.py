"""Something small to test and to cover, with lines that no test reaches."""


def price(count, each):
    if count < 0:
        raise ValueError("count is negative")
    total = count * each
    if total > 100:
        total = total * 9 // 10
    return total


def label(count):
    if count == 1:
        return "one piece"
    return f"{count} pieces"


def never_called(values):
    result = []
    for value in values:
        result.append(value * 2)
    return result
