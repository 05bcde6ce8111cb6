"""Words in columns' names, and what they hint at. Each text is a list of words."""

from __future__ import annotations

# A line a role: the names of columns that are for it, in snake case.
ROLES = """
email: email e_mail mail email_address mail_address e_mail_address emailaddress emails
phone: phone phone_number phonenumber telephone telephone_number tel mobile mobile_phone mobile_number cell
    cell_phone telefon telefonnummer handy handynummer telefono sms_number phone_no phone1 phone_1 fon msisdn
first_name: first_name firstname given_name givenname vorname fname prenom first
last_name: last_name lastname surname family_name familyname nachname lname apellido apellidos last
full_name: name full_name fullname display_name vollername
street1: street street1 street_1 address address1 address_1 address_line_1 address_line1 line1 line_1
    street_address addressline1 strasse straße anschrift
street2: street2 street_2 address2 address_2 address_line_2 address_line2 line2 line_2
city: city town ort stadt ville ciudad locality wohnort
state: state province region bundesland province_name state_name provincia county
state_code: state_code province_code region_code
postal_code: zip zip_code zipcode postal_code postalcode postcode post_code plz postleitzahl
country: country land pays pais país country_name country_code countrycode country_iso iso_country
    country_code_2
latitude: lat latitude
longitude: lon lng long longitude
time_zone: timezone time_zone tz iana_timezone
currency: currency currency_code currencycode waehrung währung devise moneda
"""
# Words that say whose it is, so that "billing_city" is a city; a line each, the nearest to the customer first.
OWNERS = """
customer reviewer cust client buyer user profile person member subscriber
kunde kunden kundin cliente contact account consumer guest recipient
billing bill rechnung payer home primary default
shipping ship delivery liefer
"""
# Words between an owner and the name proper.
PLACES = """
    address addresses attributes data details home info location name properties to
"""
# Names of what an event is worth, the likeliest first.
VALUES = """
    grand_total order_total total_price total_amount amount_total total order_value order_amount amount value
    revenue net_sales gross_sales sales gesamtbetrag gesamtsumme gesamt betrag summe umsatz montant importe
    total_spent spend spent amount_paid paid_amount charge price dollars preis subtotal cost
    gross net item_price
"""
# Around the core of such a name: "amount_usd", "order_total_cents", "event.$value".
AROUND = """
    aud cad cent cents charge chf eur event excl gbp gross in incl invoice jpy minor net order payment
    presentment purchase sale sales shop tax transaction usd vat
    base purchased item line unit
"""
# Names of when an event happened, the likeliest first.
TIMES = """
    event_time event_timestamp event_date occurred_at datetime date_time timestamp created_at created order_date
    order_datetime order_time ordered_at ordered_on date_created created_date creation_date created_on
    purchase_date purchased_at placed_at transaction_date transaction_time bestelldatum bestellt_am erstellt_am
    datum fecha date time posted_at paid_at processed_at completed_at subscribed_at subscribed_on signup_date
    signed_up_at optin_time opt_in_time confirm_time joined joined_at registered_at submitted_at sent_at
    started_at invoice_date added_at ts when day
"""
# A time with one of these words is another one.
LATER = """
    canceled cancelled changed closed deleted delivered due end ended expired expires expiry fulfilled last
    modified next refunded returned seen shipped updated viewed
"""
# With one of these words a number may be a time.
TIMELY = """
    am at birthday born created date datetime datum day dob epoch expires fecha joined on optin signup since
    time timestamp ts until updated when
"""
# What makes an id that of what happened, and not of a customer or a product.
DEEDS = """
    order transaction invoice receipt sale charge payment cart checkout booking event ticket refund return
    review shipment subscription purchase bestellung bestell auftrag auftrags rechnung rechnungs pedido commande
    reservation visit session entry record log message response submission points txn trx
"""
# What makes a name that of an id.
KEYS = """
    code guid id key no nr num number nummer ref reference uuid
"""
# What has ids of its own, and is no deed.
THINGS = """
    account buyer campaign category client company contact coupon cust customer device employee item kunde
    kunden line lineitem list location member metric parent person plan price product profile shop sku store
    subscriber user variant vendor warehouse
"""
# What has no business in an event.
SECRETS = """
    apikey cookie credential credentials cvc cvv iban otp passphrase passwd password passwort pin pwd secret
    secrets ssn token
"""
# Values of columns with these words are never shown.
PRIVATE = """
    account address address1 address2 age agent answer apartment apt attention author bemerkung birth birthdate
    birthday body born cell city client comment comments company customer description dob email fax feedback
    firma firstname geburtsdatum geburtstag gender handle handy headline health instructions ip landing lastname
    lat latitude license link lng login lon longitude mail member memo message mobile nachname name note notes
    ort passport person phone plate plz postal postcode profile question reason recipient referer referrer
    religion remark remarks reviewer sex stadt strasse straße street subject subscriber surname tel
    telefon telephone text title town tracking url user username vorname zip
    content
"""
# Written in capitals.
ACRONYMS = """
    aov api csv ean eu eur gbp gtin html id ip isbn json ltv rfm sku sms uk upc uri url us usd utm vat
"""
GUARDED = """
    card_number cc_number credit_card creditcard card_no cardnumber api_key private_key access_key
    social_security tax_id national_id account_number routing_number bank_account session_id
"""
