"""The client of a glacier memory in Azure Blob Storage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ...errors import InvalidValue
from .azure_objects import AzureObjects
from .config import GlacierConfig, missing


def open_store(config: GlacierConfig) -> AzureObjects:
    """A client from the config; what it leaves open obstore finds in the environment (AZURE_*)."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore
    except ImportError as error:
        raise missing("obstore", "azure", error) from error
    given = {
        "account_name": config.account_name,
        "account_key": config.account_key,
        "sas_token": config.sas_token,
        "tenant_id": config.tenant_id,
        "client_id": config.client_id,
        "client_secret": config.client_secret,
        "endpoint": config.endpoint,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings["client_options"] = {
        "connect_timeout": timedelta(seconds=config.connect_timeout_s),
        "read_timeout": timedelta(seconds=config.read_timeout_s),
        # Over plain HTTP only where the endpoint says so: an emulator, or a proxy of the user's.
        "allow_http": bool(config.endpoint and config.endpoint.startswith("http://")),
        **(config.client_options or {}),
    }
    try:
        store = AzureStore(
            container_name=config.bucket,
            retry_config={"max_retries": 0},  # Retry counts and waits, and knows the deadline
            **settings,
        )
    except (BaseError, ValueError, TypeError):
        # Without the cause: its text can quote a part of the key.
        raise InvalidValue(
            "the Azure client cannot be made from this config: look at account_name, account_key (base64), "
            "sas_token, endpoint and client_options"
        ) from None
    return AzureObjects(store, str(config.bucket), part_bytes=int(config.part_size_mb * 2**20))
