import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch

import cli
from models import networks, zoo
from models.config import parse
from models.runs import settings
from models.train.loop import train
from models.translator import TrainingProgress
from s1s2pairs.errors import RunError
from tests.refusals import assert_suggests, refuses


def test_every_file_is_a_network_and_every_alias_leads_to_one() -> None:
    files = {path.stem for path in Path(networks.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(zoo.names()) == files
    assert {zoo.load(name).name for name in files} == files
    assert {network for network, _ in zoo.aliases().values()} <= files


def test_an_alias_is_its_network_with_a_setting() -> None:
    for version in ("v1", "v2", "v3"):
        assert (
            zoo.create(f"tsgan_{version}", {"width": "2"}).config
            == zoo.create("tsgan", {"version": version, "width": "2"}).config
        )


@pytest.mark.parametrize("said", ["false", "False", False, "0"])
def test_an_alias_takes_its_own_setting_however_it_is_said(said: object) -> None:
    assert zoo.create("mtcnn", {"adversarial": said, "width": 2}).config == zoo.create("mtcnn", {"width": 2}).config


def test_settings_are_read_from_text() -> None:
    typed = {
        "width": "2",
        "change_maps": "false",
        "learning_rate": "1e-3",
        "betas": "0.9, 0.99",
        "s2_bands": "B4,B8",
        "channel_attention": "se",
    }
    config = zoo.load("tsgan").config
    assert zoo.create("tsgan", typed).config == config(
        width=2, change_maps=False, learning_rate=1e-3, betas=(0.9, 0.99), s2_bands=("B4", "B8"), channel_attention="se"
    )


def test_a_config_survives_the_way_through_json() -> None:

    made = zoo.create("tsgan_v3", {"width": "2", "s2_bands": "B4"})
    again = zoo.load("tsgan").make(json.loads(json.dumps(made.config.values())))
    assert again.config == made.config


def test_run_files_hold_a_networks_own_settings_first() -> None:
    common = ["s2_bands", "s1_bands", "width", "learning_rate", "optimizer", "betas", "weight_decay", "epochs"]
    common += ["warmup_steps", "decay_epochs", "decay", "batch_size"]
    own = ["version", "channel_attention", "change_maps", "change_weighted_loss", "gamma", "lambda_l1"]
    wide = {"s2_bands": ("B2", "B3", "B4", "B8", "B11", "B12"), "s1_bands": ("VV",), "width": 64}
    trained = {"learning_rate": 1e-4, "optimizer": "adam", "betas": (0.5, 0.999), "weight_decay": 0.0, "epochs": 15}
    trained |= {"warmup_steps": 0, "decay_epochs": 0, "decay": "linear", "batch_size": 4}
    assert list(zoo.load("tsgan").config().values()) == [*own, *common]
    assert list(zoo.load("de_pix2pix").config().values()) == [*own[2:], *common]
    mono = zoo.load("pix2pix_opt2sar").config().values()
    assert mono == {"lambda_l1": 100.0, **wide, **trained}
    assert list(mono) == ["lambda_l1", *common]


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("unrelated", {}, ("unrelated", *zoo.names(), *zoo.aliases())),
        ("tsgan", {"width": "wide"}, ("width", "wide", "whole number")),
        ("tsgan", {"width": "2.5"}, ("width", "2.5", "whole number")),
        ("tsgan", {"width": "0"}, ("width", "0", "above zero")),
        ("tsgan", {"learning_rate": "nan"}, ("learning_rate", "nan", "above zero")),
        ("tsgan", {"change_maps": "perhaps"}, ("change_maps", "perhaps", "true", "false")),
        ("tsgan", {"version": "v4"}, ("version", "v4", "v1", "v2", "v3")),
        ("tsgan", {"betas": "0.5"}, ("betas", "0.5", "2 values")),
        ("tsgan", {"betas": "0.5,1"}, ("betas", "(0.5, 1.0)", "0", "1")),
        ("tsgan", {"s1_bands": "VW"}, ("s1", "VW", "VV, VH, HH, HV")),
        ("tsgan", {"s2_bands": ""}, ("s2_t2", "[]")),
        ("tsgan", {"patch_multiple": "64"}, ("patch_multiple", "tsgan", "version", "batch_size")),
        ("pix2pix_opt2sar", {"gamma": "5"}, ("gamma", "pix2pix_opt2sar", "lambda_l1", "batch_size")),
        ("tsgan_v1", {"version": "v3"}, ("version=v3", "tsgan", "version=v1")),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, settings: dict[str, str], named: tuple[str, ...]) -> None:
    with refuses(RunError, *named) as caught:
        zoo.create(name, settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "wrong", "nearest"),
    [
        ("tsgn", {}, "tsgn", "tsgan"),
        ("TSGAN_V2", {}, "TSGAN_V2", "tsgan_v2"),
        ("tsgan", {"widht": "8"}, "widht", "width"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(name: str, settings: dict[str, str], wrong: str, nearest: str) -> None:
    with refuses(RunError) as caught:
        zoo.create(name, settings)
    choices = zoo.load("tsgan").config().values() if settings else (*zoo.names(), *zoo.aliases())
    assert_suggests(str(caught.value), wrong, nearest, choices)


class TestBrokenFile:
    """One network's file under construction: the others must not notice."""

    @pytest.fixture(
        params=["def (:", "import no_such_package", "PAPER = 'only'", None], ids=["syntax", "import", "half", "make"]
    )
    def broken(self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        sound = Path(__file__).parent.joinpath("toy", "toy.py").read_text()
        unmade = sound.replace("        super().__init__(config)", "        raise KeyError('not yet')")
        (tmp_path / "broken.py").write_text(unmade if request.param is None else request.param)
        (tmp_path / "toy.py").write_text(sound)
        monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
        monkeypatch.delitem(sys.modules, "models.networks.broken", raising=False)
        return tmp_path

    def test_training_another_works(self, broken: Path, tiny_dataset: Path) -> None:
        settings = {"workers": "0", "pictures": "0", "max_steps": "1"}
        result = train("toy", tiny_dataset, out=broken / "run", settings=settings, device="cpu", quiet=True)
        assert result.steps == 1
        assert "models.networks.broken" not in sys.modules

    def test_the_list_has_the_others_and_says_what_is_wrong(
        self, broken: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["networks"])
        _, *lines = capsys.readouterr().out.splitlines()
        assert not ended.value.code
        assert [line.split()[0] for line in lines[:-1]] == [name for name in zoo.names() if name != "broken"]
        assert re.match(
            r"network broken cannot be (loaded|made): (Syntax|ModuleNotFound|Attribute|Key)Error: ", lines[-1]
        )
        with pytest.raises(SystemExit):
            cli.main(["networks", "--json"])
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["broken"] == {"name": "broken", "error": lines[-1]}
        assert rows["tsgan"].keys() == {"name", "paper", "year", "summary", "task", "parameters", "aliases"}

    def test_training_it_says_what_is_wrong(
        self, broken: Path, tiny_dataset: Path, request: pytest.FixtureRequest
    ) -> None:
        said = {"syntax": "SyntaxError", "import": "no_such_package", "half": "YEAR"}.get(request.node.callspec.id)
        # The fourth loads, and raises its own error.
        with refuses(RunError, "broken", said) if said else refuses(KeyError, "not yet"):
            train("broken", tiny_dataset, out=broken / "run", device="cpu", quiet=True)


def test_the_description_says_what_goes_in_and_out() -> None:
    rows = {row.name: row for row in zoo.describe() if isinstance(row, zoo.Description)}
    assert rows["tsgan"].task == "s2_t2 + s1_t1 + s2_t1 -> s1_t2"
    assert rows["pix2pix_opt2sar"].task == "s2_t2 -> s1_t2"
    assert rows["tsgan"].aliases == ("tsgan_v1", "tsgan_v2", "tsgan_v3")
    assert all(row.paper and row.summary and 2014 <= row.year <= 2100 for row in rows.values())


@dataclass(frozen=True)
class Kinds:
    """Every kind of setting there may be."""

    factor: Literal[1, 4] = 1
    form: Literal["relu", "tanh"] = "relu"
    most: int | None = None
    crop: Literal[32, 64] | None = None
    words: tuple[str, ...] = ()
    levels: tuple[Literal[1, 2], ...] = ()
    interval: tuple[float, float] = (0.0, 1.0)
    on: bool = False


@pytest.mark.parametrize(
    ("key", "typed", "meant"),
    [
        ("factor", "4", 4),
        ("factor", 4, 4),
        ("form", "tanh", "tanh"),
        ("most", "none", None),
        ("most", "7", 7),
        ("crop", "64", 64),
        ("crop", "None", None),
        ("words", "a, b", ("a", "b")),
        ("levels", "2,1", (2, 1)),
        ("levels", [2], (2,)),
        ("interval", "0,0.3", (0.0, 0.3)),
        ("on", "false", False),
    ],
)
def test_settings_are_read_as_typed_or_as_kept(key: str, typed: object, meant: object) -> None:
    assert parse(Kinds, {key: typed}) == {key: meant}


@pytest.mark.parametrize(
    ("key", "typed", "named"),
    [
        ("factor", "2", ("factor=2", "1, 4")),
        ("crop", "48", ("crop=48", "32, 64", "none")),
        ("levels", "1,3", ("levels=1,3", "1, 2")),
        ("interval", "0", ("interval=0", "2 values")),
        ("words", 5, ("words=5", "a word")),
    ],
)
def test_settings_that_do_not_fit_are_refused(key: str, typed: object, named: tuple[str, ...]) -> None:
    with refuses(RunError, *named):
        parse(Kinds, {key: typed})


@pytest.mark.usefixtures("toy_networks")
def test_aliases_stand_in_the_networks_file() -> None:
    assert zoo.aliases()["toy_wide"] == ("toy", {"width": "8"})
    assert zoo.create("toy_wide").config.width == 8
    assert zoo.aliases().keys() >= {"tsgan_v1", "tsgan_v2", "tsgan_v3"}


def test_an_unfinished_file_has_no_aliases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = zoo.aliases()
    for name, text in (("half", "ALIASES = {"), ("computed", "ALIASES = dict(a=1)")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    assert zoo.aliases() == finished


@pytest.mark.usefixtures("toy_networks")
def test_a_network_has_defaults_of_its_own_for_training() -> None:
    info = zoo.load("toy_unpaired")
    training, rest = settings.split(info, {"depth": "4"})
    assert (training.crop, training.s2_range, training.orders) == (16, (0.0, 0.5), "two_way")
    assert rest == {"depth": "4"}
    asked, _ = settings.split(info, {"crop": "none", "s2_range": "0,1"})
    assert (asked.crop, asked.s2_range) == (None, (0.0, 1.0))


class TestLearningRates:
    def factors(self, steps_per_epoch: int = 4, **settings: object) -> list[float]:
        net = zoo.create("tsgan", {"width": 2, "epochs": 6, **settings})
        return [
            net.learning_rate_factor("generator", TrainingProgress(step=step, epochs=step / steps_per_epoch))
            for step in range(6 * steps_per_epoch)
        ]

    def test_constant(self) -> None:
        assert self.factors() == [1.0] * 24

    def test_linear_by_epochs_would_reach_zero_right_after_the_last(self) -> None:
        by_epoch = [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
        assert self.factors(decay_epochs=3) == [factor for factor in by_epoch for _ in range(4)]

    def test_warm_up_rises_evenly_by_steps(self) -> None:
        assert self.factors(warmup_steps=3)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]

    def test_cosine_by_steps_equals_torchs(self) -> None:
        found = self.factors(decay="cosine", decay_epochs=6)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=24)
        for factor in found:
            assert factor == pytest.approx(schedule.get_last_lr()[0], abs=1e-9)
            optimizer.step()
            schedule.step()

    def test_impossible_ones_are_refused(self) -> None:
        with refuses(RunError, "warmup_steps=-1"):
            self.factors(warmup_steps=-1)


def test_a_shorter_training_falls_over_the_same_part() -> None:
    assert zoo.create("mccgan", {"width": 2}).config.decay_epochs == 100
    assert zoo.create("mccgan", {"width": 2, "epochs": "20"}).config.decay_epochs == 10
    assert zoo.create("mccgan", {"width": 2, "epochs": "20", "decay_epochs": "3"}).config.decay_epochs == 3
    assert zoo.create("tsgan", {"width": 2, "epochs": "20"}).config.decay_epochs == 0
    with refuses(RunError, "decay_epochs=30", 20):
        zoo.create("mccgan", {"width": 2, "epochs": "20", "decay_epochs": "30"})


def test_adamw_keeps_the_pull_towards_zero_apart() -> None:
    made = zoo.create("tsgan", {"width": 2, "optimizer": "adamw", "weight_decay": "0.1"}).optimizers(fused=False)
    assert all(type(optimizer) is torch.optim.AdamW for optimizer in made.values())
    assert all(optimizer.defaults["weight_decay"] == 0.1 for optimizer in made.values())
