"""The script that a customer's page loads: `/t/KEY.js`, as it is sent. Knows its text and HTTP's idea of a version.

Two files stand beside this one and are joined as they are; comment lines and indentation stay here. Nothing of a page's
own Content-Security-Policy is needed but our origin in script-src and connect-src: no eval, no style, no markup.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import lru_cache
from importlib import resources

import msgspec

_PARTS = ("snippet_numbers.js", "snippet_visit.js")
_AROUND = """\
/* calltrack: shows each visitor a phone number of their own */
(function (window, document, key) {
"use strict";
function guard(work) {
return function () {
try {
return work.apply(this, arguments);
} catch (problem) {
if (window.console && console.warn) console.warn("calltrack:", problem);
}
};
}
if (window.MutationObserver && window.WeakMap) guard(function () {
%s
})();
})(window, document, "%s");
"""


class Script(msgspec.Struct, frozen=True):
    """A script as it is sent, plain and compressed, with the entity tags of both (RFC 9110 section 8.8.3)."""

    plain: bytes
    packed: bytes  # by gzip
    tag: bytes

    @property
    def packed_tag(self) -> bytes:
        return self.tag[:-1] + b'-gzip"'


@lru_cache(maxsize=1000)
def script(key: str) -> Script:
    """The script of the project with this key, which is letters and digits."""
    plain = (_AROUND % (_body(), key)).encode()
    tag = b'"%s"' % hashlib.sha256(plain).hexdigest()[:20].encode()
    return Script(plain, gzip.compress(plain, 9, mtime=0), tag)


@lru_cache(maxsize=1)
def _body() -> str:
    folder = resources.files("calltrack.web")
    texts = [folder.joinpath(name).read_text("utf-8") for name in _PARTS]
    return re.sub(r"^[ ]*(//.*)?(\n|\Z)|^ +| +// .*$", "", "\n".join(texts), flags=re.MULTILINE)
