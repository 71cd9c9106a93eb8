"""Which passwords are refused when they are set: the short ones, and those that are guessed first."""

from __future__ import annotations

import re

from rafiki.errors import InvalidRequestError
from rafiki.settings import UsersConfig

_FEWEST_CHARS = 8
"""Where no setting says otherwise."""
_MOST_CHARS = 4096
_FEWEST_OF_EMAIL = 4
"""Of a part of an email that a password must not be."""

# Words that passwords are made of most often, alone or with digits and signs around them. Ours, not a copy of a list.
_TEXT = """
password passwort passphrase pass passwd pwd secret hidden private login logon letmein letmeinnow openup opensesame
changeme changethis changeit default guest user username test testing tester tests demo example sample temp temporary
admin administrator adm root toor superuser superadmin sysadmin operator owner master server service system support
database oracle mysql postgres redis docker ubuntu linux windows google facebook apple android samsung microsoft
rafiki welcome hello helloworld world goodbye iloveyou loveyou love lovely lover trustno trustnoone whatever nothing
nobody somebody unknown computer internet network security secure access account keyboard monitor qwerty qwertz azerty
qwertyui qwertyuiop qwertzui qwertzuiop azertyuiop asdf asdfgh asdfghjk asdfghjkl yxcvbnm zxcvbn zxcvbnm qazwsx
qazwsxedc qweasd qweasdzxc abc abcd abcdef abcdefg abcdefgh abcdefghi alphabet monkey dragon tiger lion eagle falcon
phoenix unicorn kitten puppy butterfly dolphin chicken football baseball basketball soccer hockey tennis golf cricket
liverpool arsenal chelsea barcelona sunshine sunflower flower rainbow summer winter spring autumn monday friday sunday
january december princess prince queen king angel angels jesus christ heaven freedom peace forever lucky superman
batman spiderman starwars pokemon naruto matrix hunter killer ninja pirate shadow ghost michael jordan jennifer
jessica ashley daniel thomas charlie andrew robert william matthew anthony nicole michelle chocolate cookie cheese
banana orange coffee pepper ginger vanilla whiskey corvette mustang ferrari porsche mercedes
"""
_WORDS = frozenset(_TEXT.split())
_ROWS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm",
         "yxcvbnm", "azertyuiop")  # fmt: skip
_LOOKALIKES = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def check_password(password: str, email: str, policy: UsersConfig, *, is_by_program: bool = False) -> None:
    """
    Args:
        password: the new one.
        email: of its user.
        is_by_program: it comes with the published call that creates users, which took any that is not empty: it is
            held to what the settings say, and not to their defaults.

    Raises:
        InvalidRequestError: saying what a password has to be like.
    """
    if not password:
        raise InvalidRequestError("Field 'password': must not be empty.")
    if len(password) > _MOST_CHARS:
        raise InvalidRequestError(f"Field 'password': has {len(password):,} characters; {_MOST_CHARS:,} are the most.")
    fewest = policy.min_password_length or (1 if is_by_program else _FEWEST_CHARS)
    if len(password) < fewest:
        raise InvalidRequestError(
            f"Field 'password': has {len(password)} character(s); this stack asks for {fewest} at "
            "least (users.min_password_length). Several words are easy to keep in mind."
        )
    is_refusing = not is_by_program if policy.refuse_common_passwords is None else policy.refuse_common_passwords
    if is_refusing and is_common(password, email):
        raise InvalidRequestError(
            "Field 'password': is one of those that are guessed first: a common word, a row of keys, a repetition or "
            "the email. Take several words."
        )


def is_common(password: str, email: str) -> bool:
    """Whether it is among the first that somebody would guess who knows the email."""
    plain = password.casefold().strip()
    if _is_repeated(plain) or _is_row(plain):
        return True
    name = email.casefold().partition("@")[0]
    parts = {part for part in re.split(r"[\W_]+", email.casefold()) if len(part) >= _FEWEST_OF_EMAIL}
    own = {email.casefold(), name, *parts}
    readings = {plain, plain.translate(_LOOKALIKES)}
    readings |= {_AROUND.sub("", reading) for reading in (plain, *readings)}
    readings |= {_AROUND.sub("", plain).translate(_LOOKALIKES)}
    return any(reading in _WORDS or reading in own or _halves(reading) & _WORDS for reading in readings)


def _halves(text: str) -> set[str]:
    """``password`` of ``passwordpassword``."""
    half = text[: len(text) // 2]
    return {half} if half and half * 2 == text else set()


def _is_repeated(text: str) -> bool:
    """``aaaaaaaa``, ``abababab``, ``12312312``."""
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, min(4, len(text) // 2 + 1)))


def _is_row(text: str) -> bool:
    """``12345678``, ``hgfedcba``, ``qwertyuiop``, or two such rows: ``1234qwer``."""
    return any(_in_row(text[:cut]) and _in_row(text[cut:]) for cut in {0, *range(3, len(text) - 2)})


def _in_row(text: str) -> bool:
    return not text or any(text in row or text in row[::-1] for row in _ROWS)
