"""Sky catalogues on disk: imported once, sorted on the sky, matched against positions in batches."""

from astrid.catalogs.catalog import Catalog, Matches
from astrid.catalogs.importing import import_catalog
from astrid.catalogs.places import catalogs_directory, list_catalogs, open_catalog

__all__ = ["Catalog", "Matches", "catalogs_directory", "import_catalog", "list_catalogs", "open_catalog"]
