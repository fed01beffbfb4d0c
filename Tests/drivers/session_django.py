# SPDX-License-Identifier: Apache-2.0
"""What Django sees of a session: migrations' schema editor, the ORM, nested transactions, server-side cursors."""

import os

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[], USE_TZ=True, TIME_ZONE="Europe/Vienna", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"], "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True, "OPTIONS": {"application_name": "django"}}})
django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.db.utils import IntegrityError, ProgrammingError  # noqa: E402


class Author(models.Model):
    name = models.CharField(max_length=40, unique=True)
    born = models.DateTimeField(null=True)
    facts = models.JSONField(default=dict)

    class Meta:
        app_label = "shelf"


class Book(models.Model):
    title = models.TextField()
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")

    class Meta:
        app_label = "shelf"
        constraints = [models.UniqueConstraint(fields=["author", "title"], name="once")]


def show(*what):
    print(*what, flush=True)


with connection.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS shelf_book, shelf_author")
with connection.schema_editor() as editor:
    editor.create_model(Author)
    editor.create_model(Book)
show(sorted(name for name in connection.introspection.table_names() if name.startswith("shelf_")))
with connection.cursor() as cursor:
    constraints = connection.introspection.get_constraints(cursor, "shelf_book")
    show(sorted((each["columns"], each["unique"], each["primary_key"]) for each in constraints.values()))
    cursor.execute("SHOW TimeZone")
    show(cursor.fetchone())

Author.objects.bulk_create(Author(name=f"n{number}", facts={"n": number}) for number in range(300))
Book.objects.bulk_create(Book(title=f"t{each}", author=author) for author in Author.objects.all()[:50]
                         for each in range(3))
show(Author.objects.count(), Book.objects.filter(author__name__in=["n1", "n2"]).count())
# Outside of a transaction this is a cursor WITH HOLD.
show(sum(each.pk > 0 for each in Author.objects.order_by("pk").iterator(chunk_size=40)))
show([each.author.name for each in Book.objects.order_by("pk").prefetch_related("author").iterator(chunk_size=2)][:4])

with transaction.atomic():
    one = Author.objects.select_for_update().get(name="n5")
    one.facts = {"changed": [True, None]}
    one.save()
    try:
        with transaction.atomic():
            Author.objects.create(name="n6")
    except IntegrityError as error:
        show(type(error).__name__)
    show(Author.objects.get(name="n5").facts)
    show(sum(1 for _ in Author.objects.iterator(chunk_size=40)))
try:
    with transaction.atomic():
        Author.objects.filter(name="n7").delete()
        raise KeyError
except KeyError:
    show(Author.objects.filter(name="n7").exists())
committed = []
with transaction.atomic():
    transaction.on_commit(lambda: committed.append("committed"))
show(committed)
show(list(Book.objects.values("author__name").annotate(number=models.Count("pk")).order_by("author__name")[:2]))
show(list(Author.objects.filter(facts__n__gt=297).values_list("name", flat=True).order_by("name")))
show(Author.objects.update_or_create(name="n9", defaults={"facts": {}})[1])
try:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
except ProgrammingError as error:
    show(type(error).__name__)
connection.close_if_unusable_or_obsolete()
show(Author.objects.explain().split("(")[0])
with connection.schema_editor() as editor:
    field = models.IntegerField(null=True)
    field.set_attributes_from_name("pages")
    editor.add_field(Book, field)
    editor.delete_model(Book)
    editor.delete_model(Author)
show(sorted(name for name in connection.introspection.table_names() if name.startswith("shelf_")))
connection.close()
