from reliable_imports import SourceOptions, TableProcessor


class OrdersProcessor(TableProcessor):
    table = "shop.orders"
    rename = {
        "Order No.": "order_no",
        "Customer": "customer_id",
        "SKU": "sku",
        "Qty": "quantity",
        "Unit price": "unit_price",
        "Ordered on": "ordered_on",
        "Note": "note",
    }
    strip = True
    null_tokens = frozenset({"", "NA"})
    decimal_comma = True
    dates = "%d.%m.%Y"
    source_options = SourceOptions(delimiter=";", short_rows="accept")
