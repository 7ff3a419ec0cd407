"""Every extension point of calltrack, in one place: what a plugin author reads first. docs/plugins.md builds one.

A plugin is an `IBackend`. What it makes is one of `ILocationStore`, `IScenarioSource`, `ICallRecordStore`, `IMediaRelay`; an event
sink (`IEventSink`) has an `IEventSinkMaker` in its place. The other stores here belong to `[storage] url` together, because what
they keep is written in one transaction: they are no extension points.

Rules for all:

- *Threading.* Every method is called in the reactor's thread and must not block it, unless its interface says otherwise.
- *Outcomes.* Where a method answers with a Deferred, all its outcomes are listed. Any other failure, an exception that is raised, or an
  answer that is no Deferred is taken for a bug of the plugin: logged with its traceback, and heard as StoreUnavailable. So is a
  Deferred of a store or source that has not fired after 10 seconds: it is cancelled.
- *Ordering.* Methods may be called while earlier Deferreds have not fired, unless their interface says that calls wait for each other.
- *Life.* Nothing is called before `startService` of an `IService` has fired, nothing after `stopService`.
- *Units.* Times are milliseconds since the Unix epoch, UTC, as int, and durations seconds, as float, unless a name says otherwise; numbers
  are digits of their E.164 form without the plus; addresses are literals.

Imports nothing but zope.interface. Values named here live in `calltrack.tracking.model`, errors in `calltrack.errors`.
"""

from zope.interface import Attribute, Interface


class IBackend(Interface):
    """A plugin: something with a name that gives calltrack an implementation of one of its extension points.

    Put an object that provides this and `twisted.plugin.IPlugin` at the top of a module in a directory `twisted/plugins`
    (see docs/plugins.md). Such modules are imported whenever plugins are looked for, so they should import little, and what
    they name when `make` is called.
    """

    name = Attribute("What the configuration calls it: letters, digits and dashes, as in `[locations] store = \"redis\"`.")
    version = Attribute("Text, for `calltrack plugins`.")
    provides = Attribute("Which interface `make` gives: IMediaRelay, ILocationStore, IScenarioSource or ICallRecordStore.")
    settings = Attribute(
        "A type derived from msgspec.Struct, which its section of the configuration is read into: fields are keys, with "
        "defaults, types and limits (msgspec.Meta). What `__post_init__` raises as ValueError is told to the operator. None: "
        "it takes no settings."
    )

    def make(context, settings):
        """The implementation, for one engine. `context`: see `calltrack.plugins.context.Context`. `settings`: an instance of
        the type above, or None. Called in the reactor thread before anything listens; opens and asks nothing yet.

        What it gives may also provide `twisted.application.service.IService`: `startService` is called before its first use
        and may answer with a Deferred, `stopService` after its last; the order is in docs/plugins.md. And `IHealth`.
        Raises InvalidField for settings that cannot be used together: the engine then does not start."""


class IHealth(Interface):
    """An implementation that can say how it is. Asked for `/ready` and by `calltrack check`, about once a second."""

    def health():
        """Fires with "" when it works, else with what is wrong, in words for the operator. What it fails with is taken
        for such words; one that has not fired after two seconds is taken for ill."""


class IScenarioSource(Interface):
    """Says where a call to a substitution number goes and which visit or channel it belongs to.

    Asked once for each call, before anything rings. When it is slow or fails the call rings all the same: on the last known
    route, without attribution, and its record's attribution says why.
    """

    def lookup(dialled: str, caller: str, at: float):
        """The route of a call to `dialled` (E.164 digits, no plus) from `caller` (the same, or "" when
        withheld) at `at` (seconds since the Unix epoch).

        Fires with a `Route`; a Route without targets means: known, but nowhere to go. Fires with None
        for a number that is nobody's. The caller gives it a time budget (200 ms unless configured) and
        cancels the Deferred when that is over; on time-out or failure the call goes on with the last
        known routing. Called once a call, concurrently for many calls.
        """

    def last_known(dialled: str):
        """The last known `Route` for `dialled` from memory at once, without attribution, or None.
        Must not raise and must not wait: it is what keeps calls ringing when all else is down."""


