"""The views: `sql/<namespace>/<view>.sql`, checked against the contracts before anything runs.

A file opens with a comment header: what a row is, its key, and a line for each column that the
view makes (``--   name: description [unit] {ucd}``). A column that is passed through unchanged
needs no line: it keeps the unit, UCD and description of its source.
"""

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from lake import contracts
from lake.errors import LacusError, UsageError

_LINE = re.compile(r"^  (\w+): (.*?)(?: \[([^\]]+)\])?(?: \{([^}]+)\})?$")


@dataclass(frozen=True)
class ViewColumn:
    """A column of a view: its meaning, and the columns it is computed from, one step back."""

    name: str
    description: str
    unit: str | None
    ucd: str | None
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class View:
    """A view; `columns` is in the order of its SELECT."""

    name: str
    sql: str
    description: str
    key: tuple[str, ...]
    depends: tuple[str, ...]
    columns: tuple[ViewColumn, ...]

    @property
    def namespace(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".")[0]

    def ddl(self, catalog: str = "lake") -> Iterator[str]:
        """Statement that makes or remakes the view."""
        yield f"CREATE OR REPLACE VIEW {catalog}.{self.name} AS {self.sql}"

    def comments(self, catalog: str = "lake") -> Iterator[str]:
        """Statement that describes the view."""
        yield f"COMMENT ON VIEW {catalog}.{self.name} IS {contracts.literal(self.description)}"


@functools.cache
def views() -> MappingProxyType[str, View]:
    """All views by name, in an order in which they can be created.

    Raises
    ------
    LacusError
        If a file does not parse, refers to a table or column that does not exist, selects ``*``,
        leaves a column without description, or takes part in a cycle.
    """
    return MappingProxyType(load(contracts.contracts_dir("sql")))


def named(name: str) -> View | contracts.Table:
    """The view or the contract of the table of a name.

    Raises
    ------
    UsageError
        If there is neither; what is called alike is told.
    """
    made = views().get(name) or contracts.tables().get(name)
    if made is None:
        alike = difflib.get_close_matches(name, [*contracts.tables(), *views()])
        hint = f"did you mean {' or '.join(alike)}?" if alike else "`lacus tables` lists all"
        raise UsageError(f"no table {name}, and no view; {hint}")
    return made


def load(directory: Path) -> dict[str, View]:
    """Load and check the views below a directory; see `views`."""
    parsed = {}
    for path in sorted(directory.glob("*/*.sql")):
        name = f"{path.parent.name}.{path.stem}"
        parsed[name] = _parse(name, path.read_text(encoding="utf-8"))
    try:
        order = list(TopologicalSorter({n: v.depends for n, v in parsed.items()}).static_order())
    except CycleError as error:
        raise LacusError(f"sql: views depend on each other: {' -> '.join(error.args[1])}") from None
    done: dict[str, View] = {}
    for name in order:
        if name in parsed:
            done[name] = _resolve(parsed[name], done)
        elif name not in contracts.tables():
            user = next(v.name for v in parsed.values() if name in v.depends)
            raise LacusError(f"sql of {user}: there is no table or view {name}")
    return done


def for_namespace(namespace: str) -> list[View]:
    """Views of one namespace, in an order in which they can be created."""
    return [view for view in views().values() if view.namespace == namespace]


def in_memory() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory with all tables, empty, and all views.

    The same views serve a table that is in no lake, and tell the types of their columns.
    """
    connection = duckdb.connect()
    for namespace in contracts.namespaces():
        connection.execute(f"CREATE SCHEMA {namespace}")
    for table in contracts.tables().values():
        body = ", ".join(f"{contracts.quote(c.name)} {c.duckdb}" for c in table.columns)
        connection.execute(f"CREATE TABLE {table.name} ({body})")
    for view in views().values():
        connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    return connection


@functools.cache
def view_types() -> MappingProxyType[str, dict[str, str]]:
    """DuckDB types of the columns of every view."""
    with in_memory() as connection:
        return MappingProxyType(
            {
                name: {row[0]: row[1] for row in connection.execute(f"DESCRIBE {name}").fetchall()}
                for name in views()
            }
        )


def _parse(name: str, text: str) -> View:
    """Split a file into header and query, and find what the query reads."""
    import sqlglot
    from sqlglot import exp

    header = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        header.append(line[3:])
    description, key, columns = _header(name, header)
    try:
        query = sqlglot.parse_one(text, dialect="duckdb")
    except sqlglot.ParseError as error:
        raise LacusError(f"sql of {name}: {error}") from None
    selected = [part for s in query.find_all(exp.Select) for part in s.expressions]
    if any(part.is_star or part.find(exp.Columns) for part in selected):
        raise LacusError(f"sql of {name}: SELECT * hides what the view promises; name its columns")
    aliases = {cte.alias_or_name for cte in query.find_all(exp.CTE)}
    read = {f"{t.db}.{t.name}" if t.db else t.name for t in query.find_all(exp.Table)} - aliases
    return View(name, _body(text), description, key, tuple(sorted(read)), columns)


def _body(text: str) -> str:
    """Return the query without its header."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[start:]).strip()


