# SPDX-License-Identifier: Apache-2.0
"""What SQLAlchemy sees of a session: schema, ORM, streams, savepoints, isolation, errors, reflection."""

import datetime
import os
import sys
import uuid

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

driver = sys.argv[1]
url = sa.URL.create(f"postgresql+{driver}", os.environ["PGUSER"], host=os.environ["PGHOST"],
                    port=int(os.environ["PGPORT"]), database=os.environ["PGDATABASE"])
engine = sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=0)


class Base(orm.DeclarativeBase):
    metadata = sa.MetaData(schema="alchemy")


class Author(Base):
    __tablename__ = "author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(40), unique=True)
    key = sa.Column(postgresql.UUID(as_uuid=True))
    tags = sa.Column(postgresql.ARRAY(sa.Text))
    facts = sa.Column(postgresql.JSONB)
    born = sa.Column(sa.DateTime(timezone=True))
    books = orm.relationship("Book", order_by="Book.id")


class Book(Base):
    __tablename__ = "book"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.Text)
    author_id = sa.Column(sa.ForeignKey(Author.id))


def show(*what):
    print(*what, flush=True)


with engine.begin() as connection:
    connection.execute(sa.schema.DropSchema("alchemy", cascade=True, if_exists=True))
    connection.execute(sa.schema.CreateSchema("alchemy"))
Base.metadata.create_all(engine)
show(sorted(sa.inspect(engine).get_table_names("alchemy")))
show([(each["name"], str(each["type"])) for each in sa.inspect(engine).get_columns("author", "alchemy")])
show(sa.inspect(engine).get_unique_constraints("author", "alchemy"))

with orm.Session(engine) as session:
    session.add_all(
        Author(name=f"n{number}", key=uuid.UUID(int=number), tags=["a", f"b'{number}"], facts={"k": [number, None]},
               born=datetime.datetime(2000, 1, 1 + number % 28, tzinfo=datetime.timezone.utc),
               books=[Book(title=f"t{each}") for each in range(number % 4)])
        for number in range(300))
    session.commit()
    show(session.scalar(sa.select(sa.func.count()).select_from(Book)))
    one = session.scalars(sa.select(Author).where(Author.name == "n7")).one()
    show(one.key, one.tags, one.facts, one.born.isoformat(), [each.title for each in one.books])
    one.facts = {"changed": True}
    session.flush()
    try:
        with session.begin_nested():
            session.add(Author(name="n8"))
            session.flush()
    except sa.exc.IntegrityError as error:
        show(type(error.orig).__name__, session.is_active)
    session.commit()
    show(session.scalars(sa.select(Author.facts).where(Author.name == "n7")).one())

with engine.connect() as connection:
    stream = connection.execution_options(stream_results=True, yield_per=50)
    show(sum(row.id for row in stream.execute(sa.select(Author.id).order_by(Author.id))))
    connection.rollback()
    show(connection.execute(sa.text("SELECT :a + 1, :b"), {"a": 41, "b": "x:y"}).one())
    connection.rollback()
for level in ("SERIALIZABLE", "REPEATABLE READ", "AUTOCOMMIT", "READ COMMITTED"):
    with engine.connect().execution_options(isolation_level=level) as connection:
        show(level, connection.scalar(sa.text("SHOW transaction_isolation")), connection.get_isolation_level())
with engine.connect() as connection:
    show(connection.get_isolation_level(), connection.scalar(sa.text("SHOW standard_conforming_strings")))
    try:
        connection.execute(sa.text("SELECT * FROM nowhere"))
    except sa.exc.ProgrammingError as error:
        show(type(error.orig).__name__)
    connection.rollback()
    show(connection.scalar(sa.select(sa.literal("after"))))
    connection.execute(sa.text("CREATE TEMPORARY TABLE mine (n int)"))
    connection.execute(sa.text("INSERT INTO mine VALUES (1), (2)"))
    connection.commit()
    show(connection.scalar(sa.text("SELECT sum(n) FROM mine")))
    connection.execute(sa.text("DROP TABLE mine"))
    connection.commit()
Base.metadata.drop_all(engine)
with engine.begin() as connection:
    connection.execute(sa.schema.DropSchema("alchemy"))
engine.dispose()
