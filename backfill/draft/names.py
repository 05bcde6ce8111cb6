"""What a column's name says: its words, the role it hints at, and a name for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "Name",
    "is_private",
    "is_secret",
    "is_timely",
    "key_rank",
    "read_name",
    "time_rank",
    "title",
    "value_rank",
]

TITLE_LENGTH = 80
ACRONYMS = frozenset(
    "id sku url uri ip upc ean gtin isbn vat utm api csv json html rfm ltv aov sms usd eur gbp uk us eu".split()  # noqa: SIM905
)
# Words that say whose it is, so that "billing_city" is a city; the lower, the nearer to the customer.
OWNERS = {
    **dict.fromkeys(("customer", "cust", "client", "buyer", "user", "profile", "person", "member", "subscriber"), 1),
    **dict.fromkeys(
        ("kunde", "kunden", "kundin", "cliente", "contact", "account", "consumer", "guest", "recipient"), 2
    ),
    **dict.fromkeys(("billing", "bill", "rechnung", "payer", "home", "primary", "default"), 3),
    **dict.fromkeys(("shipping", "ship", "delivery", "liefer"), 4),
}
# Words between them and the name proper.
PLACES = frozenset("location address addresses properties attributes details info data to".split())  # noqa: SIM905

ROLES: dict[str, str] = {
    **dict.fromkeys("email e_mail mail email_address mail_address e_mail_address emailaddress emails".split(), "email"),
    **dict.fromkeys(
        "phone phone_number phonenumber telephone telephone_number tel mobile mobile_phone mobile_number cell "
        "cell_phone telefon telefonnummer handy handynummer telefono sms_number phone_no phone1 phone_1 fon msisdn".split(),
        "phone",
    ),
    **dict.fromkeys("first_name firstname given_name givenname vorname fname prenom first".split(), "first_name"),
    **dict.fromkeys(
        "last_name lastname surname family_name familyname nachname lname apellido apellidos last".split(), "last_name"
    ),
    **dict.fromkeys("name full_name fullname display_name vollername".split(), "full_name"),
    **dict.fromkeys("street street1 street_1 address address1 address_1 address_line_1 address_line1 line1 line_1 "
                    "street_address addressline1 strasse straße anschrift".split(), "street1"),
    **dict.fromkeys("street2 street_2 address2 address_2 address_line_2 address_line2 line2 line_2".split(), "street2"),
    **dict.fromkeys("city town ort stadt ville ciudad locality wohnort".split(), "city"),
    **dict.fromkeys("state province region bundesland province_name state_name provincia county".split(), "state"),
    **dict.fromkeys("state_code province_code region_code".split(), "state_code"),
    **dict.fromkeys(
        "zip zip_code zipcode postal_code postalcode postcode post_code plz postleitzahl".split(), "postal_code"
    ),
    **dict.fromkeys(
        "country land pays pais país country_name country_code countrycode country_iso iso_country "
        "country_code_2".split(),
        "country",
    ),
    **dict.fromkeys("lat latitude".split(), "latitude"),
    **dict.fromkeys("lon lng long longitude".split(), "longitude"),
    **dict.fromkeys("timezone time_zone tz iana_timezone".split(), "time_zone"),
    **dict.fromkeys("currency currency_code currencycode waehrung währung devise moneda".split(), "currency"),
}  # fmt: skip

VALUES = (
    "grand_total order_total total_price total_amount amount_total total order_value order_amount amount value "
    "revenue net_sales gross_sales sales gesamtbetrag gesamtsumme gesamt betrag summe umsatz montant importe total_spent "
    "amount_paid paid_amount charge price dollars preis subtotal cost"
).split()
# Around the core of such a name: "amount_usd", "order_total_cents", "event.$value".
AROUND = frozenset(
    "order sale sales transaction purchase charge payment invoice in event usd eur gbp cad aud chf jpy cents cent "
    "minor gross net incl excl vat tax shop presentment".split()  # noqa: SIM905
)
TIMES = (
    "event_time event_timestamp event_date occurred_at datetime date_time timestamp created_at created order_date "
    "order_datetime order_time ordered_at ordered_on date_created created_date creation_date created_on purchase_date purchased_at "
    "placed_at transaction_date transaction_time bestelldatum bestellt_am erstellt_am datum fecha date time posted_at "
    "paid_at processed_at completed_at subscribed_at subscribed_on signup_date signed_up_at optin_time opt_in_time "
    "confirm_time joined joined_at registered_at submitted_at sent_at started_at invoice_date added_at ts when day"
).split()
LATER = frozenset(
    "updated modified changed shipped fulfilled delivered cancelled canceled refunded expires expiry expired deleted "
    "due last next closed end ended returned viewed seen".split()  # noqa: SIM905
)
TIMELY = frozenset(
    "at on date time datetime timestamp ts created updated epoch when day datum fecha joined since until expires "
    "optin signup born birthday dob am".split()  # noqa: SIM905
)
# What makes an id that of what happened, and not of a customer or a product.
DEEDS = (
    "order transaction invoice receipt sale charge payment cart checkout booking event ticket refund return review "
    "shipment subscription purchase bestellung bestell auftrag auftrags rechnung rechnungs pedido commande reservation "
    "visit session entry record log message response submission points txn trx"
).split()
KEYS = frozenset("id number no nr num nummer uuid guid key ref reference code".split())  # noqa: SIM905
THINGS = frozenset(
    "customer cust client user member profile person contact account subscriber buyer kunde kunden product item sku "
    "variant line lineitem store shop list campaign company vendor employee device parent coupon category metric "
    "location warehouse price plan".split()  # noqa: SIM905
)
SECRETS = frozenset(
    "password passwd passwort pwd passphrase token secret secrets cvv cvc ssn iban otp pin credential credentials "
    "apikey cookie".split()  # noqa: SIM905
)
SECRET_PAIRS = (
    "card_number", "cc_number", "credit_card", "creditcard", "card_no", "cardnumber", "api_key", "private_key", "access_key",
    "social_security", "tax_id", "national_id", "account_number", "routing_number", "bank_account", "session_id",
)  # fmt: skip
PRIVATE = frozenset(
    "name firstname lastname surname vorname nachname email mail phone telephone tel telefon mobile cell handy fax "
    "address address1 address2 street strasse straße zip postal postcode plz city town ort stadt birth birthday "
    "birthdate born dob geburtsdatum geburtstag age gender sex ip lat latitude lng lon longitude note notes comment "
    "comments message memo remark remarks bemerkung description text body feedback answer username login handle "
    "company firma recipient attention instructions passport license plate health religion author reviewer agent "
    "customer person apt apartment url link referrer referer landing".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Name:
    """`words` are the name's, in lower case; `role` what it hints at; `rank` how near to the customer that is."""

    words: tuple[str, ...]
    role: str = ""
    rank: int = 0

    @property
    def slug(self) -> str:
        return "_".join(self.words)


