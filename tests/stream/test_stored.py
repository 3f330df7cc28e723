"""A packet that is kept says the same when it is read again, in whatever form it came."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.alerts import Packet, decode, packets_of, read_packets
from astrid.errors import PacketError
from astrid.stream.stored import stored_alert


class One:
    """Keeps one packet."""

    def __init__(self, packet: Packet) -> None:
        self.kept = packet.content(), packet.suffix

    def packet(self, survey: str, alert_id: str) -> tuple[bytes, str]:
        return self.kept


@pytest.mark.parametrize("name", ["ztf_alerts_dev.tar.gz", "fink_ztf_alerts_51.parquet"])
def test_a_kept_packet_gives_the_same_alert(real_data, name):
    packet = next(read_packets(real_data / "alerts" / name))
    alert = decode(packet)
    again = stored_alert(One(packet), alert.survey, alert.alert_id)
    assert (again.survey, again.alert_id, again.ra) == (alert.survey, alert.alert_id, alert.ra)
    assert len(again.history) == len(alert.history) > 0
    for plane, cutout in alert.cutouts.items():
        np.testing.assert_array_equal(again.cutouts[plane].image, cutout.image)
    bare = stored_alert(One(packet), alert.survey, alert.alert_id, history=False, cutouts=False)
    assert bare.ra == alert.ra
    assert not bare.history


def test_bytes_that_are_no_packet_say_so():
    with pytest.raises(PacketError, match=r"of ztf: not a readable Parquet file"):
        stored_alert(One(Packet("x", "", None, "", lambda: b"no", ".parquet")), "ztf", "1")
    (packet,) = packets_of("x", b"no", ".avro")
    assert "it begins with b'no'" in packet.problem
