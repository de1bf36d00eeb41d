"""Says whether a history of the cluster kept the promises: what was asked for, and what the topics hold now.

Pure: it takes lists and gives the violations as sentences; none = good. `read_history` fills the lists from a broker.

- Nothing lost: every ticket has a terminal outcome, a result or a dead letter.
- Nothing twice: not more than one, and one per record of the topic (an id may stand in several records).
- Order: a ticket started only after all its dependencies had COMPLETED.
- No outcome for a ticket that nobody asked for, and no ticket on the topic that nobody wrote.
- Commits: nothing below a committed offset, or in the finished set of its metadata, is without an outcome. This holds at
  any moment of a run, provided that the commits were read before the results.
"""

import base64
import collections
import dataclasses
import json
import re

COMPLETED, FAILED, DEAD = "COMPLETED", "FAILED", "DEAD"


@dataclasses.dataclass(frozen=True)
class Planned:
    ticket_id: str
    dependencies: tuple = ()
    expected: str = ""  # the ending that it must have; empty = any
    created_at: int = 0  # epoch ms


@dataclasses.dataclass(frozen=True)
class Row:
    """A record on the tickets topic. ticket_id is empty when its bytes are no ticket; copy_of: where a re-queued copy
    stood first."""
    partition: int
    offset: int
    ticket_id: str
    task_type: str = "EXECUTE"
    copy_of: tuple | None = None

    @property
    def place(self):
        return self.partition, self.offset


@dataclasses.dataclass(frozen=True)
class Ending:
    """A result, or a dead letter (status DEAD). source: the record that it settles; times in epoch ms, 0 = not said."""
    ticket_id: str
    status: str
    source: tuple | None = None
    started_at: int = 0
    completed_at: int = 0
    outcome: str = ""
    place: str = ""  # for the sentences: topic/partition/offset


@dataclasses.dataclass
class History:
    planned: dict  # {ticket_id: Planned}
    rows: list
    endings: list
    committed: dict  # {partition: (offset, metadata)}
    ends: dict  # {partition: stable end of the tickets topic}
    poison: set = dataclasses.field(default_factory=set)  # places of records that were written as no tickets


# ---------------------------------------------------------------- offsets


class BadMetadata(ValueError):
    pass


