"""The benchmark of the alerts compares like with like."""

from __future__ import annotations

import tarfile

import numpy as np
import pytest

from astrid.alerts import centred_triplet, decode
from astrid.alerts.container import packets_in
from astrid.alerts.schemas import SchemaBook
from astrid.bench.alerts import _straightforward


@pytest.mark.real_data
def test_the_straightforward_way_gives_the_same_triplet(real_data):
    with tarfile.open(real_data / "alerts" / "ztf_alerts_dev.tar.gz") as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member).read()
                (packet,) = packets_in("", content, SchemaBook(), lambda schema: frozenset())
                np.testing.assert_array_equal(centred_triplet(decode(packet)), _straightforward(content))
