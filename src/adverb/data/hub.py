"""Data sets of the Hugging Face hub, by name. `datasets` is slow to import and only needed here."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from adverb.data.entries import SPLITS, Entries, choose_split
from adverb.data.tables import ROWS, Table, table_entries
from adverb.errors import UserError


def is_hub_name(text: str) -> bool:
    """Whether `text` may name a data set of the hub: `owner/name`, `name`, either with `:config`."""
    part = r"[A-Za-z0-9][\w.-]*"
    owner, slash, _ = text.partition("/")
    return bool(re.fullmatch(rf"{part}(/{part})?(:[\w.-]+)?", text)) and not (slash and Path(owner).exists())


def hub_entries(name: str, split: str, label: str | None) -> Entries:
    """One split of a data set of the hub (or of a local folder that `datasets.load_dataset` understands).

    name: `owner/name` or `owner/name:config`. Raises UserError, see `load_images`.
    """
    found = load_hub(name)
    tables = {SPLITS.get(key, key): _arrow_table(part) for key, part in found.items()}
    wanted = choose_split(split, {key: t.rows for key, t in tables.items()}, name)
    entries = table_entries(tables, wanted, label, name, "data set of the hub")
    entries.stamp = "-".join(str(part._fingerprint) for part in found.values())
    return entries


def load_hub(name: str) -> dict[str, Any]:
    """The splits of a hub data set, downloaded or from the cache of `datasets`. Raises UserError."""
    import datasets

    config = None
    if not Path(name).exists() and ":" in name:
        name, _, config = name.partition(":")
    offline, level = datasets.config.HF_HUB_OFFLINE, datasets.utils.logging.get_verbosity()
    reachable = offline or Path(name).exists() or hub_is_reachable()
    try:
        if not reachable:  # the cache may hold it; don't wait for minutes of retries to find out
            datasets.config.HF_HUB_OFFLINE = True
            datasets.utils.logging.set_verbosity_error()
        return datasets.load_dataset(name, config)
    except Exception as error:  # datasets raises dozens of kinds
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if not reachable or offline:
            raise UserError(
                f"'{name}' is neither a path here nor in the cache of downloaded data sets, and the hub can't be "
                "reached. Check the spelling, the network, or give a folder of images or a parquet file"
            ) from None
        if type(error).__name__ in ("DatasetNotFoundError", "RepositoryNotFoundError"):
            raise UserError(f"'{name}' is neither a path here nor a data set of the hub") from None
        if "onfig name" in text:
            raise UserError(f"{text} Write {name}:CONFIG, one of those it names") from None
        raise UserError(f"can't load '{name}' from the hub: {text[:300]}") from None
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        datasets.utils.logging.set_verbosity(level)


def hub_is_reachable(timeout: float = 3.0) -> bool:
    """Whether a connection to the hub opens. True behind a proxy, where only a request could tell."""
    if any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    where = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        port = where.port or (443 if where.scheme == "https" else 80)
        socket.create_connection((where.hostname, port), timeout).close()
        return True
    except OSError:
        return False


def _arrow_table(part: Any) -> Table:
    """A `datasets.Dataset` as a table; its schema carries the features, and images stay encoded."""
    schema = part.features.arrow_schema

    def batches(columns: list[str]) -> Iterator[pa.Table]:
        yield from part.select_columns(columns).with_format("arrow").iter(ROWS)

    return Table(part.num_rows, schema, batches)
