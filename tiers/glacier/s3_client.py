"""The boto3 client of a glacier memory: the user's choice of credentials, our choice of retries."""

from __future__ import annotations

from typing import Any

from ...errors import InvalidValue, PermissionRefused
from .config import GlacierConfig, missing
from .s3_objects import S3Objects


def open_store(config: GlacierConfig) -> S3Objects:
    """A client from the config; whatever it leaves open boto3 finds as always (environment, files, roles)."""
    client = _client(config)
    arguments: dict[str, Any] = {}
    if config.encryption in ("AES256", "aws:kms"):
        arguments["ServerSideEncryption"] = config.encryption
    if config.kms_key_id is not None:
        if config.encryption != "aws:kms":
            raise InvalidValue('kms_key_id goes with encryption="aws:kms"')
        arguments["SSEKMSKeyId"] = config.kms_key_id
    if config.storage_class is not None:
        arguments["StorageClass"] = config.storage_class
    return S3Objects(client, str(config.bucket), arguments)


def _client(config: GlacierConfig) -> Any:
    try:
        import boto3.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise missing("boto3", "s3", error) from error
    ours = Config(
        # One attempt a call: Retry counts and waits, and knows the deadline.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=config.connect_timeout_s,
        read_timeout=config.read_timeout_s,
        max_pool_connections=3 * config.concurrency,
        tcp_keepalive=True,
        # Our own checksums are verified on every read, of ranges as well.
        response_checksum_validation="when_required",
    )
    options = dict(config.client_options or {})
    theirs = options.pop("config", None)
    try:
        session = config.session or boto3.session.Session(profile_name=config.profile)
        return session.client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            aws_session_token=config.session_token,
            config=ours if theirs is None else ours.merge(theirs),
            **options,
        )
    except BotoCoreError as error:
        if "profile" in type(error).__name__.lower() or "credential" in type(error).__name__.lower():
            raise PermissionRefused(f"no usable S3 credentials: {error}") from error
        raise InvalidValue(f"the S3 client cannot be made from this config: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"the S3 client cannot be made from this config: {error}") from error
