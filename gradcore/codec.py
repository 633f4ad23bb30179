"""One codec: Spec <-> query string, one compact text, JSON object and command line. Default values are left out.

``read(write(spec)) == spec`` holds for every legal Spec (tested over random Specs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcore.errors import SpecError
from gradcore.fields import FIELDS
from gradcore.spec import Spec
from gradcore.versions import stamped, upgraded

DEFAULT = "default"  # the compact text of the Spec that has no changed field


def changed_fields(spec: Spec) -> dict[str, Any]:
    """The fields that differ from their defaults, in the Spec's order."""
    return {name: getattr(spec, name) for name, f in FIELDS.items() if getattr(spec, name) != f.default}


def to_query(spec: Spec) -> dict[str, str]:
    """Query parameters that open this Spec; defaults are left out."""
    return stamped(_texts(spec))


def _texts(spec: Spec) -> dict[str, str]:
    return {name: FIELDS[name].write(value) for name, value in changed_fields(spec).items()}


def read_value(name: str, text: str) -> Any:
    """The checked value of one field from its text. Raises SpecError."""
    if name not in FIELDS:
        raise SpecError(name, text, "one of the fields " + ", ".join(FIELDS), "Check the spelling of the field.")
    field = FIELDS[name]
    return field.check(name, field.read(text))


def from_query(query: Mapping[str, str]) -> Spec:
    """The Spec of these parameters. Raises SpecError at the first unknown field or illegal value, and at a link of a
    later version than this one."""
    known, refused = upgraded(query, FIELDS.__contains__)
    if refused:
        raise refused[0]
    return Spec(**{name: read_value(name, text) for name, text in known.items()})


def from_query_leniently(query: Mapping[str, str]) -> tuple[Spec, list[SpecError]]:
    """The Spec of all legal parameters, and an error for each one that was refused (default used instead)."""
    values: dict[str, Any] = {}
    known, refused = upgraded(query, FIELDS.__contains__)
    for name, text in known.items():
        try:
            values[name] = read_value(name, text)
        except SpecError as error:
            refused.append(error)
    while True:
        try:
            return Spec(**values), refused
        except SpecError as error:  # values that are legal one by one but not together
            refused.append(error)
            if error.field in values:
                del values[error.field]
            else:
                values.clear()


def to_compact(spec: Spec) -> str:
    """The Spec as one text, such as ``activation:tanh,gain:1.67``; ``default`` where no field is changed."""
    return ",".join(f"{name}:{text}" for name, text in to_query(spec).items()) or DEFAULT


def from_compact(text: str) -> Spec:
    """The Spec of such a text. Raises SpecError naming the field.

    A part without a colon belongs to the value before it: ``depth:2,width:64,32`` has two fields, for no value has a
    colon and no name a comma.
    """
    if text.strip() == DEFAULT:
        return Spec()
    query: dict[str, str] = {}
    name = ""
    for part in text.split(","):
        head, colon, value = part.partition(":")
        if not colon and not name:
            raise SpecError("spec", text, "fields as name:value, separated by commas", "Write gain:2,depth:30.")
        if not colon:
            query[name] += "," + part
            continue
        name = head.strip()
        if name in query:
            raise SpecError(name, f"{query[name]}, {value}", "one value")
        query[name] = value
    return from_query(query)


def to_json(spec: Spec) -> dict[str, Any]:
    """A JSON object of the changed fields (tuples become lists)."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in changed_fields(spec).items()}


def from_json(document: Mapping[str, Any]) -> Spec:
    """The Spec of a JSON object. Raises SpecError at an unknown field or an illegal value."""
    for name in document:
        if name not in FIELDS:
            raise SpecError(name, document[name], "one of the fields " + ", ".join(FIELDS))
    return Spec(**document)


def to_argv(spec: Spec) -> list[str]:
    """The command-line flags of this Spec (``--depth=50`` ...); defaults are left out."""
    return [f"--{name}={text}" for name, text in _texts(spec).items()]


def to_snippet(spec: Spec) -> str:
    """Python code that makes this Spec."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in changed_fields(spec).items())
    return f"gc.Spec({arguments})"
