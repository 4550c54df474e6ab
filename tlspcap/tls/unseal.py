"""Opens the sealed records of one handshake with the secrets of a key log.

Each side seals under one key after another, an *epoch* each: in TLS 1.3 early data, the handshake, and traffic, anew
with every KeyUpdate (RFC 8446 7.1); before, one behind the ChangeCipherSpec. Within an epoch records are numbered.

Where keys are wrong or missing, or so many bytes are lost that the number of the next record cannot be found, records
stay sealed, and a note says so. What opens is handshake messages and alerts: of data behind the handshake only records
are opened only to see what they are, small ones and the first of a side, and nothing of it is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tlspcap.tls import keylog, secrets
from tlspcap.tls.account import CLIENT, SERVER, Account
from tlspcap.tls.ciphers import Suite
from tlspcap.tls.keylog import KeyLog
from tlspcap.tls.names import TLS10, TLS12, TLS13, HandshakeType
from tlspcap.tls.protection import Plain, Protection, Shape, protection, shape
from tlspcap.tls.records import ALERT, HANDSHAKE, Record
from tlspcap.tls.secrets import RecordKeys
from tlspcap.transport import Data

LARGEST_AFTER = 4_096  # bytes of a record behind the Finished that is opened; alerts, tickets, KeyUpdates are smaller
MOST_SKIPPED = 32  # records that a gap may hide: as many numbers are tried
MOST_FAILURES = 4  # records of a side that do not open, before it is given up
FIRST_DRAFT, LAST_DRAFT = 0x7F19, 0x7F1C  # drafts 25 to 28 seal as TLS 1.3 does: the header counts (RFC 8446 5.2)
CHANGES = frozenset((HandshakeType.FINISHED, HandshakeType.END_OF_EARLY_DATA, HandshakeType.KEY_UPDATE))

Note = Callable[[str, Data, str], None]  # kind, packet, detail


@dataclass(slots=True)
class _Epoch:
    """Records sealed under one key."""

    label: str  # of its secret in the key log
    openers: list[Protection]  # one for each candidate; the one that fits is left
    secrets: tuple[bytes, ...] = ()  # TLS 1.3: the candidates, for KeyUpdate
    number: int = 0  # of the next record
    may_end_unseen: bool = False  # early data that is refused ends without a word

    def __repr__(self) -> str:
        """Show no secret."""
        return f"_Epoch({self.label}, {len(self.openers)} keys, number {self.number})"

    def open(self, record: Record, tries: int) -> Plain | None:
        """Open a record with the next number, or one of the next few."""
        for opener in self.openers:
            plain = opener.open(range(self.number, self.number + tries), record)
            if plain is not None:
                self.number, self.openers = plain.number + 1, [opener]
                return plain
        return None


class _Side:
    """The sealed records of one side, in order."""

    def __init__(self, role: str, epochs: list[_Epoch], note: Note) -> None:
        self.stopped = not epochs
        self.fits = False  # a record was opened
        self._role, self._epochs, self._note = role, epochs, note
        self._at = 0
        self._lost = False  # a gap hides how many records are missing
        self._failures = 0

    @property
    def epoch(self) -> _Epoch:
        """The one that the next record is of, as far as is known."""
        return self._epochs[self._at]

    @property
    def in_traffic(self) -> bool:
        """TLS 1.3: the side has sent its Finished."""
        return self._at >= 1 and self._at == len(self._epochs) - 1

    def lose(self) -> None:
        """Note that an unknown number of records is missing."""
        self._lost = True
        for epoch in self._epochs[self._at :]:
            for opener in epoch.openers:
                opener.lose()

    def pass_over(self, record: Record) -> None:
        """Count a record that need not be opened, or of which bytes are missing."""
        self.epoch.number += 1
        for opener in self.epoch.openers:
            opener.pass_over(record)

    def open(self, record: Record) -> Plain | None:
        """Open a record; one that does not open counts as one all the same."""
        plain = self._attempt(record)
        if plain is None:
            self._fail(record)
            self.epoch.number += 1
        else:
            self.fits, self._lost = True, False
        return plain

    def change(self, sealing: "Sealing", update: bool) -> None:
        """Go on to the next epoch: an EndOfEarlyData, a Finished or a KeyUpdate was opened."""
        if update:
            following = tuple(secrets.next_secret(secret, sealing.digest) for secret in self.epoch.secrets)
            self._epochs.append(_tls13_epoch(self.epoch.label, following, sealing))
        if self._at + 1 < len(self._epochs):
            self._at += 1

    def _attempt(self, record: Record) -> Plain | None:
        tries = MOST_SKIPPED if self._lost else 1
        for at in range(self._at, len(self._epochs)):
            epoch = self._epochs[at]
            plain = epoch.open(record, tries)
            if plain is not None:
                self._at = at
                return plain
            if epoch.openers and not epoch.may_end_unseen and not self._lost:
                break  # its end would have been seen
        return None

    def _fail(self, record: Record) -> None:
        """Note why a record did not open, where that is the fault of the keys."""
        epoch = self.epoch
        if epoch.may_end_unseen:  # early data under a key that the log does not hold, or refused
            return
        self._failures += 1
        self.stopped = self._failures >= MOST_FAILURES
        if self._lost or self._failures > 1:
            return
        if not epoch.openers:
            detail = f"the key log lacks the {epoch.label}: what the {self._role} sealed under it stays so"
            self._note("keys_incomplete", record.first, detail)
        else:
            later = ", though others did" if self.fits else ""
            detail = f"a record of the {self._role} does not open with the {epoch.label} of the key log{later}"
            self._note("keys_do_not_fit", record.first, detail)


class Unsealer:
    """Opens the sealed records of one handshake. Give it all of them, each when it is the newest of the account."""

    def __init__(self, account: Account, keys: KeyLog, note: Note) -> None:
        self._account, self._keys, self._note = account, keys, note
        self._sides: dict[str, _Side] = {}
        self._begun = False
        self._lost: set[str] = set()  # sides of which records may be missing
        self._sealing: Sealing | None = None

    def open(self, role: str, record: Record) -> Plain | None:
        """What a sealed record holds; None where it stays sealed."""
        if self._account.server_hello is None:
            return None
        if not self._begun:
            self._begun = True
            self._sides = {side: _Side(side, epochs, self._note) for side, epochs in self._epochs(record).items()}
            for missed in self._lost | self._missed():
                self.lose(missed)
        side = self._sides.get(role)
        rekeyed = self._account.side(role).rekeyed and not self._account.is_tls13
        if side is None or side.stopped or rekeyed:
            return None
        if not self._wanted(role, side, record) or len(record.fragment or b"") != record.length:
            side.pass_over(record)
            return None
        return side.open(record)

    def passed(self, role: str, code: int) -> None:
        """Note a message that was found in what was opened: some end an epoch (RFC 8446 4.4.4, 4.5, 4.6.3)."""
        if code in CHANGES and self._account.is_tls13 and self._sealing is not None:
            self._sides[role].change(self._sealing, code == HandshakeType.KEY_UPDATE)

    def lose(self, role: str) -> None:
        """Note that an unknown number of a side's records is missing."""
        self._lost.add(role)
        if role in self._sides:
            self._sides[role].lose()

    def _missed(self) -> set[str]:
        """Sides of which records were sealed before there were keys: how many of each epoch is not known."""
        sealed = [seen for seen in self._account.records[:-1] if seen.sealed]
        early = {record.end for record in self._account.client.early}
        return {seen.sender for seen in sealed if seen.sender == SERVER or seen.record.end not in early}

    def _wanted(self, role: str, side: _Side, record: Record) -> bool:
        """Whether a record may hold a part of the handshake, or an alert."""
        if self._account.is_tls13:
            sought = self._account.side(role).application is None
            return not side.in_traffic or sought or record.length <= LARGEST_AFTER
        begun = self._account.side(role).finished is not None
        return record.content_type == ALERT or (record.content_type == HANDSHAKE and not begun)

    # -- keys -----------------------------------------------------------------------------------------------------

    def _epochs(self, record: Record) -> dict[str, list[_Epoch]]:
        """The epochs of each side; none where there are no keys, or the cipher suite cannot be opened."""
        account = self._account
        known = self._keys.find(account.hello.random, record.first.frame) if account.hello else {}
        if not known or account.suite is None:
            return {}
        account.keys_known = True
        self._sealing = sealing = sealing_of(account)
        if sealing is None and account.suite.encryption == "NULL":  # what is in clear needs no keys
            return {}
        if sealing is None:
            self._note("keys_incomplete", record.first, f"records under {account.suite.name} cannot be opened")
            return {}
        return self._tls13_epochs(known, sealing) if account.is_tls13 else _tls12_epochs(known, sealing, account)

    def _tls13_epochs(self, known: keylog.Secrets, sealing: "Sealing") -> dict[str, list[_Epoch]]:
        account = self._account
        client, server = (
            [_tls13_epoch(label, known.get(label, ()), sealing) for label in labels]
            for labels in (
                (keylog.CLIENT_HANDSHAKE, keylog.CLIENT_TRAFFIC),
                (keylog.SERVER_HANDSHAKE, keylog.SERVER_TRAFFIC),
            )
        )
        if account.hello is not None and account.hello.early_data:
            early = _tls13_epoch(keylog.EARLY, known.get(keylog.EARLY, ()), sealing)
            early.number, early.may_end_unseen = len(account.client.early), True
            client.insert(0, early)
        return {CLIENT: client, SERVER: server}


