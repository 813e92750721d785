"""Keys of a world that a test makes: of any account, with a role of its own if asked."""

from __future__ import annotations

from phimage.catalog.accounts import (
    MEMBERSHIPS,
    PROJECTS,
    NewKey,
    add_key,
    add_user,
    find_key,
    put_key,
)
from phimage.catalog.lookup import find_tenant
from phimage.catalog.revisions import Author
from phimage.ci.values import BadControl
from phimage.ci.world import World
from phimage.model.account import Membership, PrivateKey, Role
from phimage.model.ids import AccountId, ProjectId, PublicKey


def make_key(
    world: World, account: str, *, user: str = "", public: str = "", private: str = "", role: str = "", project: str = ""
) -> NewKey:
    """Make a key for the main user of an account, or for a sub-user, who is added if there is none and gets a role.

    Without `public` and `private` the pair comes from the world's seed. Raises BadControl.
    """
    author = Author("ci", "local", "", "MakeKey", world.clock())
    with world.catalog.change(author) as change:
        tenant = find_tenant(change.connection, AccountId(account))
        if tenant is None:
            raise BadControl(f"account: there is no account {account!r}", "expected one of the seed, such as demo or operator")
        users = tenant.users.values()
        found = next((one for one in users if (one.name == user if user else one.main)), None)
        owner = found or add_user(change, AccountId(account), user, tenant.account.email)
        if role:
            if role not in list(Role) or owner.main:
                raise BadControl(f"role: {role!r} cannot be given", "expected viewer or editor, for a `user` of the account")
            own = PROJECTS.find(change.connection, ProjectId(project))
            if own is None or own.account != account:
                raise BadControl(f"project: {project!r} is no project of {account}", "expected the id of one")
            MEMBERSHIPS.put(change, Membership(own.id, owner.id, AccountId(account), Role(role)))
        if not public:
            return add_key(change, owner, world.catalog.key_encryption, world.random)
        if not private or find_key(change.connection, PublicKey(public)) is not None:
            raise BadControl(f"public: {public!r} cannot be used", "expected a new one, and `private` beside it")
        new = NewKey(PublicKey(public), PrivateKey(private))
        put_key(change, owner, world.catalog.key_encryption, new)
        return new
