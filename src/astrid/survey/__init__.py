"""Running files: two images, or many pairs, to directories of products that can be read and resumed."""

from astrid.files.directory import product_directory
from astrid.survey.demo import Recovery, recovery, run_demo
from astrid.survey.explanations import explain_candidate
from astrid.survey.injections import inject_files
from astrid.survey.light_curves import light_curve_rows, photometry_files, plot_light_curve
from astrid.survey.pair_list import Pair, read_pairs
from astrid.survey.pairs import BatchSummary, difference_pairs
from astrid.survey.products import PRODUCTS, write_table
from astrid.survey.provenance import FrameFile, Provenance
from astrid.survey.report import write_report
from astrid.survey.run import RunSummary, difference_files
from astrid.survey.scoring import score_candidates

__all__ = [
    "PRODUCTS",
    "BatchSummary",
    "FrameFile",
    "Pair",
    "Provenance",
    "Recovery",
    "RunSummary",
    "difference_files",
    "difference_pairs",
    "explain_candidate",
    "inject_files",
    "light_curve_rows",
    "photometry_files",
    "plot_light_curve",
    "product_directory",
    "read_pairs",
    "recovery",
    "run_demo",
    "score_candidates",
    "write_report",
    "write_table",
]
