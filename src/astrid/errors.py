"""What can go wrong, as one tree.

    AstridError
    ├── UsageError          the request itself cannot be understood (exit code 2)
    ├── DependencyError     an optional extra is not installed
    ├── OutputError         a product cannot be written
    ├── StoreError          the database cannot be reached, is damaged, or is of another version
    ├── StreamError         a broker or a receiver cannot be reached, or refuses
    └── DataError           the data have a problem (exit code 1)
        ├── FrameError          a file is not a usable image, or a fact that is needed is absent
        ├── CalibrationError    a calibration step does not apply, or was already done
        ├── AlignmentError      two frames cannot be brought onto one grid
        ├── PSFError            the point spread function cannot be measured
        ├── SubtractionError    the difference cannot be formed
        ├── PhotometryError     a position cannot be measured
        ├── PacketError         an alert packet cannot be written or read
        ├── CatalogError        a sky catalogue cannot be read, imported or matched
        ├── FilterError         a filter of alerts cannot be understood, or can never be true
        ├── LightCurveError     a light curve cannot be read, or used for what was asked
        ├── DatasetError        a data set cannot be learned from, or is damaged
        │   └── LeakError           a split would let the test see what was trained on
        ├── TrainingError       a training cannot begin, go on or end well
        ├── BundleError         a trained model is damaged, foreign or does not fit
        └── PredictionError     what is to be classified is not what the model expects

Every message is one sentence that says what was given, what was expected and
what to do about it.
"""


class AstridError(Exception):
    """Any problem that AstrID names; catch this to catch them all."""


class UsageError(AstridError):
    """The request cannot be understood: a wrong option, name or combination."""


class DependencyError(AstridError):
    """A feature needs an optional extra that is not installed."""


class OutputError(AstridError):
    """A product cannot be written; nothing half-written is left behind."""


class StoreError(AstridError):
    """The database cannot be reached, is damaged, or is of another version."""


class StreamError(AstridError):
    """A broker or a receiver of alerts cannot be reached, or refuses."""


class DataError(AstridError):
    """The data have a problem."""


class FrameError(DataError):
    """A file is not a usable image, or a fact that is needed is absent."""


class CalibrationError(DataError):
    """A calibration step does not apply, or was already done."""


class AlignmentError(DataError):
    """Two frames cannot be brought onto one grid."""


class PSFError(DataError):
    """The point spread function cannot be measured."""


class SubtractionError(DataError):
    """The difference of two frames cannot be formed."""


class PhotometryError(DataError):
    """A position cannot be measured."""


class PacketError(DataError):
    """An alert packet cannot be written or read."""


class CatalogError(DataError):
    """A sky catalogue cannot be read, imported or matched."""


class FilterError(DataError):
    """A filter of alerts cannot be understood, or can never be true."""


class LightCurveError(DataError):
    """A light curve cannot be read, or used for what was asked."""


class DatasetError(DataError):
    """A data set cannot be learned from, or is damaged."""


class LeakError(DatasetError):
    """A split would let the test see what was trained on."""


class TrainingError(DataError):
    """A training cannot begin, go on or end well."""


class BundleError(DataError):
    """A trained model is damaged, foreign, of a newer format, or does not fit its task."""


class PredictionError(DataError):
    """What is to be classified is not what the model expects."""
