from __future__ import annotations

import inspect

import pytest

from node.errors import RequestError
from node.service.requests import VERBS, Verbs, find


def test_an_unknown_verb_is_answered_with_those_there_are() -> None:
    with pytest.raises(RequestError) as caught:
        find("session/pause")
    assert caught.value.code == "unknown_verb"
    assert all(verb in str(caught.value) for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_the_form_it_is_listed_with(verb: str) -> None:
    row = find(verb)
    _, request, answer = inspect.signature(row.carry_out).parameters.values()
    assert (request.annotation, answer.annotation) == (row.form.__name__, "Answer")


def test_no_two_verbs_do_the_same() -> None:
    assert len({row.carry_out for row in VERBS.values()}) == len(VERBS)
    assert all(getattr(Verbs, row.carry_out.__name__) is row.carry_out for row in VERBS.values())
