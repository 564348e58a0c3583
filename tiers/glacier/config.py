"""`GlacierConfig`: the settings of a glacier memory, checked, and the provider that they name, opened."""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...errors import InvalidType, InvalidValue, MissingDependency
from .crypto import KeyRing
from .glacier_blobs import GlacierBlobs
from .layout import Compressor
from .objects import ObjectStore
from .options import GlacierOptions
from .retry import Retry

PROVIDERS = ("local", "s3", "gcs", "azure")

_OF_PROVIDER = {
    "local": {"storage_path"},
    "s3": {
        "bucket",
        "region",
        "endpoint",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "profile",
        "session",
        "kms_key_id",
        "storage_class",
        "client_options",
    },
    "gcs": {"bucket", "project", "endpoint", "credentials", "credentials_file", "anonymous", "region"},
    "azure": {
        "bucket",
        "endpoint",
        "account_name",
        "account_key",
        "sas_token",
        "tenant_id",
        "client_id",
        "client_secret",
        "client_options",
        "region",
    },
}
_WITH_BUCKET = ("s3", "gcs", "azure")


def _secret() -> Any:
    return field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlacierConfig:
    """Where the objects are, how to get in, and how they are written. Secrets are not in its repr.

    `from_mapping` is the way to make one from a user's dict.
    """

    provider: str = "local"
    storage_path: Any = None
    bucket: str | None = None
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    # Credentials; where none are given, the provider's library looks where it always does.
    access_key_id: str | None = None
    secret_access_key: str | None = _secret()
    session_token: str | None = _secret()
    profile: str | None = None
    session: Any = _secret()
    project: str | None = None
    credentials: Any = _secret()
    credentials_file: str | None = None
    anonymous: bool = False
    account_name: str | None = None
    account_key: str | None = _secret()
    sas_token: str | None = _secret()
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = _secret()
    client_options: Mapping[str, Any] | None = _secret()
    # Encryption by the provider, and on our side.
    encryption: str | None = None
    kms_key_id: str | None = None
    encryption_key: bytes | str | None = _secret()
    encryption_keys: Mapping[str, bytes | str] | None = _secret()
    encryption_key_id: str | None = None
    read_unencrypted: bool = False
    # Layout and requests.
    storage_class: str | None = None
    compression: str = "none"
    compression_level: int | None = None
    concurrency: int = 8
    part_size_mb: float = 8
    conditional_writes: bool = True
    max_attempts: int = 8
    deadline_s: float = 120.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any] | None, provider: str | None = None) -> GlacierConfig:
        """The settings of a dict, whose `provider` must agree with the argument where both are given.

        Raises `InvalidValue` and `InvalidType` for settings that are unknown, do not go with the
        provider, or cannot be; never with a secret in the message.
        """
        if config is None:
            config = {}
        if not isinstance(config, Mapping):
            raise InvalidType(f"config must be a mapping, not {type(config).__name__}")
        named = config.get("provider", provider or "local")
        if provider is not None and named != provider:
            raise InvalidValue(f"provider={provider!r}, but the config says {named!r}")
        if named not in PROVIDERS:
            raise InvalidValue(
                f"provider must be one of {', '.join(map(repr, PROVIDERS))}, not {named!r:.60}"
            )
        _check_names(named, config)
        made = cls(**{**config, "provider": named})
        made._check()
        return made

    def _check(self) -> None:
        if self.provider in _WITH_BUCKET:
            if not isinstance(self.bucket, str) or not self.bucket:
                raise InvalidValue(f'provider {self.provider!r} needs config["bucket"], the name of a bucket')
        elif self.storage_path is None:
            raise InvalidValue('provider "local" needs config["storage_path"], a folder')
        if not isinstance(self.prefix, str) or any(part in (".", "..") for part in self.prefix.split("/")):
            raise InvalidValue(f"prefix must be a path of names below the bucket, not {self.prefix!r:.60}")
        for name in ("anonymous", "read_unencrypted", "conditional_writes"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidType(f"{name} must be True or False, not {getattr(self, name)!r:.60}")
        for name in ("part_size_mb", "deadline_s", "connect_timeout_s", "read_timeout_s"):
            _check_above_zero(name, getattr(self, name))
        for name in ("concurrency", "max_attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024:
                raise InvalidValue(f"{name} must be a whole number from 1 to 1024, not {value!r:.60}")
        if not 5 <= self.part_size_mb <= 1024:
            raise InvalidValue(f"part_size_mb={self.part_size_mb}: providers take parts of 5 to 1024 MB")
        if self.encryption not in (None, "none", "AES256", "aws:kms"):
            raise InvalidValue(
                f'encryption must be "AES256" (by the provider), "aws:kms" or None, not '
                f"{self.encryption!r:.60}; for encryption on our side give encryption_key"
            )
        if self.encryption == "aws:kms" and self.provider != "s3":
            raise InvalidValue('encryption="aws:kms" is for provider "s3" only')
        if self.encryption == "AES256" and self.provider == "local":
            raise InvalidValue(
                'encryption="AES256" is done by the provider, and a local folder has none: give '
                "encryption_key for AES-256-GCM on our side"
            )

    @property
    def object_prefix(self) -> str:
        """The prefix of all object names: empty, or ending in one slash."""
        trimmed = "/".join(part for part in self.prefix.split("/") if part)
        return f"{trimmed}/" if trimmed else ""

    def key_ring(self) -> KeyRing | None:
        """The encryption keys, or None where nothing is encrypted on our side."""
        if self.encryption_key is not None and self.encryption_keys is not None:
            raise InvalidValue("give encryption_key, or encryption_keys by id, and not both")
        if self.encryption_keys is not None:
            if not isinstance(self.encryption_keys, Mapping):
                raise InvalidType("encryption_keys must be a mapping from key ids to keys")
            return KeyRing(self.encryption_keys, self.encryption_key_id)
        if self.encryption_key is not None:
            key_id = self.encryption_key_id or "default"
            return KeyRing({key_id: self.encryption_key}, key_id)
        if self.encryption_key_id is not None:
            raise InvalidValue("encryption_key_id without encryption_key or encryption_keys")
        return None

    def open_store(self) -> ObjectStore:
        """The provider's objects. Raises `MissingDependency` where its library is not installed."""
        if self.provider == "local":
            from .local_objects import LocalObjects

            return LocalObjects(self.storage_path)
        module = importlib.import_module(f".{self.provider}_client", __package__)
        store: ObjectStore = module.open_store(self)
        return store

    def open_blobs(self) -> GlacierBlobs:
        """The blobs that these settings describe."""
        keys = self.key_ring()
        compressor = Compressor(self.compression, self.compression_level)
        retry = Retry(max_attempts=self.max_attempts, deadline_s=self.deadline_s)
        options = GlacierOptions(
            concurrency=self.concurrency,
            part_bytes=int(self.part_size_mb * 2**20),
            conditional_writes=self.conditional_writes,
            read_unencrypted=self.read_unencrypted,
        )
        return GlacierBlobs(
            self.open_store(),
            self.object_prefix,
            keys=keys,
            compressor=compressor,
            retry=retry,
            options=options,
        )


def missing(package: str, extra: str, error: ImportError) -> MissingDependency:
    """The error for a provider whose library is not there."""
    return MissingDependency(
        f"provider {extra!r} needs {package}: pip install 'memories[{extra}]' (import failed: {error})"
    )


def _check_names(provider: str, config: Mapping[str, Any]) -> None:
    every = {one.name for one in fields(GlacierConfig)}
    of_others = set().union(*_OF_PROVIDER.values()) - _OF_PROVIDER[provider]
    allowed = every - of_others
    wrong = sorted(str(name) for name in config if name not in allowed)
    if wrong:
        raise InvalidValue(
            f"config has {', '.join(wrong)}, which provider {provider!r} does not know; it knows "
            f"{', '.join(sorted(allowed))}"
        )


def _check_above_zero(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise InvalidValue(f"{name} must be a number above 0, not {value!r:.60}")
