from decimal import Decimal, InvalidOperation

from import_export import fields, resources
from import_export.widgets import CharWidget, DateWidget, ForeignKeyWidget, IntegerWidget, Widget

from orders.models import Customer, Delivery, Order, OrderFile


class CommaDecimalWidget(Widget):
    def clean(self, value, row=None, **kwargs):
        if value is None:
            return None
        try:
            return Decimal(value.replace(".", "").replace(",", "."))
        except InvalidOperation:
            raise ValueError(f"{value!r} is no number") from None


class CustomerWidget(ForeignKeyWidget):
    def clean(self, value, row=None, **kwargs):
        try:
            return super().clean(value, row, **kwargs)
        except Customer.DoesNotExist:
            raise ValueError(f"there is no customer {value}") from None


class OrderResource(resources.ModelResource):
    order_no = fields.Field("order_no", "Order No.", CharWidget())
    customer = fields.Field("customer", "Customer", CustomerWidget(Customer, "id"))
    sku = fields.Field("sku", "SKU", CharWidget())
    quantity = fields.Field("quantity", "Qty", IntegerWidget())
    unit_price = fields.Field("unit_price", "Unit price", CommaDecimalWidget())
    ordered_on = fields.Field("ordered_on", "Ordered on", DateWidget("%d.%m.%Y"))
    note = fields.Field("note", "Note", CharWidget(allow_blank=False))

    class Meta:
        model = Order
        import_id_fields = ("order_no",)
        clean_model_instances = True
        skip_diff = True
        use_transactions = False  # else one bad row undoes all

    def __init__(self, file: OrderFile, **kwargs):
        super().__init__(**kwargs)
        self.file = file

    def before_import_row(self, row, **kwargs):
        for name, cell in row.items():
            value = (cell or "").strip()
            row[name] = None if value in ("", "NA") else value

    def skip_row(self, instance, original, row, import_validation_errors=None):
        return Delivery.objects.filter(order_no=instance.order_no, file_id__gt=self.file.id).exists()

    def after_save_instance(self, instance, row, **kwargs):
        Delivery.objects.update_or_create(order_no=instance.order_no, defaults={"file": self.file})
