"""What is kept of a conversation: all of it within a bound, and no key."""

import json
import zlib

import pytest

from search.store.conversations import MAX_BYTES, REDACTED, packed, redacted, unpacked

# Put together here, so that no scanner takes this file for a leak.
KEYS = (
    "sk" + "-proj-" + "Ab3" * 12,
    "sk" + "-ant-api03-" + "x9" * 20,
    "gh" + "p_" + "a1B2" * 9,
    "h" + "f_" + "QwErTy" * 5,
    "AI" + "za" + "Sy0" * 11,
    "AK" + "IA" + "ABCDEFGH12345678",
    "ey" + "JhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
)


def said(*contents):
    return json.dumps([{"role": "user", "content": content} for content in contents])


def test_a_conversation_comes_back_as_it_was():
    conversation = json.dumps(
        [
            {"role": "system", "content": "Sparse attention, naïvely: 稀疏 \ud83d\ude00 \x00"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "arguments": {"text": "a\n\tb", "n": 2}}],
            },
        ]
    )
    stored = packed(conversation)
    assert isinstance(stored, bytes)
    assert json.loads(unpacked(stored)) == json.loads(conversation)


def test_a_lone_surrogate_is_kept():
    assert json.loads(unpacked(packed(said("\ud800"))))[0]["content"] == "\ud800"


def test_what_repeats_takes_little():
    text = "* Quest: KL 0.123 nats\n" * 4000
    assert len(packed(said(text))) < len(text) / 20


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "use {} now", "key='{}'", "https://host/?a={}&b=1", "line\n{}\nline"])
def test_keys_are_not_kept(key, around):
    told = json.loads(unpacked(packed(said(around.format(key)))))[0]["content"]
    assert key not in told
    assert told == around.format(REDACTED)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdefgh12345678", f"Authorization: Bearer {REDACTED}"),
        ("api_key = 0123456789abcdef0123456789abcdef", f"api_key = {REDACTED}"),
        ('"api-key": "0123456789abcdef"', f'"api-key": "{REDACTED}"'),
        ("http://me:hunter22@localhost:8000/v1", f"http://{REDACTED}@localhost:8000/v1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----!", f"{REDACTED}!"),
    ],
)
def test_what_is_said_to_be_a_secret_is_not_kept(text, kept):
    assert redacted(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "score = dot(q, page.key, 'dim').logsumexp('token')",
        "keys = k.to('int4')  # sk-etched keys; risk-averse",
        "the key: store signs of rotated keys (arXiv:2406.10774)",
        "tokens = 3969; key=value; http://127.0.0.1:8000/v1",
    ],
)
def test_programs_and_prose_are_left_alone(text):
    assert redacted(text) == text


def test_secrets_are_found_by_the_name_they_stand_under():
    conversation = json.dumps([{"role": "tool", "content": "ok", "headers": {"x-api-key": "short", "date": "today"}}])
    (message,) = json.loads(unpacked(packed(conversation)))
    assert message["headers"] == {"x-api-key": REDACTED, "date": "today"}


@pytest.mark.parametrize("contents", [["a" * 10**6], ["ab" * 50_000] * 9, ["q" * 300] * 2000])
def test_a_long_conversation_is_cut_to_the_bound(contents):
    kept = unpacked(packed(said(*contents)))
    assert len(kept.encode()) <= MAX_BYTES
    messages = json.loads(kept)
    assert len(messages) == len(contents)
    assert "characters left out" in messages[0]["content"]
    assert messages[0]["content"].startswith(contents[0][:20])


def test_more_messages_than_can_be_kept_are_counted():
    (note,) = json.loads(unpacked(packed(said(*["a"] * 20_000))))
    assert note == {"role": "note", "content": "20,000 messages were too long together to be kept"}


@pytest.mark.parametrize("text", ["{}", "no JSON", '"text"', "[" * 100_000])
def test_what_is_no_conversation_is_refused(text):
    with pytest.raises(ValueError, match="JSON of a list of messages"):
        packed(text)


@pytest.mark.parametrize("stored", [b"", b"text", packed("[]")[:-4], zlib.compress(b"a" * (MAX_BYTES + 1))])
def test_what_was_never_stored_is_refused(stored):
    with pytest.raises(ValueError, match="cannot be read"):
        unpacked(stored)
