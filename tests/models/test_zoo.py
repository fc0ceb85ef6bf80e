import json
from pathlib import Path

import pytest

from models import networks, zoo
from s1s2pairs.errors import RunError


def test_every_file_is_a_network_and_every_alias_leads_to_one() -> None:
    files = {path.stem for path in Path(networks.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(zoo.names()) == files
    assert set(zoo.networks()) == files
    assert {network for network, _ in zoo.ALIASES.values()} <= files


def test_an_alias_is_its_network_with_a_setting() -> None:
    for version in ("v1", "v2", "v3"):
        assert (
            zoo.create(f"tsgan_{version}", {"width": "2"}).config
            == zoo.create("tsgan", {"version": version, "width": "2"}).config
        )


def test_settings_are_read_from_text() -> None:
    typed = {
        "width": "2",
        "change_maps": "false",
        "learning_rate": "1e-3",
        "betas": "0.9, 0.99",
        "s2_bands": "B4,B8",
        "channel_attention": "se",
    }
    config = zoo.networks()["tsgan"].config
    assert zoo.create("tsgan", typed).config == config(
        width=2, change_maps=False, learning_rate=1e-3, betas=(0.9, 0.99), s2_bands=("B4", "B8"), channel_attention="se"
    )


def test_a_config_survives_the_way_through_json() -> None:

    made = zoo.create("tsgan_v3", {"width": "2", "s2_bands": "B4"})
    again = zoo.create_from_config("tsgan", json.loads(json.dumps(made.config.values())))
    assert again.config == made.config


def test_run_files_hold_a_networks_own_settings_first() -> None:
    common = ["s2_bands", "s1_bands", "width", "learning_rate", "betas", "epochs", "decay_epochs", "batch_size"]
    own = ["version", "channel_attention", "change_maps", "change_weighted_loss", "gamma", "lambda_l1"]
    wide = {"s2_bands": ("B2", "B3", "B4", "B8", "B11", "B12"), "s1_bands": ("VV",), "width": 64}
    trained = {"learning_rate": 1e-4, "betas": (0.5, 0.999), "epochs": 15, "decay_epochs": 0, "batch_size": 4}
    loaded = zoo.networks()
    assert list(loaded["tsgan"].config().values()) == [*own, *common]
    assert list(loaded["de_pix2pix"].config().values()) == [*own[2:], *common]
    mono = loaded["pix2pix_opt2sar"].config().values()
    assert mono == {"lambda_l1": 100.0, **wide, **trained}
    assert list(mono) == ["lambda_l1", *common]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("tsgn", {}, "Did you mean tsgan"),
        ("TSGAN_V2", {}, "Did you mean tsgan_v2"),
        ("unrelated", {}, "Choose from de_pix2pix"),
        ("tsgan", {"widht": "8"}, "Did you mean width"),
        ("tsgan", {"width": "wide"}, "width=wide does not fit, a whole number"),
        ("tsgan", {"width": "2.5"}, "a whole number"),
        ("tsgan", {"width": "0"}, "width=0: must be above zero"),
        ("tsgan", {"learning_rate": "nan"}, "above zero"),
        ("tsgan", {"change_maps": "perhaps"}, "true or false"),
        ("tsgan", {"version": "v4"}, "one of v1, v2, v3"),
        ("tsgan", {"betas": "0.5"}, "2 values"),
        ("tsgan", {"betas": "0.5,1"}, "below 1"),
        ("tsgan", {"s1_bands": "VW"}, "VV, VH, HH, HV"),
        ("tsgan", {"s2_bands": ""}, "one or more"),
        ("tsgan", {"patch_multiple": "64"}, "no setting 'patch_multiple'"),
        ("pix2pix_opt2sar", {"gamma": "5"}, "no setting 'gamma'"),
        ("tsgan_v1", {"version": "v3"}, "contradicts the alias"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(RunError, match=said) as caught:
        zoo.create(name, settings)
    assert "\n" not in str(caught.value)


def test_the_description_says_what_goes_in_and_out() -> None:
    rows = {row.name: row for row in zoo.describe()}
    assert rows["tsgan"].task == "s2_t2 + s1_t1 + s2_t1 -> s1_t2"
    assert rows["pix2pix_opt2sar"].task == "s2_t2 -> s1_t2"
    assert rows["tsgan"].aliases == ("tsgan_v1", "tsgan_v2", "tsgan_v3")
    assert all(row.paper and row.summary and 2014 <= row.year <= 2100 for row in rows.values())
