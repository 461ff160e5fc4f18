from django.core.validators import MinValueValidator
from django.db import models


class Customer(models.Model):
    class Meta:
        managed = False
        db_table = 'shop"."customers'


class Order(models.Model):
    order_no = models.TextField(primary_key=True)
    customer = models.ForeignKey(Customer, models.PROTECT)
    sku = models.TextField()
    quantity = models.IntegerField(validators=[MinValueValidator(1)])
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    ordered_on = models.DateField()
    note = models.TextField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = 'shop"."orders'


class OrderFile(models.Model):
    name = models.TextField()
    sha256 = models.TextField(unique=True)
    received = models.IntegerField()
    imported = models.IntegerField(null=True)
    rejected = models.IntegerField(null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)


class Delivery(models.Model):
    """Which file has written an order last, so that an older one does not write it again."""

    order_no = models.TextField(primary_key=True)
    file = models.ForeignKey(OrderFile, models.PROTECT)


class Reject(models.Model):
    file = models.ForeignKey(OrderFile, models.PROTECT)
    row_number = models.IntegerField()
    order_no = models.TextField()
    cells = models.JSONField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "row_number"], name="one_reject_a_row")]


class RejectAttempt(models.Model):
    reject = models.ForeignKey(Reject, models.CASCADE)
    attempted_at = models.DateTimeField(auto_now_add=True)
    reason = models.TextField()