class IMediaRelay(Interface):
    """Carries the media of calls between their parties, so that neither sees the other's address. Calls are
    opened between `start` and `stop` only. Not guarded against bugs: it is trusted as calltrack's own code is. A call whose
    session cannot be opened is refused with 503 and a record that says why; the others are not touched."""

    def start():
        """Make ready for calls. Fires with None when calls can be opened. What a relay needs from outside and
        cannot have (a privilege, a node that answers) is logged and does not fail the start: it carries what it
        can, and `open` says what it cannot."""

    def stop():
        """Close every session and give everything back. Fires with None when that is done; idempotent, and never
        fails."""

    def open(call_id: str, on_timeout):
        """A new `IMediaSession` for one call. `on_timeout()` is called once, from the reactor, when a
        connected session that is not on hold has carried no packet for the configured time.
        Raises MediaUnavailable when the relay cannot take another call."""

    def status():
        """What health pages and metrics tell of it, now: a dict of plain values. `relay`: its name; `sessions`:
        how many are open; the rest are counters since the start, ints that only grow, and `why`, when it does less
        than its name says: in words for the operator."""


class IMediaSession(Interface):
    """The media of one call. Parties are named "caller", "target-1", "target-2" ...

    Ports are taken when a description is first rewritten for a party and kept until the party is
    dropped or the session closed, so a repeated offer shows the same ports. Descriptions are bytes of
    application/sdp (RFC 8866); everything not understood passes unchanged and in place.

    Calls of `offer` and `answer` may wait for each other; they take effect in the order in which they were made. A call is not
    closed while one waits, but what it answers then is thrown away. A failure of an offer fails the target (the next one rings), of
    the target's answer the call (488, or 503 when the relay is to blame), of a change within a call that change alone.
    """

    def offer(source: str, target: str, sdp: bytes, source_host: str, target_host: str, allow: tuple = ()):
        """Rewrite an offer that `source` made, for `target` (RFC 3264). Hosts are address literals that
        each party's signalling goes to: they choose address family and local address. `allow`: codec
        names to keep, most wanted first; empty keeps all.

        Fires with the rewritten description. Fails with UnusableSDP (nothing usable in it, or no codec
        left) or MediaUnavailable (no ports).
        """

    def answer(source: str, target: str, sdp: bytes, source_host: str, target_host: str):
        """Rewrite the answer that `source` gave to an offer of `target`; outcomes as of `offer`. From
        now on media flows between the two (early media, when the session is not connected yet)."""

    def connect(party: str):
        """`party` has answered the call: only it and "caller" hear each other from now on, every
        other party is dropped. Starts the media timeout. Idempotent."""

    def drop(party: str):
        """Forget a party that did not get the call. Unknown names are ignored."""

    def tap(observer):
        """From now on tell `observer` (an `IMediaTap`; None: nobody any longer) of every RTP packet of the call's
        audio that is relayed, until the session is closed. One observer at a time, a new one takes the place of
        the old. May be called at any time before `close`, also before there is a target. Sessions that were
        never tapped pay nothing for it. A relay that records by itself does so from the call's answer on, says where in
        `recording` (text), and raises MediaUnavailable all the same."""

    def figures():
        """The `MediaFigures` up to now, at once or as a Deferred that fires with them and never fails."""

    def close():
        """Stop relaying and give the ports back (after quarantine). Returns the final `MediaFigures`, or a Deferred that fires
        with them and never fails; the call's record waits for it, so within a few seconds.
        Idempotent; later calls give the same figures."""


class IMediaTap(Interface):
    """Hears the packets of one call, to record them."""

    def packet(party: str, data: bytes, at: float):
        """`party`, "caller" or "target" (whichever target the caller hears then), has sent `data`: one datagram
        with an RTP header (RFC 3550; at least 12 bytes, version 2, no RTCP), otherwise as it came, so all else
        in it may be hostile. `at`: seconds of the monotonic clock, when it was read; packets are told in the
        order they are relayed. Must return at once, and must not raise: an observer that does is
        logged and told nothing more, and the call goes on."""


