"""Which kind of site a visitor came from: search engine, social network or another. Knows hosts, not visits."""

from __future__ import annotations

import re

# A host must match whole: mail.google.com is no search engine, and google.evil.example is not Google.
_TLD = r"(?:com|[a-z]{2}|com?\.[a-z]{2})"
_SEARCH = {
    "google": rf"(?:images\.|m\.)?google\.{_TLD}|com\.google\.android\.googlequicksearchbox",
    "yandex": rf"(?:m\.)?yandex\.{_TLD}|(?:m\.)?ya\.ru|ru\.yandex\.searchplugin|com\.yandex\.browser",
    "bing": r"(?:[a-z]{2}\.)?bing\.com",
    "yahoo": rf"(?:[a-z.]+\.)?search\.yahoo\.(?:com|co\.jp)|(?:[a-z]{{2}}\.)?yahoo\.{_TLD}",
    "mail.ru": r"go\.mail\.ru",
    "duckduckgo": r"(?:html\.|lite\.)?duckduckgo\.com|com\.duckduckgo\.mobile\.android",
    "baidu": r"(?:m\.)?baidu\.com",
    "rambler": r"nova\.rambler\.ru",
    "ecosia": r"ecosia\.org",
    "qwant": r"(?:lite\.)?qwant\.com",
    "brave": r"search\.brave\.com",
    "startpage": r"startpage\.com",
    "seznam": r"search\.seznam\.cz",
    "naver": r"(?:m\.)?search\.naver\.com",
    "sogou": r"(?:m\.)?sogou\.com",
}
_SOCIAL = {
    "vk": r"(?:m\.|away\.)?vk\.(?:com|ru)|vkontakte\.ru|com\.vkontakte\.android",
    "ok": r"(?:m\.)?ok\.ru|odnoklassniki\.ru",
    "facebook": r"(?:[a-z-]+\.)?facebook\.com|fb\.com|fb\.me|com\.facebook\.katana",
    "instagram": r"(?:l\.)?instagram\.com|com\.instagram\.android",
    "x": r"t\.co|(?:mobile\.)?twitter\.com|x\.com|com\.twitter\.android",
    "linkedin": r"(?:[a-z]{2}\.)?linkedin\.com|lnkd\.in|com\.linkedin\.android",
    "pinterest": rf"(?:[a-z]{{2}}\.)?pinterest\.{_TLD}|pin\.it|com\.pinterest",
    "youtube": r"(?:m\.)?youtube\.com|youtu\.be|com\.google\.android\.youtube",
    "tiktok": r"(?:vm\.)?tiktok\.com",
    "telegram": r"t\.me|(?:web\.)?telegram\.(?:org|me)|org\.telegram\.messenger",
    "reddit": r"(?:old\.|out\.)?reddit\.com|com\.reddit\.frontpage",
    "whatsapp": r"wa\.me|(?:api\.|web\.|l\.)?whatsapp\.com",
    "dzen": r"dzen\.ru|zen\.yandex\.ru",
    "threads": r"(?:l\.)?threads\.(?:net|com)",
}


def _one_of(sites: dict[str, str]) -> re.Pattern[str]:
    groups = (f"(?P<n{position}>{pattern})" for position, pattern in enumerate(sites.values()))
    return re.compile(f"(?:{'|'.join(groups)})\\Z")


_ENGINE, _NETWORK = _one_of(_SEARCH), _one_of(_SOCIAL)
_ENGINES, _NETWORKS = tuple(_SEARCH), tuple(_SOCIAL)


def search_engine(host: str) -> str:
    """The name of the search engine at `host` (lower case, without ``www.``), or ""."""
    found = _ENGINE.match(host)
    return _ENGINES[int(found.lastgroup[1:])] if found else ""


def social_network(host: str) -> str:
    """The name of the social network at `host`, or ""."""
    found = _NETWORK.match(host)
    return _NETWORKS[int(found.lastgroup[1:])] if found else ""
