"""What must be chosen from a simulated archive, worked out from what the simulation knows (`truth.json`).

This repeats the selection rules in the plainest way on purpose: it shares no code with the selection that it tests.
"""

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s1s2pairs.recipe.settings import Period, Roi, Settings
from s1s2pairs.simulate.truth import OpticalRecord, Records, SarRecord

Json = dict[str, Any]


def read_records(archive: Path, roi: str) -> Records:
    """Return everything that a simulated archive holds of a ROI."""
    rows = json.loads((archive / "truth.json").read_text(encoding="utf-8"))["rois"][roi]
    return Records(
        optical=[
            OpticalRecord(
                **_listed_in(row),
                coverage=row["coverage_fraction"],
                cloud=row["cloud_fraction"],
                snow=row["snow_fraction"],
            )
            for row in rows["optical"]
        ],
        sar=[
            SarRecord(
                **_listed_in(row),
                relative_orbit=row["relative_orbit"],
                orbit_pass=row["orbit_pass"],
                coverage=row["coverage_fraction"],
                incidence_deg=row["incidence_deg"],
            )
            for row in rows["radar"]
        ],
    )


def _listed_in(row: Json) -> Json:
    return {"acquired_at": dt.datetime.fromisoformat(row["acquired_at"]), "item_ids": tuple(row["item_ids"])}


def expected(roi: Roi, records: Records) -> Json:
    """Return the choices the rules demand of this archive, or `{"reason": ...}` where they can't be met."""
    optical = _optical(roi.settings, records.optical)
    if optical is None:
        return {"reason": "no clear optical acquisition within the shift"}
    centres = {label: _mean_time([record.acquired_at for record in used]) for label, (_, used) in optical.items()}
    orbits = _orbits(roi.settings, records.sar, centres)
    eligible = [orbit for orbit in orbits if orbit["eligible"]]
    result: Json = {
        "periods": {label: _period(shift, used, centres[label]) for label, (shift, used) in optical.items()},
        "orbits": [{key: orbit[key] for key in orbit if key != "dates"} for orbit in orbits],
    }
    if not eligible:
        return {**result, "reason": "no orbit serves all periods"}
    best = eligible[0]
    result["relative_orbit"], result["orbit_pass"] = best["relative_orbit"], best["orbit_pass"]
    for label, chosen in best["dates"].items():
        result["periods"][label]["sar"] = [_listed(record) for record in chosen]
    return result


def _period(shift: int, used: Sequence[OpticalRecord], centre: dt.datetime) -> Json:
    return {"month_shift": shift, "mean_time": centre, "optical": [_listed(record) for record in used]}


def _listed(record: OpticalRecord | SarRecord) -> Json:
    return {"acquired_at": record.acquired_at, "item_ids": sorted(record.item_ids)}


def _optical(
    settings: Settings, records: Sequence[OpticalRecord]
) -> dict[str, tuple[int, tuple[OpticalRecord, ...]]] | None:
    order = [0] + [sign * months for months in range(1, settings.max_shift_months + 1) for sign in (1, -1)]
    tables = {
        period.label: {shift: _used(settings, records, period, shift) for shift in order} for period in settings.periods
    }
    if settings.season_lock:
        for shift in order:
            if all(table[shift] for table in tables.values()):
                return {label: (shift, table[shift]) for label, table in tables.items()}
    alone = {label: [shift for shift in order if table[shift]] for label, table in tables.items()}
    if not all(alone.values()):
        return None
    return {label: (shifts[0], tables[label][shifts[0]]) for label, shifts in alone.items()}


def _used(
    settings: Settings, records: Sequence[OpticalRecord], period: Period, shift: int
) -> tuple[OpticalRecord, ...]:
    start, end = _shifted(period.start, shift), _shifted(period.end, shift)
    clear = sorted(
        (
            record
            for record in records
            if start <= record.acquired_at < end
            and record.coverage >= settings.min_coverage_fraction
            and record.cloud <= settings.max_cloud_fraction
            and record.snow <= settings.max_snow_fraction
        ),
        key=lambda record: record.acquired_at,
    )
    if not clear:
        return ()
    if settings.s2_composite == "median" or (settings.s2_composite == "auto" and len(clear) >= 3):
        return tuple(clear)
    middle = start + (end - start) / 2
    return (min(clear, key=lambda record: (record.cloud, abs(record.acquired_at - middle), record.acquired_at)),)


def _shifted(day: dt.date, months: int) -> dt.datetime:
    """Return midnight of a day moved by whole months, cut to the month's last day."""
    month = day.year * 12 + day.month - 1 + months
    first_of_next = dt.date((month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (first_of_next - dt.timedelta(days=1)).day
    return dt.datetime(month // 12, month % 12 + 1, min(day.day, last), tzinfo=dt.UTC)


def _mean_time(times: Sequence[dt.datetime]) -> dt.datetime:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    seconds = sum((time - epoch).total_seconds() for time in times) / len(times)
    return epoch + dt.timedelta(seconds=int(seconds + 0.5))


def _orbits(settings: Settings, records: Sequence[SarRecord], centres: dict[str, dt.datetime]) -> list[Json]:
    found = []
    for key in sorted({(record.relative_orbit, record.orbit_pass) for record in records}):
        mine = [record for record in records if (record.relative_orbit, record.orbit_pass) == key]
        covering = [record for record in mine if record.coverage >= settings.min_coverage_fraction]
        angle = float(np.mean([record.incidence_deg for record in covering or mine]))
        dates = {label: _dates(settings, covering, centre) for label, centre in centres.items()}
        wanted = settings.s1_pass in ("any", key[1]) and settings.s1_orbit in ("max_incidence", key[0])
        found.append(
            {
                "relative_orbit": key[0],
                "orbit_pass": key[1],
                "mean_incidence_deg": round(angle, 3),
                "covers": bool(covering),
                "eligible": wanted and all(dates.values()),
                "dates": dates,
            }
        )
    return sorted(found, key=lambda orbit: -orbit["mean_incidence_deg"])


def _dates(settings: Settings, records: Sequence[SarRecord], centre: dt.datetime) -> list[SarRecord]:
    """Grow the window from 30 days each side by 8 until it holds enough, then keep the nearest."""
    least, most = settings.s1_acquisitions
    widest = settings.s1_max_span_days / 2
    if settings.s1_max_lag_days is not None:
        widest = min(widest, settings.s1_max_lag_days)
    half = min(30.0, widest)
    while True:
        inside = [record for record in records if abs(record.acquired_at - centre) <= dt.timedelta(days=half)]
        if len(inside) >= least:
            nearest = sorted(inside, key=lambda record: (abs(record.acquired_at - centre), record.acquired_at))[:most]
            return sorted(nearest, key=lambda record: record.acquired_at)
        if half == widest:
            return []
        half = min(half + 8.0, widest)