class ICallRecordStore(Interface):
    """Keeps call records. The ledger batches writes, retries them and spools them to a file while the
    store is away, so an implementation only has to be honest about failure: no call waits for it. One write at a time. A store adds
    what records give rise to (`calltrack.events.derived.of_call`) to the log of events (`Context.events`), as its own do."""

    def write(records: list):
        """Insert or replace `CallRecord`s by id, all or none. A record that is final is never replaced
        by one that is not; a record without ladder keeps the ladder that is there; writing the same
        record twice changes nothing.
        Fires with None when they are durable. Fails with StoreUnavailable when none was written."""

    def get(call_id: str):
        """Fires with the `CallRecord`, or fails with NoSuchObject."""

    def list(limit: int = 100, project: int | None = None, status: str | None = None, before: str | None = None):
        """Fires with a list of at most `limit` records, newest first, without ladders; `before`: only
        records older than the call with this id. Fails with NoSuchObject when `before` is no call,
        StoreUnavailable."""

    def unfinished():
        """Fires with the records that are still ACTIVE, oldest first."""

    def find(query):
        """Fires with the records that a `CallQuery` asks for, in its order, without ladders. Fails with
        StoreUnavailable."""

    def tally(project: int, since: int, until: int, offset: int):
        """Fires with the `CallTally` of a project's ended calls created from `since` to before `until` (milliseconds
        since the Unix epoch). `offset`: milliseconds that its wall clock is ahead of UTC, for days and hours; whole
        quarters of an hour. Fails with StoreUnavailable."""

    def forget_caller(caller: str):
        """Blank a caller (E.164 digits, never "") in every record, and in what the store keeps of the
        events that records gave rise to. Fires with how many records that changed."""


class ICatalogStore(Interface):
    """Keeps projects, numbers and scenarios. Rules are checked before values get here (see
    `calltrack.tracking.catalog`); a store checks only what needs its atomicity: ids, uniqueness."""

    def add_project(project):
        """Store a `Project` whose id is 0; fires with it, its id assigned."""

    def add_scenario(scenario):
        """Store a `Scenario` whose id is 0; fires with it, its id assigned. Fails with NoSuchObject
        when the project does not exist."""

    def add_number(number):
        """Store a `Number`; fires with it. Fails with InvalidField when it belongs to somebody already,
        NoSuchObject when its project or scenario does not exist."""

    def replace(value):
        """Store a changed `Project`, `Scenario` or `Number` over the one with the same id (or number);
        fires with it. Fails with NoSuchObject."""

    def remove(value):
        """Delete a `Scenario` or `Number`; fires with None, also when it was gone already."""

    def snapshot():
        """Fires with `(version, projects, scenarios, numbers)`: an int that grows with each change made
        by anyone, and three lists."""

    def version():
        """Fires with the version alone; cheap, asked twice a second."""


class IVisitStore(Interface):
    """Keeps visits and the history of leases. Decisions are made in memory (see `calltrack.tracking.leases`); a
    store confirms them, and refuses what would put two visits on one number, whoever asks."""

    def reserve(project: int, count: int):
        """Set aside `count` visit numbers of a project, which nobody gets again. Fires with the first; the others
        follow it. Numbers begin with 1. Fails with StoreUnavailable."""

    def write(visits: list, begun: list, ended: list, misses: list):
        """Store new `Visit`s and `Miss`es, `Lease`s that begin and `Lease`s that end (the same `number` and
        `begun`, now with `ended` and `confirmed`); ends first, all in one transaction. What is there already stays as
        it is, so a repeated write changes nothing; the end of a lease that is unknown is passed over.

        Fires, when that is durable, with those of `begun` that were refused because their number has an active lease.
        Fails with StoreUnavailable when nothing was written."""

    def get(project: int, number: int):
        """Fires with the `Visit`, or fails with NoSuchObject."""

    def list(limit: int = 100, project: int | None = None, before: tuple | None = None):
        """Fires with at most `limit` visits, newest first; `before`: only those older than the visit
        `(project, number)`. Fails with NoSuchObject when that is none."""

    def leases_of(project: int, visit: int):
        """Fires with the leases of a visit, oldest first."""

    def history(numbers: list, each: int):
        """Fires with the latest `each` leases of each of `numbers`, by number, oldest first."""

    def usage(scenario: int, since: int):
        """Fires with `(leases, misses)` of a scenario that began since an instant (milliseconds since the Unix
        epoch), oldest first; leases that were never shown are left out."""

    def erase(visits: list, fields: list):
        """Blank `fields` of the visits `(project, number)`. Fires with how many there were."""

    def expire(field: str, since: int, before: int, limit: int):
        """Blank `field` of about `limit` visits that started from `since` to before `before` (milliseconds since the
        Unix epoch), the oldest; with `field` "visit", delete them; their leases stay. Fires with the `since` to go on
        with, None when there are no more."""


