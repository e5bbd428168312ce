"""Fields that messages and key files have in common: magic and version, parameters, yes or no."""

from __future__ import annotations

from stfed.encrypted.parameters import Parameters
from stfed.errors import LocalError, MalformedError
from stfed.wire import Reader, Writer

VERSION = 1
_MODULI_MAX = 64


def write_start(magic: bytes) -> Writer:
    """A writer that begins with the magic number and the version."""
    return Writer().fixed(magic, len(magic)).u8(VERSION)


def read_start(reader: Reader, magic: bytes) -> None:
    """Takes them; MalformedError for others."""
    if reader.ahead(len(magic)) != magic:
        raise MalformedError(f"these bytes are no {reader.what}")
    reader.fixed(len(magic), "magic")
    version = reader.u8("version")
    if version != VERSION:
        raise MalformedError(f"{reader.what}: version {version} is not known here, only {VERSION}")


def write_parameters(writer: Writer, parameters: Parameters) -> None:
    """Degree, scale, and the sizes of the moduli."""
    writer.u32(parameters.degree).u8(parameters.scale_bits).vector(parameters.modulus_bits, Writer.u8)


def read_parameters(reader: Reader) -> Parameters:
    """Takes them; MalformedError if they are not secure, or no parameters at all."""
    degree, scale_bits = reader.u32("degree"), reader.u8("scale_bits")
    modulus_bits = tuple(reader.vector("modulus_bits", lambda one: one.u8("modulus_bits"), max_items=_MODULI_MAX))
    try:
        return Parameters(degree, modulus_bits, scale_bits)
    except LocalError as error:
        raise MalformedError(f"{reader.what}: {error.message}") from None


def read_flag(reader: Reader, field: str) -> bool:
    """Takes a byte that is 0 or 1."""
    value = reader.u8(field)
    if value > 1:
        raise reader.fail(field, "is neither 0 nor 1")
    return bool(value)
