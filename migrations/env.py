"""Alembic's environment: the connection is handed in by `imaging_db.catalog.schema`, never a URL."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator


def render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """Write our column types as the plain types below them, so that migrations need no package code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


def include_name(name: str | None, kind: str, parents: Any) -> bool:
    """Look at our own tables only: the database may hold those of others."""
    return kind != "table" or name in context.config.attributes["tables"]


def run() -> None:
    """Run the migrations inside the transaction of the connection that was handed in."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        target_metadata=attributes["target_metadata"],
        include_name=include_name,
        render_item=render_item,
        compare_type=True,
        compare_server_default=True,
        transactional_ddl=True,
        transaction_per_migration=False,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
