"""The vendor's contract as data: the one place to change when the API does.

Source: the vendor's public reference, OpenAPI 3.1, API version 2.2. Sizes are decimal and count UTF-8 bytes.
"""

from __future__ import annotations

__all__ = [
    "BASE_URL",
    "BULK_BYTES",
    "BULK_EVENTS",
    "COUNTRIES",
    "CURRENCIES",
    "CUSTOMER_TEXTS",
    "DATA_PROPERTIES",
    "EVENT_BYTES",
    "IDENTIFIERS",
    "LOCATION_NUMBERS",
    "LOCATION_TEXTS",
    "REQUESTS_PER_SECOND",
    "SAFE_INTEGER",
    "TEXT_BYTES",
    "UNIQUE_ID_CHARACTERS",
    "bulk_url",
    "event_url",
]

BASE_URL = "https://api.getredo.com/v2.2"

# A store's limit; the rate of both calls together, live traffic included.
REQUESTS_PER_SECOND = 100

BULK_EVENTS = 100
# No limit is documented for a bulk body. 1 MB keeps a request's life short and far from the 5 MB an event may have.
BULK_BYTES = 1_000_000

EVENT_BYTES = 5_000_000
TEXT_BYTES = 100_000
UNIQUE_ID_CHARACTERS = 255
DATA_PROPERTIES = 400

# Numbers travel as JSON to a JavaScript server: an integer beyond 2^53 does not survive.
SAFE_INTEGER = 2**53

# At least one of these must be there; the first that is wins.
IDENTIFIERS = ("id", "email", "phoneNumber")
CUSTOMER_TEXTS = ("id", "email", "phoneNumber", "firstName", "lastName")
LOCATION_TEXTS = (
    "street1",
    "street2",
    "city",
    "state",
    "stateCode",
    "postalCode",
    "country",
    "countryCode",
    "ianaTimeZoneName",
)
LOCATION_NUMBERS = {"latitude": 90.0, "longitude": 180.0}


def event_url(base_url: str, store: str) -> str:
    """Where one event is posted."""
    return f"{base_url.rstrip('/')}/stores/{store}/events"


def bulk_url(base_url: str, store: str) -> str:
    """Where up to BULK_EVENTS events are posted together."""
    return event_url(base_url, store) + "/bulk"


# ISO 3166-1 alpha-2, officially assigned.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905  a list of words reads better
)

# ISO 4217, active codes and those that history of the last 30 years is full of (the currencies the euro replaced, and
# codes that were renamed): a backfill's orders are older than today's list.
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR
    LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK
    PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD
    XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW ZWG ZWL
    ATS BEF BYR CYP DEM EEK ESP FIM FRF GRD HRK IEP ITL LTL LUF LVL MRO MTL NLG PTE ROL SIT SKK STD TRL VEB VEF ZMK
    """.split()  # noqa: SIM905  a list of words reads better
)
