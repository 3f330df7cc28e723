"""What Alembic runs: the changes, on the connection and inside the transaction of who asks for them."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
