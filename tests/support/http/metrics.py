"""Metrics as whoever scrapes them reads them."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from rafiki.contract.metrics import Metric


class Scraped:
    """What one page of metrics says."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """The one sample of a name whose labels have these values, whatever its others."""
        found = [
            s.value
            for family in self.families.values()
            for s in family.samples
            if s.name == name and labels.items() <= s.labels.items()
        ]
        assert len(found) == 1, (name, labels, found)
        return float(found[0])

    def check_declared(self, declared: Sequence[Metric]) -> None:
        """That it holds what is declared, all of it and nothing else."""
        assert self.families.keys() == {m.name for m in declared}
        for metric in declared:
            family = self.families[metric.name]
            assert (family.type, family.documentation) == (metric.kind, metric.help) or metric.name.startswith(
                "process_"
            )
            for sample in family.samples:
                assert sample.labels.keys() - {"le"} == set(metric.labels), sample