def read_name(column: str) -> Name:
    """The name of a column; of a nested one all its parts count."""
    words = tuple(_words(column))
    rank, start = 0, 0
    role = ROLES.get("_".join(words), "")
    while not role and start < len(words) - 1 and (words[start] in OWNERS or (start and words[start] in PLACES)):
        rank = max(rank, OWNERS.get(words[start], 0))
        start += 1
        role = ROLES.get("_".join(words[start:]), "")
    if not role and words and words[0] in OWNERS and len(words) == 1:
        role = "full_name"
    return Name(words, role, rank)


def _words(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])", " ", text)
    return [word.casefold() for word in re.split(r"[\W_]+", spaced) if word]


def title(column: str) -> str:
    """`order_id` → `Order ID`; of a nested column the last part counts."""
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])", " ", column)
    words = [word for word in re.split(r"[\s_.\-/:$]+", spaced) if word]
    whole = " ".join(_capital(word) for word in words)
    whole = "".join(letter if letter.isprintable() else " " for letter in whole).strip()
    return whole[:TITLE_LENGTH].strip() or "Column"


def _capital(word: str) -> str:
    if word.casefold() in ACRONYMS:
        return word.upper()
    return word[:1].upper() + word[1:]


def value_rank(name: Name) -> int | None:
    """How much the name sounds like what the event is worth; 0 is best, None not at all."""
    slug = name.slug
    if slug in VALUES:
        return VALUES.index(slug)
    core = [word for word in name.words if word not in AROUND]
    while core and (core[0] in OWNERS or core[0] in PLACES or core[0] == "event"):
        core = core[1:]
    slug = "_".join(core)
    return len(VALUES) + VALUES.index(slug) if slug in VALUES else None


def time_rank(name: Name) -> int | None:
    """How much the name sounds like when the event happened; None where it is a time of another kind."""
    if {"birth", "birthday", "birthdate", "born", "dob", "geburtsdatum"} & set(name.words):
        return None
    if LATER & set(name.words):
        return 300
    if name.slug in TIMES:
        return TIMES.index(name.slug)
    return 100 if TIMELY & set(name.words) else 200


def is_timely(name: Name) -> bool:
    """Whether a number of this name may be a time."""
    return bool(TIMELY & set(name.words)) and not {"id"} & set(name.words)


def key_rank(name: Name) -> int | None:
    """How much the name sounds like the id of what happened; 0 is best, None not at all."""
    words = set(name.words)
    if name.slug in ("id", "uuid", "guid", "_id"):
        return 1
    keyed, deed = bool(KEYS & words), bool(set(DEEDS) & words)
    if THINGS & words:
        return None
    if deed and keyed:
        return 0 if {"id", "uuid", "guid", "nr", "no", "number", "nummer"} & words else 2
    if any(len(name.words) == 1 and name.slug.startswith(deed) and name.slug.endswith(key)
           for deed in DEEDS for key in ("id", "no", "nr", "nummer", "number")):  # fmt: skip
        return 0
    if deed and len(words) == 1:
        return 4
    return 3 if keyed else None


def is_secret(name: Name) -> bool:
    """Whether such a column has no business in an event."""
    return bool(SECRETS & set(name.words)) or any(pair in name.slug for pair in SECRET_PAIRS)


def is_private(name: Name) -> bool:
    """Whether its values may tell of a person: none is shown."""
    return bool(PRIVATE & set(name.words)) or bool(name.role and name.role not in ("country", "currency", "time_zone"))
