"""URLs in manifests, reports, logs and sentences carry no password and no signature, and lose nothing else."""

import json

import pytest

from recast.pipeline import events, storage
from recast.pipeline.urls import shown, without_secrets


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sftp://anna:pw@host/a/b.png", "sftp://anna:…@host/a/b.png"),
        ("sftp://anna:p@ss:w@host:22/a", "sftp://anna:…@host:22/a"),
        ("ftp://:pw@host/", "ftp://:…@host/"),
        ("sftp://anna@host/a", "sftp://anna@host/a"),
        ("https://ghp_0123456789@host/a", "https://…@host/a"),
        ("https://h/a.png?X-Amz-Expires=60&X-Amz-Signature=0f3a&x=1", "https://h/a.png?X-Amz-Expires=60&X-Amz-Signature=…&x=1"),
        ("https://h/c/a.png?sv=2024&se=2026-01-01&sig=ab%2Fc%3D", "https://h/c/a.png?sv=2024&se=2026-01-01&sig=…"),
        ("https://h/a.png?id=5", "https://h/a.png?id=5"),
        ("https://h/a.png?x=0123456789abcdef0123456789", "https://h/a.png?x=…"),
        ("simplecache::https://u:pw@h/a?token=t", "simplecache::https://u:…@h/a?token=…"),
        ("tar://a:b@c.png::https://u:pw@h/a.tar", "tar://a:b@c.png::https://u:…@h/a.tar"),
        ("zip://a?key=5.png::s3://bucket/x.zip", "zip://a?key=5.png::s3://bucket/x.zip"),
        ("file:///home/anna/a?key=b@c:d.png", "file:///home/anna/a?key=b@c:d.png"),
        ("s3://bucket/with@sign/a:b.png", "s3://bucket/with@sign/a:b.png"),
        ("/home/anna/x.png", "/home/anna/x.png"),
        ("reading https://u:pw@h/a?sig=abc: no such file", "reading https://u:…@h/a?sig=…: no such file"),
        ("'https://h/a?sig=abc', and 'https://u:pw@h'", "'https://h/a?sig=…', and 'https://u:…@h'"),
    ],
)  # fmt: skip
def test_what_a_url_hides_does_not_show(url: str, says: str) -> None:
    """Passwords, tokens and signatures become `…`; hosts, paths, names in archives and plain parameters stay."""
    assert without_secrets(url) == says
    assert without_secrets(says) == says


def test_every_text_of_a_record_is_shown_so() -> None:
    """However deep a URL lies in a manifest."""
    record = {"source": {"urls": ("sftp://u:pw@h/a", 5, None)}, "n": 1.5}
    assert shown(record) == {"source": {"urls": ["sftp://u:…@h/a", 5, None]}, "n": 1.5}


def test_errors_and_logs_tell_no_password(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sentence or field has such a URL in it."""
    secret = "https://u:pw-of-mine@h/a?sig=sig-of-mine"
    assert str(storage.StorageError(f"reading {secret} failed")) == "reading https://u:…@h/a?sig=… failed"
    assert "of-mine" not in storage.sentence(OSError(f"can't connect to {secret}"))
    events.say(f"error: {secret}")
    events.log(output=secret).info("shard committed", error=f"reading {secret}", urls=[secret])
    monkeypatch.setenv(events.WANTED, "json")
    events.say(f"error: {secret}", source=secret)
    said = capsys.readouterr().err
    assert "of-mine" not in said
    assert json.loads(said.splitlines()[-1])["source"] == "https://u:…@h/a?sig=…"
