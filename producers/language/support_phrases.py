"""What customers of the `support` pipeline ask: the intents and the ways to say each one. Data only.

Slots: {item} a thing that was bought, {order} an order number, {amount} a sum, {when} a past time.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "order_status": (
        "where is my order {order}?",
        "has my {item} been shipped yet?",
        "I ordered a {item} {when}, how far is it?",
        "can you track order {order} for me?",
    ),
    "cancel_order": (
        "please cancel order {order}.",
        "I no longer want the {item} that I ordered {when}.",
        "how do I stop my order of a {item}?",
        "I bought the {item} by mistake, can it be cancelled?",
    ),
    "refund_status": (
        "when do I get my {amount} back?",
        "I sent the {item} back {when}, where is my money?",
        "the refund for order {order} has not arrived.",
        "how long does a refund of {amount} take?",
    ),
    "return_item": (
        "how can I send back the {item}?",
        "I do not like the {item}, may I return it?",
        "what is the way to return order {order}?",
        "I need a return label for my {item}.",
    ),
    "change_address": (
        "I moved {when}, please change the delivery address.",
        "order {order} goes to the wrong street.",
        "can you ship the {item} to another address?",
        "how do I update my address?",
    ),
    "payment_failed": (
        "my payment of {amount} was declined.",
        "I cannot pay for the {item}, the card is refused.",
        "paying order {order} gives an error.",
        "why did my payment fail {when}?",
    ),
    "invoice_copy": (
        "I need the invoice of order {order}.",
        "please send me a bill for the {item}.",
        "where can I download the invoice over {amount}?",
        "my accountant wants a receipt for the {item}.",
    ),
    "reset_password": (
        "I forgot my password.",
        "my password stopped working {when}.",
        "how can I set a new password?",
        "I am locked out and need to reset my login.",
    ),
    "delete_account": (
        "please delete my account.",
        "how do I close my account for good?",
        "I want all of my data removed.",
        "erase my profile, I have not used it since I bought the {item}.",
    ),
    "damaged_item": (
        "the {item} arrived broken.",
        "my {item} has a crack.",
        "order {order} came in pieces {when}.",
        "there are scratches all over the {item}.",
    ),
    "missing_part": (
        "the box of the {item} lacks a part.",
        "a cable is missing from my {item}.",
        "the {item} came without its screws.",
        "order {order} was not complete.",
    ),
    "discount_code": (
        "my discount code does not work on the {item}.",
        "where do I enter a voucher for {amount}?",
        "is there a promo code for the {item}?",
        "the coupon was not taken off order {order}.",
    ),
    "delivery_time": (
        "how many days until a {item} gets here?",
        "how fast do you deliver?",
        "would a {item} reach me before the weekend?",
        "what is the usual shipping time?",
    ),
    "warranty_claim": (
        "is the {item} still under warranty?",
        "my {item} died, does the guarantee cover it?",
        "I bought the {item} {when} and it failed, I want to use the warranty.",
        "how long is the guarantee on a {item}?",
    ),
}
"""Intent to its phrasings: what the base model has learnt."""

NEW: dict[str, tuple[str, ...]] = {
    "trade_in": (
        "what would you give me for my old {item}?",
        "can I swap a used {item} against a newer one?",
        "do you take my {item} in part exchange?",
        "I want to hand in the {item} from {when} and upgrade.",
    ),
    "pay_later": (
        "can I split {amount} into monthly rates?",
        "I would like to pay the {item} in instalments.",
        "is there a way to spread the cost of order {order}?",
        "may I pay for the {item} next month?",
    ),
    "loyalty_points": (
        "how many points did the {item} earn?",
        "my bonus points from {when} are not there.",
        "can I spend my points on a {item}?",
        "what are {amount} worth in points?",
    ),
    "pickup_store": (
        "can I collect the {item} in a shop?",
        "is order {order} ready to be picked up?",
        "which branch has the {item} for collection?",
        "I came by the store {when} and the {item} was not there.",
    ),
    "price_match": (
        "another shop sells the {item} for {amount}, will you match it?",
        "the {item} got cheaper {when}, do I get the difference?",
        "I saw order {order} at a lower price elsewhere.",
        "do you beat the price of a rival on a {item}?",
    ),
    "gift_wrap": (
        "can the {item} be wrapped as a present?",
        "please add a birthday card to order {order}.",
        "the {item} is a surprise, hide the price in the parcel.",
        "how much is wrapping paper and a ribbon?",
    ),
}
"""Intents nobody asked before the second change of the demo."""

ITEMS = [
    "lamp",
    "kettle",
    "phone",
    "printer",
    "backpack",
    "jacket",
    "bicycle",
    "heater",
    "camera",
    "speaker",
    "keyboard",
    "mirror",
    "blender",
    "tent",
    "watch",
    "monitor",
    "carpet",
    "drill",
    "stroller",
    "toaster",
    "router",
    "sofa",
    "helmet",
    "mixer",
    "scooter",
]
AMOUNTS = tuple(f"{euros} euros" for euros in (9, 15, 20, 35, 49, 60, 75, 99, 120, 180, 250, 400))
WHENS = (
    "yesterday",
    "last week",
    "two weeks ago",
    "on monday",
    "last month",
    "three days ago",
    "this morning",
    "on friday",
    "in spring",
    "over the holidays",
)
OPENERS = ("", "", "", "Hi, ", "Hello, ", "Good day, ", "Hey there, ", "Question: ")
CLOSERS = ("", "", "", " Thanks!", " Thank you.", " Please help.", " Best regards.")

PREAMBLES = (
    "I have been a customer of yours for many years and so far I was always happy with the service.",
    "Sorry to bother you again, I already wrote through the form on the website but nobody has answered.",
    "I tried the help pages and the search, and my brother had a look as well, but we found nothing.",
    "My neighbour told me that your team is quick to answer, so I hope that you can help me today.",
    "I am writing from my phone while on the train, so please forgive any typing errors in this message.",
    "We are in the middle of moving house and everything is upside down here at the moment.",
)
AFTERWORDS = (
    "You can reach me by mail at any time, or by phone in the evening after work.",
    "Please let me know what you need from me, I have all papers here in front of me.",
    "It is not very urgent, but I would like to have this settled before the end of the month.",
    "I look forward to your answer and wish you and your colleagues a pleasant week.",
    "If somebody else takes care of this, please pass my message on to them.",
)
