"""Word files in the words of their reader, which passes over elements that it does not know, with all text in them."""

from __future__ import annotations

import io
import re
import zipfile
from typing import BinaryIO

# Fields, what was moved while changes were tracked, words with readings above them, text with a direction.
_UNKNOWN = re.compile(rb"(</?\w+:)(?:fldSimple|moveTo|customXml|ruby|rubyBase|dir|bdo)(?=[\s/>])")
_KNOWN = rb"\1smartTag"  # which stands for what is in it


def with_all_text(stream: BinaryIO) -> BinaryIO:
    """The Word file with those elements under a name that its reader knows. One that is no zip file stays as it is."""
    whole: BinaryIO = io.BytesIO()
    try:
        with zipfile.ZipFile(stream) as read, zipfile.ZipFile(whole, "w") as written:
            for name in dict.fromkeys(read.namelist()):
                part = read.read(name)
                is_text = name.startswith("word/") and name.endswith(".xml")
                written.writestr(name, _UNKNOWN.sub(_KNOWN, part) if is_text else part)
    except zipfile.BadZipFile:
        whole = stream
    whole.seek(0)
    return whole