def finished_in_metadata(committed, text):
    """Offsets above the committed one that a commit's metadata calls finished; empty text: none. Written from the
    format's description, not from its code: "1r" runs or "1b" bitmap, then base64url of: flags, body, delivery
    counts; behind it "@" and the id of the topic."""
    text = text.partition("@")[0]
    if not text:
        return set()
    if not re.fullmatch(r"1[rb][A-Za-z0-9_-]+", text):
        raise BadMetadata(f"unknown form {text[:20]!r}")
    try:
        data = base64.urlsafe_b64decode(text[2:] + "=" * (-len(text[2:]) % 4))
    except ValueError as trouble:
        raise BadMetadata(str(trouble)) from trouble
    at = 1

    def number():
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(data) or shift > 63:
                raise BadMetadata("cut short")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    finished, offset = set(), committed
    if text[1] == "r":
        for _ in range(number()):
            offset += number()
            length = number()
            finished.update(range(offset, offset + length))
            offset += length
    else:
        size = number()
        if size > len(data) - at:
            raise BadMetadata("cut short")
        finished = {committed + bit for bit in range(size * 8) if data[at + bit // 8] >> (bit % 8) & 1}
        at += size
    for _ in range(2 * number()):  # delivery counts: how far to the offset, how often
        number()
    if at != len(data):
        raise BadMetadata("longer than it says")
    return finished


# ---------------------------------------------------------------- checks


def check(history, ended=True):
    """Every violation. `ended`: everything should be over; False in the middle of a run."""
    return [sentence for part in (check_topic(history), check_endings(history, ended), check_order(history),
                                  check_commits(history, ended)) for sentence in part]


def check_topic(history):
    places = {row.place for row in history.rows}
    for row in history.rows:
        if row.place in history.poison:
            continue
        if row.ticket_id not in history.planned and row.task_type != "COMPENSATE":
            yield f"ticket {row.ticket_id or '?'} at {row.place} was not written by anybody"
        if row.copy_of is not None and row.copy_of not in places:
            yield f"the copy of {row.ticket_id} at {row.place} says it stood at {row.copy_of}, where nothing stands"
    written = {row.ticket_id for row in history.rows}
    for ticket_id in history.planned:
        if ticket_id not in written:
            yield f"ticket {ticket_id} is not on the topic: the history is incomplete"


def _by_id(endings):
    found = collections.defaultdict(list)
    for ending in endings:
        found[ending.ticket_id].append(ending)
    return found


def check_endings(history, ended):
    by_id = _by_id(history.endings)
    originals = collections.Counter(row.ticket_id for row in history.rows
                                    if row.copy_of is None and row.place not in history.poison)
    for ticket_id, count in originals.items():
        have = by_id.get(ticket_id, [])
        said = ", ".join(f"{e.status} {e.place}" for e in have)
        if not have and ended:
            yield f"ticket {ticket_id} is lost: it has no outcome"
        if len(have) > count:
            yield f"ticket {ticket_id} has {len(have)} outcomes for {count} record(s): {said}"
        elif sum(e.status == COMPLETED for e in have) > 1:
            yield f"ticket {ticket_id} completed more than once: {said}"
        planned = history.planned.get(ticket_id)
        if planned and planned.expected and have and all(e.status != planned.expected for e in have):
            yield f"ticket {ticket_id} should have ended {planned.expected}, not {said} ({have[0].outcome})"
    for ending in history.endings:
        if ending.ticket_id not in originals and ending.source not in history.poison:
            yield f"{ending.status} for {ending.ticket_id} at {ending.place}: nobody asked for that ticket"
    sources = collections.Counter(e.source for e in history.endings if e.source is not None)
    for source, count in sources.items():
        if count > 1:
            yield f"the record at {source} has {count} outcomes"
    if ended:
        for place in sorted(history.poison - set(sources)):
            yield f"the unreadable record at {place} has no dead letter"


def check_order(history):
    by_id = _by_id(history.endings)
    for ending in history.endings:
        planned = history.planned.get(ending.ticket_id)
        if planned is None:
            continue
        if ending.status == COMPLETED and not ending.started_at:
            yield f"the result of {ending.ticket_id} does not say when it started"
        if not ending.started_at:
            continue
        for dependency in planned.dependencies:
            good = [e for e in by_id.get(dependency, []) if e.status == COMPLETED]
            if not good:
                yield f"ticket {ending.ticket_id} started although {dependency} never completed"
            elif min(e.completed_at for e in good) > ending.started_at:
                late = min(e.completed_at for e in good) - ending.started_at
                yield f"ticket {ending.ticket_id} started {late} ms before {dependency} completed"


def check_commits(history, ended):
    by_id, sources = _by_id(history.endings), {e.source for e in history.endings}
    copied = {row.copy_of for row in history.rows if row.copy_of is not None}
    copies = collections.defaultdict(list)
    for row in history.rows:
        if row.copy_of is not None:
            copies[row.copy_of].append(row.place)

    def settled(row):
        if row.place in sources or row.place in copied:
            return True
        if row.copy_of is not None:  # a copy that was copied again
            if row.copy_of in sources or any(place > row.place for place in copies[row.copy_of]):
                return True
        return any(e.source is None or e.status == COMPLETED for e in by_id.get(row.ticket_id, []))

    finished = {}
    for partition, (offset, metadata) in history.committed.items():
        try:
            finished[partition] = finished_in_metadata(offset, metadata)
        except BadMetadata as trouble:
            finished[partition] = set()
            yield f"partition {partition}: the metadata of the commit cannot be read: {trouble}"
        end = history.ends.get(partition)
        if end is not None and offset > end:
            yield f"partition {partition}: offset {offset} is committed, but it ends at {end}"
    for row in history.rows:
        offset, _ = history.committed.get(row.partition, (0, ""))
        called_done = row.offset < offset or row.offset in finished.get(row.partition, ())
        if called_done and not settled(row):
            yield f"ticket {row.ticket_id or '?'} at {row.place} counts as done (committed: {offset}) without an outcome"
        if ended and not called_done:
            yield f"ticket {row.ticket_id or '?'} at {row.place} is not committed at the end (committed: {offset})"


def check_statuses(history, statuses):
    """What the ticket service was told last must be what the results say."""
    by_id = _by_id(history.endings)
    for ticket_id in history.planned:
        have = by_id.get(ticket_id)
        if not have:
            continue
        said, told = (FAILED if have[-1].status == DEAD else have[-1].status), statuses.get(ticket_id)
        if have[-1].status == DEAD and told == "PENDING":
            continue
        if told != said:
            yield f"ticket {ticket_id} ended {said}, but the ticket service has {told}"


def check_ledger(history, lines, calm=False):
    """`start ID` and `end ID`, as the tasks themselves wrote them, in order. `calm`: nothing was disturbed, so nothing
    may have been started twice."""
    starts, ends = collections.Counter(), {}
    completed = {e.ticket_id for e in history.endings if e.status == COMPLETED}
    for number, line in enumerate(lines):
        what, _, ticket_id = line.partition(" ")
        planned = history.planned.get(ticket_id)
        if planned is None or what not in ("start", "end"):
            yield f"line {number + 1} of the ledger is none of ours: {line!r}"
        elif what == "start":
            starts[ticket_id] += 1
            for dependency in planned.dependencies:
                if dependency not in ends:
                    yield f"{ticket_id} was started before {dependency} had ended (ledger, line {number + 1})"
        else:
            ends.setdefault(ticket_id, number)
    for ticket_id in sorted(completed - set(ends)):
        yield f"{ticket_id} is COMPLETED, but its task never came to its end"
    if calm:
        for ticket_id, count in starts.items():
            if count > 1:
                yield f"{ticket_id} was started {count} times, though nothing disturbed it"


def figures(history, lines=()):
    endings = [e for e in history.endings if e.ticket_id in history.planned]
    times = sorted(e.completed_at - history.planned[e.ticket_id].created_at for e in endings
                   if e.completed_at and history.planned[e.ticket_id].created_at)
    starts = collections.Counter(line.split()[1] for line in lines if line.startswith("start "))
    span = (max((e.completed_at for e in endings), default=0) -
            min((e.started_at for e in endings if e.started_at), default=0)) / 1000
    return {
        "tickets": len(history.planned), "outcomes": dict(collections.Counter(e.status for e in endings)),
        "reasons": dict(collections.Counter(e.outcome for e in endings if e.status != COMPLETED)),
        "copies": sum(row.copy_of is not None for row in history.rows),
        "tickets_per_second": round(len(endings) / span, 1) if span > 0 else 0,
        "seconds_to_end": {"median": times[len(times) // 2] / 1000, "p99": times[len(times) * 99 // 100] / 1000,
                           "max": times[-1] / 1000} if times else {},
        "starts": sum(starts.values()), "started_again": sum(count - 1 for count in starts.values()),
    }


# ---------------------------------------------------------------- reading


def _headers(record):
    return {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in record.headers}


def _place(headers, what):
    try:
        return int(headers[f"x-worker-{what}-partition"]), int(headers[f"x-worker-{what}-offset"])
    except (KeyError, ValueError):
        return None


def row_of(record, decode):
    """A record of the tickets topic. `decode` gives the ticket or raises."""
    try:
        ticket = decode(record.value)
        ticket_id, task_type = ticket["ticket_id"], ticket.get("task_type", "")
    except Exception:  # whatever it is, it is no ticket
        ticket_id, task_type = "", ""
    return Row(record.partition, record.offset, ticket_id, task_type, _place(_headers(record), "origin"))


def ending_of_result(record, result):
    metadata = result.get("result", {}).get("metadata", {})

    def time_of(name):
        return int(result.get(name) or metadata.get(name) or 0)
    return Ending(result["ticket_id"], result["status"], _place(_headers(record), "source"), time_of("started_at"),
                  time_of("completed_at"), metadata.get("outcome", ""), f"{record.topic}/{record.partition}/{record.offset}")


def ending_of_dead_letter(record):
    letter = json.loads(record.value)
    facts = letter.get("dlq_metadata", {})
    source = _place(_headers(record), "source")
    if source is None and "source_offset" in facts:
        source = facts["source_partition"], facts["source_offset"]
    return Ending(letter.get("ticket_id", "unknown"), DEAD, source, outcome=facts.get("reason", ""),
                  place=f"{record.topic}/{record.partition}/{record.offset}")


def read_history(kafka, planned, poison, tickets_topic, results_topic, dead_letter_topic, group):
    """The commits are read first: what they call done must be in what is read after them."""
    import avro_schemas
    committed = kafka.committed(group, tickets_topic)
    endings = [ending_of_result(record, result) for record, result in kafka.results(results_topic)]
    endings += [ending_of_dead_letter(record) for record in kafka.read_all(dead_letter_topic)]
    rows = [row_of(record, avro_schemas.decode_ticket) for record in kafka.read_all(tickets_topic)]
    return History(planned, rows, endings, committed, kafka.ends(tickets_topic), set(poison))
