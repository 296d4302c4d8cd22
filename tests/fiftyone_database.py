"""The real FiftyOne with a database: MongoDB where it can be started, else one in memory (the package mongomock)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest


def open_fiftyone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package; the test is skipped, with the reason, if it is not installed or has no database."""
    if find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed")
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
    if find_spec("mongomock") is not None:
        _keep_in_memory(monkeypatch)
    import fiftyone

    try:
        fiftyone.list_datasets()
    except Exception as error:  # of its settings or of its database
        pytest.skip(f"FiftyOne has no database here: {str(error).splitlines()[0]}")
    return fiftyone


def _keep_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of MongoDB share a store in this process; once per process, before FiftyOne is imported."""
    import mongoengine
    import mongomock
    import pymongo
    from mongomock import codec_options
    from mongomock.store import ServerStore

    if getattr(pymongo.MongoClient, "is_in_memory", False):
        return
    os.environ |= {"FIFTYONE_DATABASE_URI": "mongodb://localhost:27017", "FIFTYONE_DISABLE_SERVICES": "1"}
    store, connect, plain = ServerStore(), mongoengine.connect, codec_options.CodecOptions()
    aggregate = mongomock.collection.Collection.aggregate

    class Client(mongomock.MongoClient):
        is_in_memory = True
        _closed = False

        def __init__(self, *places: Any, **options: Any) -> None:
            super().__init__(*places, **{key: options[key] for key in options if key in ("host", "port")}, _store=store)

        def server_info(self) -> dict[str, Any]:
            return {"version": "7.0.0", "versionArray": [7, 0, 0, 0]}

    def connected(name: str, **options: Any) -> Any:
        return connect(name, mongo_client_class=Client, host=options.get("host"))

    pymongo.MongoClient = Client
    mongoengine.connect = connected
    codec_options.is_supported = lambda options: plain if options else None
    mongomock.collection.Collection.aggregate = lambda self, pipeline, *_, **__: aggregate(self, pipeline)
