"""Alert packets of any survey: decoded, brought into one form, or set aside with their reason."""

from astrid.alerts.alert import CUTOUTS, Alert, Cutout, Measurement
from astrid.alerts.container import Packet
from astrid.alerts.intake import Intake, decode, read_alerts
from astrid.alerts.layouts import Layout, layouts, read_layouts
from astrid.alerts.quarantine import Quarantine
from astrid.alerts.schemas import SchemaBook
from astrid.alerts.sources import packets_of, read_packets
from astrid.alerts.stamps import unpack_stamp
from astrid.alerts.triplets import centred_triplet, missing_pixels, raw_triplet, shown_planes

__all__ = [
    "CUTOUTS",
    "Alert",
    "Cutout",
    "Intake",
    "Layout",
    "Measurement",
    "Packet",
    "Quarantine",
    "SchemaBook",
    "centred_triplet",
    "decode",
    "layouts",
    "missing_pixels",
    "packets_of",
    "raw_triplet",
    "read_alerts",
    "read_layouts",
    "read_packets",
    "shown_planes",
    "unpack_stamp",
]
