"""URLs as they may be shown: without the passwords, tokens and signatures that some of them carry."""

import re
from typing import Any

HIDDEN = "…"
LONGEST_PLAIN = 20
"""Characters of a parameter's value; a longer one is taken for a secret whatever the parameter is called."""
_MEMBERS = ("file", "local", "tar", "zip", "range", "parquet")
"""Schemes whose rest is a path or a member's name, and never a host, a password or a query."""
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>(?:(?!::[A-Za-z][A-Za-z0-9+.-]*://)[^\s\"'<>])*)")
_LOGIN = re.compile(r"^(?P<user>[^/?#@:]*)(?P<password>:[^/?#]*)?@(?=[^/?#@]*(?:[/?#]|$))")
_PARAMETER = re.compile(r"(?P<name>[?&;][^=&;#\s]*)=(?P<value>[^&;#\s]*?)(?=[:,.)\]]*(?:[&;#]|$))")
_TELLING = re.compile(
    r"sig|token|secret|pass|pwd|key|cred|auth|policy|session|hash|code|jwt|bearer|signed|private|access|sas", re.I
)


def without_secrets(text: str) -> str:
    """A URL, or a text with URLs in it, in which user's passwords and the values of telling query parameters are `…`.

    A login without a password stays (`sftp://anna@host`), except with HTTP, where it is a token.
    """
    return _URL.sub(_shown, text) if "://" in text else text


def shown(value: Any) -> Any:
    """A value of JSON's types with every text in it as `without_secrets` gives it."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(part) for part in value]
    return value


def _shown(url: re.Match[str]) -> str:
    scheme, rest = url["scheme"], url["rest"]
    if scheme.lower() in _MEMBERS:
        return url[0]
    web = scheme.lower() in ("http", "https")
    rest = _LOGIN.sub(lambda login: _login(login, web=web), rest)
    return f"{scheme}://{_PARAMETER.sub(_parameter, rest)}"


def _login(login: re.Match[str], *, web: bool) -> str:
    if login["password"] is not None:
        return f"{login['user']}:{HIDDEN}@"
    return f"{HIDDEN}@" if web or len(login["user"]) > LONGEST_PLAIN else login[0]


def _parameter(parameter: re.Match[str]) -> str:
    plain = len(parameter["value"]) <= LONGEST_PLAIN and not _TELLING.search(parameter["name"])
    return parameter[0] if plain or not parameter["value"] else f"{parameter['name']}={HIDDEN}"
