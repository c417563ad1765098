"""Any value of any contract, for Hypothesis: read off the contract itself."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as kinds

_I64 = 2**63 - 1
_SIGNS = st.characters(codec="utf-8", exclude_characters="\x00")


def values_of(contract: Any) -> st.SearchStrategy[Any]:
    """Values of a contract as plain JSON data, optional fields sometimes absent."""
    return _values(kinds.type_info(contract))


def records_of(contract: Any) -> st.SearchStrategy[Any]:
    """Records of a contract."""
    return values_of(contract).map(lambda value: msgspec.convert(value, contract))


def _values(kind: kinds.Type, pattern: str | None = None) -> st.SearchStrategy[Any]:
    match kind:
        case kinds.Metadata():
            return _values(kind.type, (kind.extra_json_schema or {}).get("pattern"))
        case kinds.UnionType():
            return st.one_of([_values(each) for each in kind.types])
        case kinds.StrType():
            return _texts(kind, pattern or kind.pattern)
        case kinds.BytesType():
            return st.binary(max_size=64).map(lambda data: b64encode(data).decode())
        case kinds.IntType():
            low = -_I64 if kind.ge is None else kind.ge
            return st.integers(low, _I64 if kind.le is None else kind.le)
        case kinds.FloatType():
            low = kind.ge if kind.gt is None else kind.gt
            return st.floats(
                low, kind.le, exclude_min=kind.gt is not None, allow_nan=False, allow_infinity=False
            ).map(lambda number: number + 0.0)
        case kinds.BoolType():
            return st.booleans()
        case kinds.NoneType():
            return st.none()
        case kinds.LiteralType():
            return st.sampled_from(kind.values)
        case kinds.VarTupleType() | kinds.ListType():
            most = 4 if kind.max_length is None else min(4, kind.max_length)
            least = kind.min_length or 0
            return st.lists(_values(kind.item_type), min_size=least, max_size=max(least, most))
        case kinds.TupleType():
            return st.tuples(*map(_values, kind.item_types)).map(list)
        case kinds.DictType():
            return st.dictionaries(_values(kind.key_type), _values(kind.value_type), max_size=3)
        case kinds.StructType():
            return _structs(kind)
    raise NotImplementedError(kind)


def _texts(kind: kinds.StrType, pattern: str | None) -> st.SearchStrategy[str]:
    if pattern is not None:
        texts = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True, alphabet=_SIGNS)
        return texts.filter(lambda text: len(text) <= (kind.max_length or 1_000))
    most = 20 if kind.max_length is None else min(20, kind.max_length)
    return st.text(_SIGNS, min_size=kind.min_length or 0, max_size=most)


def _structs(kind: kinds.StructType) -> st.SearchStrategy[dict[str, Any]]:
    needed, optional = {}, {}
    for member in kind.fields:
        if member.encode_name == "schema_version":
            optional["schema_version"] = st.just(1)
        else:
            (needed if member.required else optional)[member.encode_name] = _values(member.type)
    if kind.tag is not None:
        needed[kind.tag_field] = st.just(kind.tag)
    return st.fixed_dictionaries(needed, optional=optional)