class IAccountStore(Interface):
    """Keeps the SIP accounts of projects. Passwords are judged and hashed before values get here (see
    `calltrack.tracking.accounts`)."""

    def add(account):
        """Store an `Account` unless its project has one; fires with the one that the project has now. Fails
        with NoSuchObject when the project does not exist, InvalidField when the user name is taken."""

    def replace(account):
        """Store a changed `Account` over the one of the same project; fires with it. Fails with NoSuchObject."""

    def snapshot():
        """Fires with `(version, accounts)`: an int that grows with each change made by anyone, and a list."""

    def version():
        """Fires with the version alone; cheap, asked several times a second."""


class ILocationStore(Interface):
    """Keeps the contact bindings of devices that are logged in. Look-ups for calls never come here: the
    registrar holds every binding in memory and reads this store once, when it starts. One write at a time; while one waits, what
    other devices change gathers for the next. When it fails, devices get 503 and come again, memory is ahead of the store, and the
    change is written again a second later until it is taken. When `list` fails at the start it is asked again, and devices get 503
    until it has answered."""

    def write(saved: list, removed: list, events=()):
        """Insert or replace the `Binding`s `saved` by project and id, delete those whose `(project, id)` stands
        in `removed`, and add `events`, which tell of that, to the log of events; all or none. A store that is not in one
        transaction with the log appends to it first (`IEventStore.append`) and changes bindings when that is durable: a write
        that fails is repeated, and the log takes an event once. No binding stands in both lists; deleting what is gone is allowed.
        Fires with None when all is durable: only then is a REGISTER answered. Fails with StoreUnavailable."""

    def list(project: int | None = None):
        """Fires with the bindings of a project, or all, by project, then by time of registration and id;
        expired ones that nobody has removed are among them."""

    def forget(project: int):
        """Delete every binding of a project. Fires with None when that is durable."""


class IEventStore(Interface):
    """The log of events (`calltrack.events.model`): appended to, read by many, each at its own pace."""

    def append(events):
        """Add `events`, in order, but for those whose id is in the log already. Fires with None when that is
        durable; fails with StoreUnavailable."""

    def read(after: int, limit: int = 500, types=(), project: int | None = None):
        """Fires with `(seq, found)`: at most `limit` `Logged` events behind number `after`, in order, of these
        types (all when empty) and this project; and the number to go on after. Fails with StoreUnavailable."""

    def last():
        """Fires with the number of the newest event; 0 when there was never one."""

    def get(event_id: str):
        """Fires with the `Logged` event; fails with NoSuchObject."""

    def position(reader: str):
        """Fires with the number of the last event that `reader` has taken. A reader that was never heard of begins
        at the end of the log."""

    def advance(reader: str, seq: int):
        """`reader` has taken everything up to `seq`. Fires with None when that is durable."""

    def prune(before: int, readers: dict, overdue: int = 0):
        """Forget some of what happened before `before` (milliseconds since the Unix epoch) and what none of `readers`
        and no delivery waits for; and of what happened before `overdue` also what readers wait for. `readers`: the types that
        each wants, all when empty, by name; others are forgotten. Fires with a `Pruned`, whose count is 0 when there is no more."""


class IEventSink(Interface):
    """Takes every event of the engine, such as a file, a message broker, an analytics service.

    Events come at least once and in order; after a crash some come again, with the same ids. A sink that fails is
    asked again, later and later; one that does not answer in time is given up for the moment. Others do not notice.
    """

    threaded = Attribute(
        "True: `deliver` is called in a thread of its own, may block, and returns or raises instead of firing."
    )

    def start(reactor):
        """Called once, in the reactor thread, before the first `deliver`. Must not block."""

    def deliver(events):
        """Take a list of `Logged` events (`seq`, `event`). Fires with None when they are kept: they are not given
        again. Whatever it fails with is logged, and the same events are given again later. When the Deferred is
        cancelled, time is up."""

    def close():
        """Let go of files and connections; called once, in the reactor thread. May fire when that is done."""


class IEventSinkMaker(Interface):
    """A kind of event sink, found by `twisted.plugin` when `[[sink]] kind` in the configuration has its name."""

    name = Attribute("What the configuration calls it.")

    def make(options: dict):
        """An `IEventSink` for a `[[sink]]` table's keys beside `name`, `kind` and `events`. Opens nothing. Raises
        InvalidField for an option that is unknown or cannot be used, with the key as its field."""
