"""A stored item as Python values, for a processor."""

from __future__ import annotations

import json
import math
import sys
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from reliable_imports.items.json_check import TOO_DEEP, BadNumber, refuse_constant


def loads(text: str | bytes, *, decimals: bool = False) -> Any:
    """Parse a stored item for a processor.

    Args:
        text: JSON; bytes are UTF-8.
        decimals: numbers with a fraction or an exponent become `Decimal`, exactly as written, and not float.

    Raises:
        ValueError: not JSON, or a number that Python cannot hold: `1e999` as a float, an integer of 5,000 digits.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        return (_decode_with_decimals if decimals else _decode_with_floats)(text)
    except _NOT_DECODED:  # a lone surrogate, which Python can hold, or an error: the slow way tells which
        pass
    try:
        return (_WITH_DECIMALS if decimals else _WITH_FLOATS).decode(text)
    except RecursionError:
        raise ValueError(f"the JSON is {TOO_DEEP}") from None
    except json.JSONDecodeError:
        raise
    except BadNumber as error:
        raise ValueError(str(error)) from None
    except ValueError:  # of int(); its own message advises to lift the interpreter's limit
        raise ValueError(f"an integer has more than {sys.get_int_max_str_digits()} digits") from None


def with_floats(value: Any) -> Any:
    """*value*, as `loads` gives it with decimals, as it would be without.

    Raises ValueError: a number is too large for a float.
    """
    kind = type(value)
    if kind is Decimal:
        return _finite_float(str(value))
    if kind is dict:
        return {name: with_floats(each) for name, each in value.items()}
    if kind is list:
        return [with_floats(each) for each in value]
    return value


def _finite_float(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise BadNumber(f"the number {_cut(literal)} is too large for a float; processors may set decimals = True")
    return number


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:
        raise BadNumber(f"the number {_cut(literal)} is too large for a Decimal") from None


def _cut(literal: str) -> str:
    return literal if len(literal) <= 40 else literal[:40] + "…"


_WITH_FLOATS = json.JSONDecoder(parse_float=_finite_float, parse_constant=refuse_constant)
_WITH_DECIMALS = json.JSONDecoder(parse_float=_decimal, parse_constant=refuse_constant)
_decode_with_floats = msgspec.json.Decoder().decode
_decode_with_decimals = msgspec.json.Decoder(float_hook=Decimal).decode
_NOT_DECODED = (ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError)
