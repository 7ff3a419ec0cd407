"""What keeps API keys, people and sessions. No extension point: it belongs to `[storage] url`, like the catalog.

Imports nothing but zope.interface; rules as in `calltrack.interfaces`.
"""

from zope.interface import Interface


class IAccessStore(Interface):
    """Keeps API keys, people, their sessions, one-time links and the log of changes. Rules are checked before values
    get here (see `calltrack.access`); secrets come as hashes."""

    def add_key(key):
        """Store an `APIKey` whose id is 0; fires with it, its id assigned. Fails with NoSuchObject when its
        project does not exist."""

    def keys():
        """Fires with every `APIKey` by id."""

    def key(public: str):
        """Fires with the `APIKey` whose public part this is, or None."""

    def replace_key(key):
        """Store a changed `APIKey` over the one with the same id; fires with None, also when it is gone."""

    def remove_key(key: int):
        """Delete a key; fires with None, also when it was gone already."""

    def add_person(person, first: bool = False):
        """Store a `Person` whose id is 0; fires with it, its id assigned. Fails with InvalidField when somebody has
        the name, or, with `first`, when there is anybody at all."""

    def replace_person(person):
        """Store a changed `Person` over the one with the same id; fires with it. Fails with NoSuchObject,
        InvalidField when somebody else has the name."""

    def remove_person(person: int):
        """Delete a person with all sessions; fires with None, also when they were gone already."""

    def people():
        """Fires with every `Person` by id."""

    def put_session(session):
        """Insert or replace a `Session` by id; fires with None. Fails with NoSuchObject when its person is gone."""

    def keep_session(session):
        """Store a changed `Session` over the one with the same id, unless that has ended meanwhile; fires with whether
        it had not."""

    def session(session: str):
        """Fires with the `Session` with this id, or None."""

    def sessions(person: int):
        """Fires with the `Session`s of a person, newest first."""

    def remove_sessions(person: int | None = None, session: str | None = None, before: int | None = None):
        """Delete sessions: of a person, the one with this id, or those that expire before an instant. Fires with None."""

    def add_link(link):
        """Store a `Link`; it takes the place of any other with its purpose for the same person (of "set-up": for nobody).
        Fires with None."""

    def link(link: str):
        """Fires with the `Link` with this id, or None."""

    def take_link(link: str):
        """Fires with the `Link` with this id and deletes it, so that it is given once; or with None."""

    def remove_links(person: int):
        """Delete the `Link`s of a person; fires with None."""

    def note(entry, since: int = 0):
        """Append an `AuditEntry`, its id to be assigned; of the oldest that are from before `since` (milliseconds since the
        Unix epoch), delete some: more than one. Fires with None."""

    def audit(project: int | None = None, limit: int = 100, before: int | None = None):
        """Fires with the latest `AuditEntry`s of a project, or all, newest first; `before`: with smaller ids only."""
