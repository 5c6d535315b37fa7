"""Reasons, and what was odd: both are kept, and told apart."""

import pytest

from search.telling.rationale import rationale_of, reasons_in


@pytest.mark.parametrize("reasons", ["", "One.", "One.\n\nTwo: odd: three."])
@pytest.mark.parametrize("odd", [[], ["the reply was empty"], ["a\nb", "c"]])
def test_reasons_are_found_again(reasons, odd):
    written = rationale_of(reasons, odd)
    assert reasons_in(written) == reasons
    assert all(" ".join(each.split()) in written for each in odd)
