# SPDX-License-Identifier: Apache-2.0
"""The first user's Python workers, rebuilt from the reference (managers.md): the same calls to
psycopg2, the same statements in the same order, the same defects. They stand for the application:
nothing here is written for a broker, and their sleeps are theirs.

Different from production: DuckDB's reading and writing are plain psycopg2 (SELECT from the source,
DELETE and COPY into the destination); Debezium is a loop that makes a batch of rows at every poll.
Left out: Redis (the dead-letter queue and its thread), encrypted credentials, Snowflake, filters, the
health page.
"""
