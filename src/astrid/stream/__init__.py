"""The alert path: from the packets of a stream to scored, matched, filtered, stored and published alerts."""
