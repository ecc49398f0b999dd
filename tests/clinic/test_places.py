"""The places that a learner may name are the diagnosis's stations, and every cause is one."""

from __future__ import annotations

from osawslab.clinic.places import AREAS, PLACES
from osawslab.clinic.station import ORDER
from osawslab.faults.catalogue import FAULTS

SHOWS = {"neighbour", "ping", "guest-back", "guest-whole", "outside"}  # never a cause by itself
LATER = {"changing"}  # nothing in a lab that breaks it by itself


def test_every_station_that_can_be_a_cause_is_a_place() -> None:
    assert set(PLACES) == set(ORDER) - SHOWS - LATER


def test_every_fault_has_a_place_in_the_clouds_that_have_it() -> None:
    for each in FAULTS.values():
        assert set(each.clouds) <= set(PLACES[each.station].clouds), each.name


def test_every_place_says_what_is_wrong_and_what_shows_it() -> None:
    assert {each.area for each in PLACES.values()} == set(AREAS)
    assert len({each.what for each in PLACES.values()}) == len(PLACES)
    for key, place in PLACES.items():
        assert place.look.endswith((".", "?")), key
        assert not place.what.endswith("."), key
