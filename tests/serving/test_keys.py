"""Keys and the entries they are written as."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from serving.access.keys import (
    PREFIX,
    SCOPES,
    KeyRing,
    KeysError,
    entry_of,
    new_key,
    parse_entry,
    parse_lines,
)
from serving.access.quota import Quota

KEY = "s3cret"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def test_a_bare_digest_may_do_everything_and_is_named_by_its_digits() -> None:
    key = parse_entry(DIGEST.upper())

    assert key.digest == bytes.fromhex(DIGEST)
    assert key.name == DIGEST[:12]
    assert key.scopes == set(SCOPES)
    assert key.quota is None


def test_an_entry_says_what_a_key_may_do() -> None:
    key = parse_entry(f"{DIGEST} rate=100/min name=alice@example.org scope=probe burst=5 scope=classify")

    assert key.name == "alice@example.org"
    assert key.scopes == {"classify", "probe"}
    assert key.quota == Quota(requests=100, period_s=60, burst=5)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", "not a sha256"),
        (f"{KEY} name=a", "not a sha256"),
        (DIGEST[1:], "not a sha256"),
        (f"{DIGEST} {KEY}", "word 2 is none of name=, scope=, rate=, burst="),
        (f"{DIGEST} name=a {KEY}=x", "word 3 is none of"),
        (f"{DIGEST} name=", "name= takes"),
        (f"{DIGEST} name=a/b", "name= takes"),
        (f"{DIGEST} name={'a' * 65}", "name= takes"),
        (f"{DIGEST} name=a name=b", "name= is given twice"),
        (f"{DIGEST} scope=all", "accepted are: classify, probe, probe:images"),
        (f"{DIGEST} scope=probe:images", "give scope=probe as well"),
        (f"{DIGEST} rate=fast", "rate= takes"),
        (f"{DIGEST} rate=1/s burst=0", "burst= takes"),
        (f"{DIGEST} burst=3", "give rate= as well"),
    ],
)
def test_another_entry_is_refused_without_repeating_what_may_be_a_key(entry: str, words: str) -> None:
    with pytest.raises(KeysError) as caught:
        parse_entry(entry)

    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_has_an_entry_a_line_and_is_refused_by_line() -> None:
    text = f"# for the tests\n\n{DIGEST} name=a  # me\n{'0' * 64}\n"

    assert [key.name for key in parse_lines(text)] == ["a", "0" * 12]
    with pytest.raises(KeysError, match="line 5") as caught:
        parse_lines(f"{text}{KEY}\n")
    assert KEY not in str(caught.value)


def test_only_a_near_key_is_compared_and_that_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [new_key() for _ in range(50)]
    ring = KeyRing(parse_entry(hashlib.sha256(key.encode()).hexdigest()) for key in keys)
    compare, compared = hmac.compare_digest, []

    def counted(presented: bytes, digest: bytes) -> bool:
        compared.append(digest)
        return compare(presented, digest)

    monkeypatch.setattr("hmac.compare_digest", counted)

    for presented in (keys[0], keys[-1]):
        compared.clear()
        assert ring.find(presented) is not None
        assert compared == [hashlib.sha256(presented.encode()).digest()]
    compared.clear()
    assert ring.find("unknown") is None
    assert compared == []


def test_keys_whose_digests_begin_alike_are_told_apart() -> None:
    near = [DIGEST[:32] + "0" * 32, DIGEST, DIGEST[:32] + "1" * 32]
    ring = KeyRing(parse_entry(f"{digest} name=n{number}") for number, digest in enumerate(near))

    found = ring.find(KEY)
    assert found is not None and found.name == "n1"
    assert len(ring) == 3
    assert KeyRing(parse_entry(digest) for digest in (near[0],)).find(KEY) is None


def test_what_is_presented_may_be_anything() -> None:
    ring = KeyRing([parse_entry(DIGEST)])

    assert ring.find(KEY) is not None
    assert [ring.find(text) for text in ("", DIGEST, "\udcff", "s3cre")] == [None] * 4


def test_one_key_twice_is_one_key_unless_the_entries_differ() -> None:
    assert len(KeyRing([parse_entry(DIGEST), parse_entry(DIGEST)])) == 1
    with pytest.raises(KeysError, match="two different entries"):
        KeyRing([parse_entry(DIGEST), parse_entry(f"{DIGEST} scope=classify")])
    with pytest.raises(KeysError, match="two keys are named 'a'"):
        KeyRing([parse_entry(f"{DIGEST} name=a"), parse_entry(f"{'0' * 64} name=a")])


def test_a_new_key_is_random_and_its_entry_finds_it() -> None:
    key, other = new_key(), new_key()
    entry = entry_of(key, name="alice", scopes=["probe", "probe"], rate="10/s", burst=3)

    assert entry == f"{hashlib.sha256(key.encode()).hexdigest()} name=alice scope=probe rate=10/s burst=3"
    assert key not in entry
    assert key.startswith(PREFIX) and len(key) >= len(PREFIX) + 43
    ring = KeyRing([parse_entry(entry)])
    assert ring.find(key) == parse_entry(entry)
    assert ring.find(other) is None


def test_an_entry_that_would_not_be_read_is_not_made() -> None:
    with pytest.raises(KeysError, match="name= takes"):
        entry_of(new_key(), name="a scope=probe", scopes=["classify"], rate=None, burst=None)
    with pytest.raises(KeysError, match="rate= takes"):
        entry_of(new_key(), name=None, scopes=["classify"], rate="1/s scope=probe", burst=None)
    with pytest.raises(KeysError, match="give rate= as well"):
        entry_of(new_key(), name=None, scopes=["classify"], rate=None, burst=2)
