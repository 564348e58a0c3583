"""The client of a glacier memory in Google Cloud Storage."""

from __future__ import annotations

from typing import Any

from ...errors import InvalidValue, PermissionRefused
from .config import GlacierConfig, missing
from .gcs_objects import GCSObjects


def open_store(config: GlacierConfig) -> GCSObjects:
    """A client from the config; without credentials in it, Google's defaults (environment, metadata)."""
    try:
        from google.auth import exceptions as auth
        from google.cloud import storage
    except ImportError as error:
        raise missing("google-cloud-storage", "gcs", error) from error
    if config.encryption == "aws:kms":
        raise InvalidValue('encryption="aws:kms" is for provider "s3"')
    arguments: dict[str, Any] = {"project": config.project}
    if config.endpoint is not None:
        arguments["client_options"] = {"api_endpoint": config.endpoint}
    if config.anonymous:
        from google.auth.credentials import AnonymousCredentials

        arguments["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
        arguments["project"] = config.project or "anonymous"
    elif config.credentials is not None:
        arguments["credentials"] = config.credentials
    try:
        if config.credentials_file is not None:
            client = storage.Client.from_service_account_json(config.credentials_file, **arguments)
        else:
            client = storage.Client(**arguments)
    except (auth.GoogleAuthError, FileNotFoundError) as error:
        raise PermissionRefused(f"no usable Google credentials: {error}") from error
    except (ValueError, TypeError, OSError) as error:
        raise InvalidValue(f"the GCS client cannot be made from this config: {error}") from error
    timeout = (config.connect_timeout_s, config.read_timeout_s)
    return GCSObjects(client, str(config.bucket), timeout=timeout)
