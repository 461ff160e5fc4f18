from django.core.management.base import BaseCommand

from orders.importing import retry_rejects


class Command(BaseCommand):
    def handle(self, *args, **options):
        counts = retry_rejects()
        self.stdout.write(f"{counts.imported} rejects imported, {counts.rejected} still rejected")
