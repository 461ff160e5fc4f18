import csv
import hashlib
from pathlib import Path

from django.core.management.base import BaseCommand

from orders.importing import import_file
from orders.models import OrderFile


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("path", type=Path)

    def handle(self, *args, path, **options):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with path.open(encoding="utf-8-sig", newline="") as content:
            rows = list(csv.reader(content, delimiter=";"))[1:]
        file, _ = OrderFile.objects.get_or_create(sha256=digest, defaults={"name": path.name, "received": len(rows)})
        if file.finished_at:
            self.stdout.write("this file has been imported")
            return
        counts = import_file(file, rows)
        self.stdout.write(f"{counts.imported} rows imported, {counts.rejected} rejected")
