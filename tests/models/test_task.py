import pytest
import torch

from models.task import Stack, Task
from s1s2pairs.errors import RunError
from tests.refusals import refuses

OPTICAL = Stack(sensor="s2", date=1, bands=("B4", "B3", "B2"))
EARLIER = Stack(sensor="s2", date=0, bands=("B4", "B3", "B2"))
RADAR = Stack(sensor="s1", date=0, bands=("VV",))
TARGET = Stack(sensor="s1", date=1, bands=("VV",))


def test_a_stack_is_named_by_sensor_and_date() -> None:
    assert [stack.key for stack in (OPTICAL, RADAR, TARGET)] == ["s2_t2", "s1_t1", "s1_t2"]
    assert (OPTICAL.unit, RADAR.unit) == ("reflectance", "dB")


def test_a_task_orders_its_stacks() -> None:
    task = Task(name="shift", sources=(OPTICAL,), references=(RADAR, EARLIER), target=TARGET)
    assert [stack.key for stack in task.inputs] == ["s2_t2", "s1_t1", "s2_t1"]
    assert [stack.key for stack in task.stacks] == ["s2_t2", "s1_t1", "s2_t1", "s1_t2"]
    assert task.n_dates == 2
    assert task.n_periods == 2
    assert Task(name="now", sources=(EARLIER,), references=(), target=RADAR).n_dates == 1
    assert Task(name="then", sources=(OPTICAL,), references=(), target=TARGET).n_periods == 1


def test_tasks_compare_by_what_they_say() -> None:
    one = Task(name="shift", sources=(OPTICAL,), references=(RADAR,), target=TARGET)
    other = Task(name="shift", sources=(OPTICAL,), references=(RADAR,), target=TARGET)
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("sensor", "date", "bands", "named"),
    [
        ("s3", 0, ("VV",), ("s3", "s1", "s2")),
        ("s1", -1, ("VV",), ("s1", -1, 0)),
        ("s1", 0, ("B2",), ("s1", "B2", "VV, VH, HH, HV")),
        ("s2", 0, ("B2", "B10"), ("s2", "B10", "B1", "B8A", "B12")),
        ("s2", 0, (), ("s2_t1", "[]")),
        ("s2", 0, ("B2", "B2"), ("s2_t1", "['B2', 'B2']")),
    ],
)
def test_a_wrong_stack_is_refused(sensor: str, date: int, bands: tuple[str, ...], named: tuple[object, ...]) -> None:
    with refuses(RunError, *named):
        Stack(sensor=sensor, date=date, bands=bands)  # type: ignore[arg-type]


def test_a_task_that_names_a_stack_twice_is_refused() -> None:
    with refuses(RunError, "odd", "s1_t1, s1_t1"):
        Task(name="odd", sources=(RADAR,), references=(), target=RADAR)


def test_named_stacks_let_bands_of_one_date_go_in_and_come_out() -> None:
    visible, swir = (
        Stack(sensor="s2", date=0, bands=(band,), name=name) for band, name in (("B4", "red"), ("B11", "swir"))
    )
    task = Task(name="sharpen", sources=(visible,), references=(), target=swir)
    assert [stack.key for stack in task.stacks] == ["red_t1", "swir_t1"]
    with refuses(RunError, "name", "a b"):
        Stack(sensor="s2", date=0, bands=("B4",), name="a b")


def test_a_task_must_not_show_its_target() -> None:
    shown = Stack(sensor="s1", date=1, bands=("VH", "VV"), name="both")
    with refuses(RunError, "leaky", "VV"):
        Task(name="leaky", sources=(shown,), references=(), target=TARGET)


def test_earlier_targets_have_all_bands_of_the_target() -> None:
    wide, narrow = Stack(sensor="s1", date=2, bands=("VH", "VV")), Stack(sensor="s1", date=0, bands=("VH",))
    task = Task(name="odd", sources=(OPTICAL,), references=(wide, narrow), target=TARGET)
    assert task.earlier_targets == (wide,)


def test_bands_are_picked_by_name() -> None:
    values = torch.arange(3.0)[None, :, None, None]
    assert OPTICAL.pick(values, ("B2", "B4")).flatten().tolist() == [2.0, 0.0]
    assert OPTICAL.pick(values, OPTICAL.bands) is values