def _header(name: str, lines: list[str]) -> tuple[str, tuple[str, ...], tuple[ViewColumn, ...]]:
    description: list[str] = []
    key: tuple[str, ...] = ()
    columns: list[ViewColumn] = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            column, text, unit, ucd = match.groups()
            columns.append(ViewColumn(column, text, unit, ucd, ()))
        elif line.startswith("key: "):
            key = tuple(part.strip() for part in line[5:].split(","))
        elif line.strip() != "columns:":
            description.append(line.strip())
    if not key or not description:
        raise LacusError(f"sql of {name}: the header must say what a row is and give its key")
    return " ".join(description), key, tuple(columns)


def _resolve(view: View, known: dict[str, View]) -> View:
    """Check every reference, and find each column's sources and meaning."""
    schema = {name: [c.name for c in _columns_of(name, known)] for name in view.depends}
    try:
        traced = trace(view.sql, schema)
    except ValueError as error:
        raise LacusError(f"sql of {view.name}: {error}") from None
    spelling = {column.name.lower(): column.name for column in view.columns}
    traced = {spelling.get(name.lower(), name): found for name, found in traced.items()}
    stated = {column.name: column for column in view.columns}
    unknown = set(stated) - set(traced)
    if unknown:
        raise LacusError(f"sql of {view.name}: header describes no column of it: {sorted(unknown)}")
    columns = []
    for name, (sources, unchanged) in traced.items():
        column = stated.get(name)
        if column is None:
            meanings = {_meaning(source, known) for source in sources}
            if len(meanings) != 1 or not unchanged:
                raise LacusError(f"sql of {view.name}: the header must describe column {name}")
            column = ViewColumn(name, *meanings.pop(), sources=())
        columns.append(replace(column, sources=sources))
    missing = set(view.key) - set(traced)
    if missing:
        raise LacusError(f"sql of {view.name}: key columns are not selected: {sorted(missing)}")
    return replace(view, columns=tuple(columns))


def trace(
    query: str, schema: Mapping[str, Iterable[str]]
) -> dict[str, tuple[tuple[tuple[str, str], ...], bool]]:
    """Find where the columns of a query come from.

    Parameters
    ----------
    query : str
    schema : mapping
        Columns of every table and view that the query may read, by name.

    Returns
    -------
    dict
        For each column, in order: the (table, column) it is computed from, sorted, and whether
        it is passed through unchanged.

    Raises
    ------
    ValueError
        If the query does not parse or refers to a table or column that does not exist.
    """
    import sqlglot
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    nested: dict[str, Any] = {}
    for name, columns in schema.items():
        namespace, _, table = name.partition(".")
        nested.setdefault(namespace, {})[table] = dict.fromkeys(columns, "VARCHAR")
    try:
        parsed = sqlglot.parse_one(query, dialect="duckdb")
        qualified: Any = qualify(parsed, dialect="duckdb", schema=nested)
        scope = build_scope(qualified)
        # Trimming would copy the query for each of its columns, for labels that nobody reads.
        nodes: Any = lineage(
            None, qualified, nested, scope=scope, dialect="duckdb", trim_selects=False, copy=False
        )
    except SqlglotError as error:
        raise ValueError(str(error)) from None
    # The parser takes names in lower case, as SQL compares them; tables have them as declared.
    declared = {(t, c.lower()): c for t, columns in schema.items() for c in columns}
    traced = {}
    for name, node in nodes.items():
        leaves = {(table, declared.get((table, column), column)) for table, column in _leaves(node)}
        unchanged = _unchanged(node)
        spelt = {column for _, column in leaves if column.lower() == name}
        made = spelt.pop() if unchanged and len(spelt) == 1 else name
        traced[made] = (tuple(sorted(leaves)), unchanged)
    return traced


def _columns_of(source: str, known: dict[str, View]) -> tuple[Any, ...]:
    return known[source].columns if source in known else contracts.table(source).columns


def _meaning(source: tuple[str, str], known: dict[str, View]) -> tuple[str, str | None, str | None]:
    """Return description, unit and UCD of a table's column."""
    column = next(c for c in _columns_of(source[0], known) if c.name == source[1])
    return column.description, column.unit, column.ucd


def _leaves(node: Any) -> Iterator[tuple[str, str]]:
    """Yield table and column of every leaf of a lineage tree."""
    from sqlglot import exp

    if not node.downstream and isinstance(node.expression, exp.Table):
        # A column's own name may have a dot, too.
        column = exp.to_column(node.name, dialect="duckdb").name
        yield f"{node.expression.db}.{node.expression.name}", column
    for child in node.downstream:
        yield from _leaves(child)


def _unchanged(node: Any) -> bool:
    """Whether a column is passed through as it is, from the SELECT down to its tables."""
    from sqlglot import exp

    if not node.downstream:
        return isinstance(node.expression, exp.Table)
    plain = isinstance(node.expression.unalias(), exp.Column | exp.SetOperation)
    return plain and all(_unchanged(child) for child in node.downstream)
