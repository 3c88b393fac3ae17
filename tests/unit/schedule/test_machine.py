import pytest

from pipesched.machine import machine_zone


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    places = tmp_path / "usr/share/zoneinfo/Europe"
    places.mkdir(parents=True)
    (places / "Berlin").write_bytes(b"TZif")
    return tmp_path


@pytest.mark.parametrize(
    ("tz", "zone"),
    [
        ("Europe/Riga", "Europe/Riga"),
        (":Europe/Riga", "Europe/Riga"),
        ("/usr/share/zoneinfo/Europe/Riga", "Europe/Riga"),
        ("", "UTC"),
        ("UTC", "UTC"),
    ],
)
def test_tz_comes_first(root, tz, zone):
    (root / "etc/timezone").write_text("Europe/Berlin\n")
    assert machine_zone(environ={"TZ": tz}, root=root) == zone


@pytest.mark.parametrize("tz", ["CET-1CEST,M3.5.0,M10.5.0/3", "Nowhere/Town", "/etc/nothing", "../../x"])
def test_a_tz_that_names_no_place_is_passed_over(root, tz):
    (root / "etc/timezone").write_text("Europe/Berlin\n")
    assert machine_zone(environ={"TZ": tz}, root=root) == "Europe/Berlin"


def test_the_link_of_etc_localtime_tells_the_zone_and_beats_a_stale_etc_timezone(root):
    (root / "etc/localtime").symlink_to("../usr/share/zoneinfo/Europe/Berlin")
    (root / "etc/timezone").write_text("Europe/Riga\n")
    assert machine_zone(environ={}, root=root) == "Europe/Berlin"


def test_a_link_to_a_link_is_followed(root):
    (root / "etc/middle").symlink_to(root / "usr/share/zoneinfo/Europe/Berlin")
    (root / "etc/localtime").symlink_to("middle")
    assert machine_zone(environ={}, root=root) == "Europe/Berlin"


def test_without_any_word_of_it_the_zone_is_utc(root):
    (root / "etc/localtime").write_bytes(b"a copy has no name")
    assert machine_zone(environ={}, root=root) == "UTC"


def test_a_link_that_goes_round_is_no_trap(root):
    (root / "etc/localtime").symlink_to("localtime")
    assert machine_zone(environ={}, root=root) == "UTC"


def test_etc_timezone_may_have_comments(root):
    (root / "etc/timezone").write_text("# set by hand\nEurope/Riga # home\n")
    assert machine_zone(environ={}, root=root) == "Europe/Riga"