@dataclass(frozen=True, slots=True)
class Sealing:
    """How the records of one handshake are sealed."""

    version: int
    suite: Suite
    shape: Shape
    digest: str  # of the key derivation
    encrypt_then_mac: bool

    def opener(self, keys: RecordKeys) -> Protection | None:
        """What opens the records that are sealed with these keys."""
        return protection(self.version, self.suite, keys, self.encrypt_then_mac)

    def traffic_opener(self, secret: bytes) -> Protection | None:
        """TLS 1.3: what opens the records that are sealed under this secret."""
        return self.opener(secrets.traffic_keys(secret, self.shape.key_length, self.digest))


def sealing_of(account: Account) -> Sealing | None:
    """How the records of a handshake are sealed; None where they cannot be opened even with keys."""
    version, suite, server = account.version, account.suite, account.server_hello
    if version is None or suite is None or server is None:
        return None
    known = version == TLS13 or FIRST_DRAFT <= version <= LAST_DRAFT or TLS10 <= version <= TLS12
    lengths, digest = shape(version, suite), secrets.HASHES.get(suite.hash)
    if not known or lengths is None or digest is None or (suite.key_exchange == "TLS13") != account.is_tls13:
        return None
    sealing = Sealing(version, suite, lengths, digest, server.encrypt_then_mac)
    return sealing if sealing.opener(RecordKeys(*map(bytes, lengths))) else None  # is the cipher to be had?


def _tls13_epoch(label: str, candidates: tuple[bytes, ...], sealing: Sealing) -> _Epoch:
    openers = [opener for secret in candidates if (opener := sealing.traffic_opener(secret))]
    return _Epoch(label, openers, candidates)


def _tls12_epochs(known: keylog.Secrets, sealing: Sealing, account: Account) -> dict[str, list[_Epoch]]:
    """The one epoch of each side, behind its ChangeCipherSpec (RFC 5246 6.3)."""
    hello, server = account.hello, account.server_hello
    if hello is None or server is None:
        return {}
    epochs = {CLIENT: [_Epoch(keylog.MASTER, [])], SERVER: [_Epoch(keylog.MASTER, [])]}
    for master in known.get(keylog.MASTER, ()):
        randoms = (hello.random, server.random)
        pair = secrets.key_block(sealing.version, sealing.digest, master, randoms, sealing.shape)
        for role, keys in zip((CLIENT, SERVER), pair, strict=True):
            opener = sealing.opener(keys)
            epochs[role][0].openers += [opener] if opener else []
    return epochs
